import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api_support import eventually, put_pod
from longtask_adapters.kube import connection
from longtask_adapters.testing import MemoryKubernetes
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.metrics import Metrics
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.log_tails import LIMIT, LogTails, part
from longtask_api.workers.recorder import Recorder, ended
from longtask_crds import names, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_task, an_attempt, with_status

READ = "get pods report-pod/log"


def a_task_with(*attempts: v1alpha1.Attempt) -> v1alpha1.LongTask:
    return with_status(a_task(), attempts=list(attempts), attempt=len(attempts))


def an_ended(number: int = 1, **changed: Any) -> v1alpha1.Attempt:
    return an_attempt(number, **({"pod_name": "report-pod", "finished_at": NOW} | changed))


@pytest.mark.parametrize(
    ("attempts", "numbers"),
    [
        pytest.param([an_ended(1), an_ended(2)], [1, 2], id="each-attempt"),
        pytest.param([an_ended(1), an_ended(2, finished_at=None)], [1], id="not-what-runs"),
        pytest.param([an_ended(pod_name=None)], [], id="not-what-had-no-pod"),
        pytest.param(
            [an_ended(finished_at=NOW - timedelta(hours=2))], [], id="not-what-ended-long-ago"
        ),
    ],
)
def test_whose_logs_are_there(attempts: list[v1alpha1.Attempt], numbers: list[int]) -> None:
    found = ended(a_task_with(*attempts), since=NOW - timedelta(hours=1))
    assert [attempt.number for attempt in found] == numbers


@pytest.fixture
def tails(database: Database) -> LogTails:
    return LogTails(Blobs(database, clock=lambda: NOW))


@pytest.fixture
def recorder(kubernetes: MemoryKubernetes, tails: LogTails) -> Recorder:
    cluster = Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))
    return Recorder(cluster, tails, Metrics(), clock=lambda: NOW, sleep=lambda _: asyncio.sleep(0))


@contextlib.asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[None]:
    loop = asyncio.create_task(recorder.run())
    yield
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def until_kept(tails: LogTails, number: int = 1) -> bytes:
    await eventually(lambda: tails.holds(TASK_UID, number))
    log = await tails.get(TASK_UID, number)
    assert log is not None
    return part(log)


async def test_each_attempt_is_read_once_however_often_it_is_told_of(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    put_pod(kubernetes, "report-pod")
    kubernetes.logs["report-pod"] = [b"one\n", b"two\n"]
    task = a_task_with(an_ended())
    async with running(recorder):
        recorder.notice(None, task)
        recorder.notice(None, task)
        recorder.notice(task, task)
        await asyncio.gather(*(recorder.record_all(task) for _ in range(3)))
    assert kubernetes.calls.count(READ) == 1
    assert await until_kept(tails) == b"one\ntwo\n"


def put_state(kubernetes: MemoryKubernetes, **state: Any) -> None:
    containers = [{"name": names.RUNNER_CONTAINER, "state": state}]
    kubernetes.put("pods", "report-pod", status={"containerStatuses": containers})


async def test_of_a_program_that_said_how_it_ends_the_end_is_waited_for(
    kubernetes: MemoryKubernetes, tails: LogTails
) -> None:
    """What it writes after that is in its log, and those who have ended do not wait for it."""
    pauses = asyncio.Semaphore(0)

    async def sleep(_: float) -> None:
        await pauses.acquire()

    cluster = Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))
    recorder = Recorder(cluster, tails, Metrics(), clock=lambda: NOW, sleep=sleep)
    put_pod(kubernetes, "report-pod")
    put_pod(kubernetes, "other-pod")
    put_state(kubernetes, running={})
    kubernetes.logs["report-pod"] = [b"one\n"]
    kubernetes.logs["other-pod"] = [b"other\n"]
    async with running(recorder):
        recorder.notice(None, a_task_with(an_ended(reported_at=NOW)))
        recorder.notice(None, a_task_with(an_ended(2, pod_name="other-pod")))
        assert await until_kept(tails, 2) == b"other\n"
        pauses.release()

        async def is_looked_at() -> bool:
            return "get pods report-pod" in kubernetes.calls

        await eventually(is_looked_at)
        assert READ not in kubernetes.calls
        kubernetes.logs["report-pod"] += [b"two\n"]
        put_state(kubernetes, terminated={"exitCode": 0})
        pauses.release()
        assert await until_kept(tails) == b"one\ntwo\n"


async def test_an_end_that_never_comes_is_not_waited_for_for_ever(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    put_pod(kubernetes, "report-pod")
    put_state(kubernetes, running={})
    kubernetes.logs["report-pod"] = [b"one\n"]
    async with running(recorder):
        recorder.notice(None, a_task_with(an_ended(reported_at=NOW)))
        assert await until_kept(tails) == b"one\n"


async def test_a_pod_that_is_gone_has_ended(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    async with running(recorder):
        recorder.notice(None, a_task_with(an_ended(reported_at=NOW)))

        async def is_read() -> bool:
            return READ in kubernetes.calls

        await eventually(is_read)
    assert kubernetes.calls.count("get pods report-pod") == 1
    assert not await tails.holds(TASK_UID, 1)


async def test_a_log_is_read_once_whether_its_end_was_waited_for_or_not(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    put_pod(kubernetes, "report-pod")
    kubernetes.logs["report-pod"] = [b"one\n"]
    since = NOW - timedelta(hours=1)
    (attempt,) = ended(a_task_with(an_ended(reported_at=NOW)), since=since)
    assert attempt.is_reported
    waited_for = attempt._replace(is_reported=False)
    await asyncio.gather(recorder.record(attempt), recorder.record(waited_for))
    assert kubernetes.calls.count(READ) == 1
    assert await until_kept(tails) == b"one\n"


async def test_of_what_ended_long_ago_no_end_is_waited_for(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    """All of the last hour are told of at a start: they are worked through a few at a time."""
    put_pod(kubernetes, "report-pod")
    kubernetes.logs["report-pod"] = [b"one\n"]
    long_ago = NOW - timedelta(minutes=5)
    async with running(recorder):
        recorder.notice(None, a_task_with(an_ended(reported_at=long_ago, finished_at=long_ago)))
        assert await until_kept(tails) == b"one\n"
    assert "get pods report-pod" not in kubernetes.calls


async def test_after_a_restart_only_what_is_not_kept_is_read(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    for number in (1, 2):
        put_pod(kubernetes, f"pod-{number}")
        kubernetes.logs[f"pod-{number}"] = [b"x\n"]
    await tails.put(TASK_UID, 1, b"kept\n")
    task = a_task_with(an_ended(1, pod_name="pod-1"), an_ended(2, pod_name="pod-2"))
    async with running(recorder):
        recorder.notice(None, task)
        assert await until_kept(tails, 2) == b"x\n"
    assert await until_kept(tails, 1) == b"kept\n"
    assert "get pods pod-1/log" not in kubernetes.calls


async def test_a_log_is_tried_again_while_kubernetes_is_away(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    put_pod(kubernetes, "report-pod")
    kubernetes.logs["report-pod"] = [b"late\n"]
    kubernetes.go_away()
    async with running(recorder):
        recorder.notice(None, a_task_with(an_ended()))

        async def is_tried() -> bool:
            return kubernetes.calls.count(READ) >= 2

        await eventually(is_tried)
        kubernetes.come_back()
        assert await until_kept(tails) == b"late\n"


async def test_a_pod_that_is_gone_or_never_ran_has_no_log(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder
) -> None:
    task = a_task_with(an_ended())
    await recorder.record_all(task)
    put_pod(kubernetes, "report-pod")
    await recorder.record_all(task)
    assert not await tails.holds(TASK_UID, 1)


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        pytest.param(b"x" * 79 + b"\n", 1, id="lines-as-usual"),
        pytest.param(b"x" * 4_000 + b"\n", 2, id="long-lines"),
    ],
)
async def test_of_a_long_log_the_end_is_kept_and_little_is_read(
    kubernetes: MemoryKubernetes, tails: LogTails, recorder: Recorder, line: bytes, reads: int
) -> None:
    put_pod(kubernetes, "report-pod")
    kubernetes.logs["report-pod"] = [b"the beginning\n", *[line] * 100_000, b"the end\n"]
    await recorder.record_all(a_task_with(an_ended()))
    kept = await until_kept(tails)
    assert LIMIT - len(line) < len(kept) <= LIMIT
    assert kept.endswith(line + b"the end\n")
    assert kubernetes.calls.count(READ) == reads
    for request in kubernetes.requests:
        assert int(request.query["limitBytes"]) <= 5 * 2**20
        assert request.query["container"] == names.RUNNER_CONTAINER

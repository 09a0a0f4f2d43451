import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api_support import eventually, key, put_ended_task
from longtask_adapters.kube import connection, kinds
from longtask_adapters.kube.informer import Informer
from longtask_adapters.testing import MemoryKubernetes, Refusal
from longtask_api.cluster import Cluster
from longtask_api.database.engine import Database
from longtask_api.metrics import Metrics
from longtask_api.stores.archive import Archive
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.lines import Lines
from longtask_api.stores.log_tails import LogTails
from longtask_api.stores.resources import Resources
from longtask_api.workers.archiver import Archiver, Stay, due_at
from longtask_api.workers.recorder import Recorder
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_task, with_meta, with_status

STAY = Stay(usual=timedelta(seconds=10), failed=timedelta(seconds=20))
ENDED = {"conditions": [FINISHED], "finished_at": NOW, "phase": v1alpha1.Phase.SUCCEEDED}


#: How long a callback that was given up can be sent again.
WEEK = 7 * 24 * 3600


def a_callback(
    state: v1alpha1.CallbackState, *, tried: Sequence[int] = ()
) -> v1alpha1.CallbackStatus:
    """Return an entry that was tried so many seconds after the end of its task."""
    event = v1alpha1.TaskEvent.SUCCEEDED
    deliveries = [
        v1alpha1.Delivery(at=NOW + timedelta(seconds=each), event=event, code=500) for each in tried
    ]
    return v1alpha1.CallbackStatus(id="msg", event=event, state=state, deliveries=deliveries)


def asked_again(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    return with_meta(task, annotations={names.REDELIVER_ANNOTATION: "once more"})


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        pytest.param(a_task(), None, id="never-while-it-runs"),
        pytest.param(with_status(a_task(), **ENDED), 10, id="as-the-installation-says"),
        pytest.param(
            with_status(a_task(), **(ENDED | {"phase": v1alpha1.Phase.FAILED})),
            20,
            id="a-failure-stays-longer",
        ),
        pytest.param(
            with_status(a_task(type="x", ttlSecondsAfterFinished=0), **ENDED),
            0,
            id="as-the-task-says",
        ),
        pytest.param(
            with_status(a_task(), callback=a_callback(v1alpha1.CallbackState.PENDING), **ENDED),
            None,
            id="never-before-its-callback-is-settled",
        ),
        pytest.param(
            with_status(a_task(), callback=a_callback(v1alpha1.CallbackState.DELIVERED), **ENDED),
            10,
            id="a-callback-that-was-delivered-is-settled",
        ),
        pytest.param(
            with_status(
                a_task(),
                callback=a_callback(v1alpha1.CallbackState.EXHAUSTED, tried=[0, 272_100]),
                **ENDED,
            ),
            272_100 + WEEK,
            id="what-was-given-up-can-be-sent-again-for-a-week-after-the-last-try",
        ),
        pytest.param(
            with_status(
                a_task(type="x", ttlSecondsAfterFinished=0),
                callback=a_callback(v1alpha1.CallbackState.EXHAUSTED, tried=[0]),
                **ENDED,
            ),
            WEEK,
            id="whatever-the-task-says",
        ),
        pytest.param(
            with_status(
                a_task(type="x", ttlSecondsAfterFinished=2 * WEEK),
                callback=a_callback(v1alpha1.CallbackState.EXHAUSTED, tried=[0]),
                **ENDED,
            ),
            2 * WEEK,
            id="but-no-shorter-than-it-says",
        ),
        pytest.param(
            with_status(a_task(), callback=a_callback(v1alpha1.CallbackState.EXHAUSTED), **ENDED),
            WEEK,
            id="after-its-end-where-no-try-is-on-record",
        ),
        *(
            pytest.param(
                asked_again(with_status(a_task(), callback=a_callback(state, tried=[0]), **ENDED)),
                None,
                id=f"never-before-a-request-to-send-again-is-answered-{state.lower()}",
            )
            for state in (v1alpha1.CallbackState.DELIVERED, v1alpha1.CallbackState.EXHAUSTED)
        ),
        pytest.param(
            with_status(with_meta(a_task(), deletion_timestamp=NOW), **ENDED),
            None,
            id="never-what-somebody-deletes",
        ),
    ],
)
def test_when_a_task_is_due(task: v1alpha1.LongTask, seconds: int | None) -> None:
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert due_at(task, STAY) == expected


class Work:
    """An archiver at work, over a Kubernetes in memory and a database that may not be there yet."""

    def __init__(self, kubernetes: MemoryKubernetes, folder: Path) -> None:
        self.kubernetes = kubernetes
        self.folder = folder
        self.database = Database.at(f"sqlite:///{folder / 'longtask.db'}")
        self.archive = Archive(self.database)
        door = connection.Connection(kubernetes, user_agent="longtask-api")
        cluster = Cluster(door)
        self.informers: list[Informer[Any]] = [
            Informer(door, kind, NAMESPACE) for kind in (kinds.TASKS, kinds.TYPES, kinds.QUEUES)
        ]
        tasks, types, queues = (one.cache for one in self.informers)
        self.now = NOW
        self.resources = Resources(
            cluster,
            self.archive,
            namespace=NAMESPACE,
            tasks=tasks,
            types=types,
            queues=queues,
        )
        lines = Lines(self.resources, tasks=tasks, types=types, queues=queues)
        tails = LogTails(Blobs(self.database, clock=self.clock))
        counted = Metrics()
        recorder = Recorder(cluster, tails, counted, clock=self.clock)
        self.archiver = Archiver(
            self.resources,
            lines,
            cluster,
            recorder,
            counted,
            stay=STAY,
            clock=self.clock,
            sleep=lambda _: asyncio.sleep(0),
        )
        tasks.on_change(self.archiver.notice)

    def clock(self) -> Any:
        return self.now

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loops = [asyncio.create_task(one.run()) for one in self.informers]
        for one in self.informers:
            await one.synced.wait()
        loops.append(asyncio.create_task(self.archiver.run()))
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self.database.aclose()

    def is_there(self, name: str = "a") -> bool:
        return key(name) in self.kubernetes.objects(names.LONGTASKS)

    async def gone(self, *tasks: str) -> None:
        async def are_gone() -> bool:
            return not any(self.is_there(name) for name in tasks)

        await eventually(are_gone)

    async def asked(self, call: str, times: int = 1) -> None:
        async def is_asked() -> bool:
            return self.kubernetes.calls.count(call) >= times

        await eventually(is_asked)


@pytest.fixture
async def work(kubernetes: MemoryKubernetes, tmp_path: Path) -> AsyncIterator[Work]:
    made = Work(kubernetes, tmp_path)
    async with made.running():
        yield made


async def test_it_is_archived_whole_before_it_is_deleted(work: Work) -> None:
    async def is_archived() -> v1alpha1.LongTask | None:
        return await work.archive.find(key("a"))

    moments = []

    def note(write: str, moment: str) -> None:
        if write == "delete_task":
            moments.append((moment, asyncio.ensure_future(is_archived())))

    work.kubernetes.interrupt = note
    put_ended_task(work.kubernetes, ended_at=NOW - STAY.usual)
    await work.gone("a")
    assert [moment for moment, _ in moments] == ["before", "after"]
    for _, found in moments:
        task = await found
        assert task is not None
        assert (task.spec.input, task.status.attempt) == ({"n": 100}, 1)


async def test_a_task_that_asks_for_another_time_gets_it_at_once(work: Work) -> None:
    put_ended_task(work.kubernetes)
    put_ended_task(work.kubernetes, "b", spec={"type": "x", "ttlSecondsAfterFinished": 0})
    await work.gone("b")
    assert work.is_there("a")
    work.kubernetes.put(names.LONGTASKS, "a", spec={"ttlSecondsAfterFinished": 0})
    await work.gone("a")


async def test_nothing_goes_before_the_operator_has_released_its_job(work: Work) -> None:
    put_ended_task(work.kubernetes, ended_at=NOW - STAY.usual)
    work.kubernetes.put("jobs", "a-job", spec={"ttlSecondsAfterFinished": None})
    await work.asked("get jobs a-job")
    assert work.is_there()
    work.kubernetes.put("jobs", "a-job", spec={"ttlSecondsAfterFinished": 600})
    work.now += timedelta(minutes=1)
    # Nothing tells of Jobs: it is looked at again after a while, or when the task changes.
    work.kubernetes.put(names.LONGTASKS, "a", metadata={"labels": {"news": "yes"}})
    await work.gone("a")


async def test_while_the_archive_is_away_nothing_is_deleted_and_it_says_so(
    kubernetes: MemoryKubernetes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    work = Work(kubernetes, tmp_path / "not-there")
    async with work.running():
        for name in "abc":
            put_ended_task(kubernetes, name, ended_at=NOW - STAY.usual)

        async def is_told() -> bool:
            return work.archiver.trouble is not None

        await eventually(is_told)
        assert all(work.is_there(name) for name in "abc")
        assert work.archiver.overdue() > 0
        (tmp_path / "not-there").mkdir()
        await work.gone(*"abc")
        assert work.archiver.trouble is None
    told = [record.message for record in caplog.records if "archive" in record.message.lower()]
    assert told.count("The archive is away: no task is deleted") == 1
    assert "The archive answers again" in told


async def test_what_changes_while_it_is_archived_is_not_deleted(work: Work) -> None:
    changed = []

    def reopen(write: str, moment: str) -> None:
        if (write, moment) == ("delete_task", "before") and not changed:
            changed.append(True)
            callback = {"id": "msg", "event": "succeeded", "state": "Pending", "tries": 0}
            work.kubernetes.put(names.LONGTASKS, "a", status={"callback": callback})

    work.kubernetes.interrupt = reopen
    put_ended_task(work.kubernetes, ended_at=NOW - STAY.usual)
    await work.asked("get longtasks a", 2)
    assert work.is_there()
    work.kubernetes.put(names.LONGTASKS, "a", status={"callback": {"state": "Delivered"}})
    await work.gone("a")
    found = await work.archive.find(key("a"))
    assert found is not None
    assert found.status.callback is not None
    assert found.status.callback.state is v1alpha1.CallbackState.DELIVERED


async def test_several_replicas_archive_a_task_once(
    kubernetes: MemoryKubernetes, tmp_path: Path
) -> None:
    replicas = [Work(kubernetes, tmp_path) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for replica in replicas:
            await stack.enter_async_context(replica.running())
        for name in "abcdef":
            put_ended_task(kubernetes, name, ended_at=NOW - STAY.usual)
        await replicas[0].gone(*"abcdef")
        for name in "abcdef":
            assert await replicas[1].archive.find(key(name)) is not None
        assert await replicas[2].archive.remove(*(f"uid-of-{name}" for name in "abcdef")) == 6


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(Refusal(500, "InternalError", "not now"), id="kubernetes"),
        pytest.param(RuntimeError("nobody foresaw it"), id="unforeseen"),
    ],
)
async def test_one_task_in_trouble_keeps_no_other(work: Work, failure: Exception) -> None:
    def fail(write: str, moment: str) -> None:
        if (write, moment) == ("delete_task", "before"):
            raise failure

    work.kubernetes.interrupt = fail
    put_ended_task(work.kubernetes, "a", ended_at=NOW - STAY.usual)
    await work.asked("delete longtasks a")
    work.kubernetes.interrupt = lambda _write, _moment: None
    put_ended_task(work.kubernetes, "b", ended_at=NOW - STAY.usual)
    await work.gone("b")
    assert work.is_there("a")
    work.now += timedelta(minutes=1)
    work.kubernetes.put(names.LONGTASKS, "a", metadata={"labels": {"news": "yes"}})
    await work.gone("a")

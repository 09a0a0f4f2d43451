import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from api_support import key, put_task
from longtask_adapters.kube import connection
from longtask_adapters.kube.cache import Cache
from longtask_adapters.testing import MemoryKubernetes, Refusal
from longtask_api import errors
from longtask_api.cluster import Cluster
from longtask_api.metrics import Metrics
from longtask_api.services.pods import progress
from longtask_api.stores.archive import Archive
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, with_meta


class Pauses:
    """Stands in for sleeping: each pause ends when the test says so; time stands still else."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds < progress.TASK_PAUSE:
            return
        end = asyncio.Event()
        await self.begun.put(end)
        await end.wait()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def resources(kubernetes: MemoryKubernetes, archive: Archive) -> Resources:
    return Resources(
        Cluster(connection.Connection(kubernetes, user_agent="longtask-api")),
        archive,
        namespace=NAMESPACE,
        tasks=Cache(),
        types=Cache(),
        queues=Cache(),
    )


@pytest.fixture
async def task(kubernetes: MemoryKubernetes, resources: Resources) -> v1alpha1.LongTask:
    put_task(kubernetes, status={"attempt": 1})
    found = await resources.find_task(key("a"))
    assert found is not None
    return found


@pytest.fixture
def writer(resources: Resources, pauses: Pauses) -> progress.ProgressWriter:
    return progress.ProgressWriter(resources, Metrics(), clock=pauses.clock, sleep=pauses.sleep)


def writes(kubernetes: MemoryKubernetes) -> int:
    return kubernetes.calls.count("patch longtasks a/status")


def stored(kubernetes: MemoryKubernetes) -> Any:
    return kubernetes.stored(names.LONGTASKS, "a")["status"].get("progress")


async def test_the_first_is_written_at_once_and_then_the_latest_of_two_seconds(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1, "message": "begun"})
    pause = await pauses.begun.get()
    assert stored(kubernetes)["percent"] == 1
    for percent in range(2, 50):
        writer.report(task, {"percent": percent})
    assert writes(kubernetes) == 1
    pause.set()
    pause = await pauses.begun.get()
    assert writes(kubernetes) == 2
    assert stored(kubernetes) == {
        "percent": 49,
        "message": "begun",
        "updatedAt": "2026-01-02T03:04:05Z",
    }
    pause.set()
    await writer.close()
    assert writes(kubernetes) == 2


async def test_what_is_known_is_not_written_again(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1})
    (await pauses.begun.get()).set()
    for said in ({"percent": 1}, {}):
        writer.report(task, said)
        await writer.settle(task)
    assert writes(kubernetes) == 1


async def test_what_is_left_is_written_at_the_end(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1})
    await pauses.begun.get()
    writer.report(task, {"percent": 2})
    await writer.close()
    assert stored(kubernetes)["percent"] == 2


@pytest.mark.parametrize(
    ("failure", "after"),
    [
        pytest.param(None, 5, id="tried-again-when-kubernetes-was-away"),
        pytest.param(Refusal(429, "TooManyRequests", "wait"), 5, id="tried-again-when-it-was-busy"),
        pytest.param(Refusal(409, "Conflict", "no"), 5, id="tried-again-when-others-wrote"),
        pytest.param(Refusal(422, "Invalid", "no"), 1, id="dropped-when-it-is-refused"),
        pytest.param(Refusal(404, "NotFound", "no"), 1, id="dropped-when-the-task-is-gone"),
    ],
)
async def test_a_write_that_fails(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
    failure: Refusal | None,
    after: int,
) -> None:
    writer.report(task, {"percent": 1})
    pause = await pauses.begun.get()
    writer.report(task, {"percent": 5})
    kubernetes.go_away(failure)
    pause.set()
    pause = await pauses.begun.get()
    kubernetes.come_back()
    pause.set()
    await writer.close()
    assert stored(kubernetes)["percent"] == after


async def test_a_successor_gets_none_of_it(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    kubernetes.remove_task("a")
    put_task(kubernetes, status={"attempt": 1})
    writer.report(task, {"percent": 1})
    await pauses.begun.get()
    await writer.close()
    assert writes(kubernetes) == 1
    assert stored(kubernetes) is None


async def test_of_a_task_that_has_ended_nothing_is_written(
    kubernetes: MemoryKubernetes,
    resources: Resources,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
) -> None:
    put_task(kubernetes, status={"attempt": 1, "conditions": [FINISHED.to_json()]})
    await resources.look(key("a"))
    writer.report(task, {"percent": 1})
    await writer.close()
    assert writes(kubernetes) == 0


async def follow(kubernetes: MemoryKubernetes, resources: Resources, **parts: Any) -> Any:
    """Change the task as the operator would, and let the API see it."""
    put_task(kubernetes, **parts)
    return await resources.look(key("a"))


async def told(
    writer: progress.ProgressWriter, pauses: Pauses, task: v1alpha1.LongTask, **said: Any
) -> None:
    """Report, and let the pause after the write pass."""
    writer.report(task, said)
    (await pauses.begun.get()).set()


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        pytest.param([5, 3], 5, id="less-is-not-shown"),
        pytest.param([5, 3, 7], 7, id="more-is"),
        pytest.param([0, 0], 0, id="nothing-is-something"),
    ],
)
async def test_a_percentage_does_not_fall(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
    steps: list[int],
    shown: int,
) -> None:
    for number, percent in enumerate(steps):
        await told(writer, pauses, task, percent=percent, message=f"step {number}")
    assert stored(kubernetes)["percent"] == shown
    assert stored(kubernetes)["message"] == f"step {len(steps) - 1}"


async def test_nor_does_it_between_two_writes(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1})
    await pauses.begun.get()
    for percent in (50, 40):
        writer.report(task, {"percent": percent})
    await writer.close()
    assert stored(kubernetes)["percent"] == 50


async def test_the_next_attempt_begins_anew_and_keeps_the_checkpoint(
    kubernetes: MemoryKubernetes,
    resources: Resources,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    await told(writer, pauses, task, percent=90, checkpoint={"at": 9})
    cleared = {"percent": None, "updatedAt": None}
    second = await follow(kubernetes, resources, status={"attempt": 2, "progress": cleared})
    await told(writer, pauses, second, percent=5)
    assert (stored(kubernetes)["percent"], stored(kubernetes)["checkpoint"]) == (5, {"at": 9})


async def test_what_an_attempt_said_last_is_not_the_next_ones_word(
    kubernetes: MemoryKubernetes,
    resources: Resources,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1})
    pause = await pauses.begun.get()
    writer.report(task, {"percent": 99})
    second = await follow(kubernetes, resources, status={"attempt": 2, "progress": None})
    writer.report(second, {"message": "anew"})
    pause.set()
    await pauses.begun.get()
    assert stored(kubernetes) == {"message": "anew", "updatedAt": "2026-01-02T03:04:05Z"}


async def test_nor_is_it_if_the_next_one_is_not_seen_yet(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
) -> None:
    put_task(kubernetes, status={"attempt": 2})
    writer.report(task, {"percent": 99})
    await writer.settle(task)
    assert writes(kubernetes) == 1
    assert stored(kubernetes) is None


NULLS = {"a": None, "b": [None, {"c": None}]}


async def test_a_checkpoint_is_kept_as_it_is_until_it_is_forgotten(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    await told(writer, pauses, task, percent=1, checkpoint=NULLS)
    assert stored(kubernetes)["checkpoint"] == NULLS
    await told(writer, pauses, task, percent=2)
    assert stored(kubernetes)["checkpoint"] == NULLS
    await told(writer, pauses, task, checkpoint=[])
    assert stored(kubernetes)["checkpoint"] == []
    await told(writer, pauses, task, checkpoint=None)
    assert "checkpoint" not in stored(kubernetes)
    assert stored(kubernetes)["percent"] == 2


@pytest.mark.parametrize(
    ("spec", "seconds", "written"),
    [
        pytest.param({}, 19, False, id="not-within-twenty-seconds"),
        pytest.param({}, 20, True, id="then"),
        pytest.param({"timeouts": {"heartbeatSeconds": 15}}, 4, False, id="or-a-third"),
        pytest.param({"timeouts": {"heartbeatSeconds": 15}}, 5, True, id="of-the-tasks-own-limit"),
        pytest.param({"timeouts": {"heartbeatSeconds": 600}}, 20, True, id="if-that-is-shorter"),
        pytest.param({"type": "quick"}, 5, True, id="of-its-types-limit"),
    ],
)
async def test_a_sign_of_life_is_written_seldom(
    kubernetes: MemoryKubernetes,
    resources: Resources,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
    spec: dict[str, Any],
    seconds: int,
    written: bool,
) -> None:
    quick = {"defaults": {"timeouts": {"heartbeatSeconds": 15}}}
    kubernetes.put(names.LONGTASKTYPES, "quick", spec=quick)
    await resources.find_type("quick")
    task = await follow(kubernetes, resources, spec={"type": "fibonacci"} | spec)
    await told(writer, pauses, task, percent=1)
    pauses.now += timedelta(seconds=seconds)
    writer.report(task, {})
    await writer.settle(task)
    assert writes(kubernetes) == (2 if written else 1)
    heard = NOW + timedelta(seconds=seconds if written else 0)
    assert stored(kubernetes) == {"percent": 1, "updatedAt": f"{heard:%Y-%m-%dT%H:%M:%SZ}"}


async def test_the_last_report_is_settled_once_it_is_stored(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    pauses: Pauses,
) -> None:
    writer.report(task, {"percent": 1})
    pause = await pauses.begun.get()
    writer.report(task, {"percent": 2})
    settling = asyncio.create_task(writer.settle(task))
    await asyncio.sleep(0)
    assert not settling.done()
    pause.set()
    await settling
    assert stored(kubernetes)["percent"] == 2
    await writer.settle(task)


async def test_one_that_is_not_stored_in_time_is_told_so(
    kubernetes: MemoryKubernetes,
    task: v1alpha1.LongTask,
    writer: progress.ProgressWriter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "FINAL_PATIENCE", 0.01)
    kubernetes.go_away()
    writer.report(task, {"percent": 1})
    with pytest.raises(errors.Unavailable, match="not stored yet"):
        await writer.settle(task)
    kubernetes.come_back()
    await writer.close()
    assert stored(kubernetes)["percent"] == 1


async def test_a_crowd_waits_its_turn_but_never_so_long_that_it_seems_silent(
    resources: Resources, task: v1alpha1.LongTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPLICA_PAUSE", 1.0)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds != progress.TASK_PAUSE:
            waits.append(seconds)

    writer = progress.ProgressWriter(resources, Metrics(), clock=lambda: NOW, sleep=sleep)
    for number in range(100):
        one = with_meta(task, name=f"t{number}", uid=f"uid-{number}")
        resources._keep(one)
        writer.report(one, {"percent": 1})
    await asyncio.sleep(0)
    assert len(waits) == 99
    assert 0 < waits[0] <= 1
    assert waits == sorted(waits)
    assert max(waits) == pytest.approx(60)

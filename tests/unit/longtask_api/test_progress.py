import asyncio
from typing import Any

import pytest

from api_support import key, put_task
from longtask_adapters.kube import connection
from longtask_adapters.kube.cache import Cache
from longtask_adapters.testing import MemoryKubernetes, Refusal
from longtask_api.cluster import Cluster
from longtask_api.metrics import Metrics
from longtask_api.services import progress
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, NOW


class Pauses:
    """Stands in for sleeping: each pause ends when the test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()

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
def resources(kubernetes: MemoryKubernetes) -> Resources:
    return Resources(
        Cluster(connection.Connection(kubernetes, user_agent="longtask-api")),
        namespace=NAMESPACE,
        tasks=Cache(),
        types=Cache(),
        queues=Cache(),
    )


@pytest.fixture
async def task(kubernetes: MemoryKubernetes, resources: Resources) -> v1alpha1.LongTask:
    put_task(kubernetes)
    found = await resources.find_task(key("a"))
    assert found is not None
    return found


@pytest.fixture
def writer(resources: Resources, pauses: Pauses) -> progress.ProgressWriter:
    return progress.ProgressWriter(resources, Metrics(), clock=lambda: NOW, sleep=pauses.sleep)


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
    for _ in range(3):
        writer.report(task, {"percent": 1})
        (await pauses.begun.get()).set()
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
    put_task(kubernetes)
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
    put_task(kubernetes, status={"conditions": [FINISHED.to_json()]})
    await resources.look(key("a"))
    writer.report(task, {"percent": 1})
    await writer.close()
    assert writes(kubernetes) == 0

import asyncio

import pytest

from longtask_api import errors, informer, metrics, ports, testing
from longtask_api.services import progress


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
async def cache(cluster):
    made = informer.Cache()
    made.put(await cluster.put(ports.TASKS, "a", spec={}))
    return made


@pytest.fixture
def writer(cluster, cache, pauses):
    return progress.ProgressWriter(
        cluster, cache, metrics.Metrics(), clock=lambda: testing.NOW, sleep=pauses.sleep
    )


def writes(cluster) -> int:
    return cluster.calls.count("patch longtasks a/status")


def stored(cluster):
    return cluster.stored(ports.TASKS, "a")["status"]["progress"]


async def test_the_first_is_written_at_once_and_then_the_latest_of_two_seconds(
    cluster, cache, writer, pauses
):
    task = cache.get("a")
    writer.report(task, {"percent": 1, "message": "begun"})
    pause = await pauses.begun.get()
    assert stored(cluster)["percent"] == 1
    for percent in range(2, 50):
        writer.report(task, {"percent": percent})
    assert writes(cluster) == 1
    pause.set()
    pause = await pauses.begun.get()
    assert writes(cluster) == 2
    assert stored(cluster) == {
        "percent": 49,
        "message": "begun",
        "updatedAt": "2026-01-02T03:04:05Z",
    }
    pause.set()
    await writer.close()
    assert writes(cluster) == 2


async def test_what_is_known_is_not_written_again(cluster, cache, writer, pauses):
    for _ in range(3):
        writer.report(cache.get("a"), {"percent": 1})
        (await pauses.begun.get()).set()
    assert writes(cluster) == 1


async def test_what_is_left_is_written_at_the_end(cluster, cache, writer, pauses):
    writer.report(cache.get("a"), {"percent": 1})
    await pauses.begun.get()
    writer.report(cache.get("a"), {"percent": 2})
    await writer.close()
    assert stored(cluster)["percent"] == 2


@pytest.mark.parametrize(
    ("failure", "after"),
    [
        pytest.param(errors.Unavailable(), 5, id="tried-again-when-kubernetes-was-away"),
        pytest.param(errors.TooManyRequests(), 5, id="tried-again-when-it-was-busy"),
        pytest.param(errors.Rejected(), 1, id="dropped-when-the-task-is-finished"),
        pytest.param(errors.NotFound(), 1, id="dropped-when-the-task-is-gone"),
    ],
)
async def test_a_write_that_fails(cluster, cache, writer, pauses, failure, after):
    writer.report(cache.get("a"), {"percent": 1})
    pause = await pauses.begun.get()
    writer.report(cache.get("a"), {"percent": 5})
    cluster.failure = failure
    pause.set()
    pause = await pauses.begun.get()
    cluster.failure = None
    pause.set()
    await writer.close()
    assert stored(cluster)["percent"] == after

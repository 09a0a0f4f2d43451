import asyncio
import contextlib

import pytest

from longtask_api import errors, informer, ports, testing
from longtask_crds import v1alpha1
from longtask_crds.testing import a_task, with_meta


def at(version: int = 1, *, name: str = "a", uid: str = "u") -> v1alpha1.LongTask:
    return with_meta(a_task(name, uid=uid), resource_version=str(version))


@pytest.mark.parametrize(
    ("before", "put", "kept"),
    [
        pytest.param([], at(5), 5, id="the-first-is-kept"),
        pytest.param([at(5)], at(6), 6, id="the-newer-wins"),
        pytest.param([at(6)], at(5), 6, id="the-older-does-not"),
        pytest.param([at(9)], at(10), 10, id="versions-are-numbers"),
        pytest.param([at(6)], at(7, uid="v"), 7, id="made-anew"),
    ],
)
def test_put(before, put, kept):
    cache = informer.Cache()
    for task in before:
        cache.put(task)
    cache.put(put)
    assert cache.get("a").metadata.resource_version == str(kept)


def test_a_late_answer_does_not_bring_back_what_was_deleted():
    cache = informer.Cache()
    cache.remove("a", "u")
    cache.put(at(5))
    assert cache.get("a") is None
    cache.put(at(6, uid="another"))
    assert cache.get("a") is not None


def test_a_deletion_does_not_take_the_successor():
    cache = informer.Cache()
    cache.put(at(6, uid="another"))
    cache.remove("a", "u")
    assert cache.get("a") is not None


def test_a_list_takes_away_only_what_is_older_than_itself():
    cache = informer.Cache()
    cache.put(at(5, name="old", uid="1"))
    cache.put(at(8, name="written-meanwhile", uid="2"))
    cache.replace([at(6, name="listed", uid="3")], "7")
    assert {task.metadata.name for task in cache.values()} == {"listed", "written-meanwhile"}


async def test_a_waiter_wakes_with_the_change_of_its_own_task():
    cache = informer.Cache()
    waiting = asyncio.create_task(cache.wait_for("a", lambda task: task is not None, within=10))
    cache.put(at(name="b", uid="other"))
    cache.put(at())
    assert (await waiting).metadata.name == "a"


@contextlib.asynccontextmanager
async def running(cluster, **arguments):
    """Run an informer of tasks until the test has seen enough."""
    one = informer.Informer(cluster, ports.TASKS, **arguments)
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_changes_arrive(cluster: testing.MemoryCluster):
    await cluster.put(ports.TASKS, "before", spec={})
    async with running(cluster) as one:
        await one.synced.wait()
        assert one.cache.get("before") is not None
        await cluster.put(ports.TASKS, "later", spec={})
        assert await one.cache.wait_for("later", lambda task: task is not None, within=10)
        await cluster.vanish(ports.TASKS, "before")
        assert not await one.cache.wait_for("before", lambda task: task is None, within=10)
        assert cluster.calls == ["list longtasks", "watch longtasks"]


class Naps:
    """Stands in for sleeping; the first nap ends the outage."""

    def __init__(self, cluster) -> None:
        self.cluster = cluster
        self.taken: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.cluster.failure = None


@pytest.mark.parametrize(
    ("failure", "lists"),
    [
        pytest.param(errors.Unavailable(), 1, id="after-an-outage-it-goes-on-where-it-was"),
        pytest.param(errors.Expired(), 2, id="when-its-place-is-lost-it-lists-again"),
    ],
)
async def test_a_broken_watch(cluster, failure, lists):
    naps = Naps(cluster)
    async with running(cluster, sleep=naps.sleep) as one:
        await one.synced.wait()
        cluster.failure = failure
        await cluster.put(ports.TASKS, "meanwhile", spec={})
        assert await one.cache.wait_for("meanwhile", lambda task: task is not None, within=10)
        assert one.failing_for() == 0
        assert cluster.calls.count("list longtasks") == lists
        assert naps.taken


@pytest.mark.parametrize("failures", [1, 2, 5, 100])
def test_backoff_stays_below_a_quarter_of_a_minute(failures):
    assert 0 < informer.backoff(failures) <= 15

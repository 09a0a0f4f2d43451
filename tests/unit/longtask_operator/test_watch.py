"""The tasks' watch brings what happens; when it does not, that is found out and mended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import errors
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, a_queue, a_task
from longtask_operator.testing import Operator
from watch_support import watching

LIST, WATCH = "list longtasks", "watch longtasks"


class DeafKubernetes(testing.MemoryKubernetes):
    """Its watches do not bring what they are told to swallow."""

    def __init__(self) -> None:
        super().__init__()
        self.swallowed: set[str] = set()  #: names of tasks

    async def _watched(self, *given: Any) -> AsyncIterator[dict[str, Any]]:
        async for event in super()._watched(*given):
            if event["object"].get("metadata", {}).get("name") not in self.swallowed:
                yield event


@pytest.fixture
def kubernetes() -> DeafKubernetes:
    return DeafKubernetes()


@pytest.fixture
def operator(kubernetes: DeafKubernetes) -> Operator:
    kubernetes.add(a_queue(maxRunning=0))
    return Operator(kubernetes=kubernetes)


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


async def brought(
    operator: Operator,
    name: str,
    done: Callable[[v1alpha1.LongTask], bool] = lambda _: True,
) -> None:
    """Wait until the watch has brought a task, as it is wanted."""
    task = await operator.mirror.tasks.wait_for(
        key(name), lambda task: task is not None and done(task), within=60
    )
    assert task is not None
    assert done(task)


async def is_deaf(operator: Operator) -> bool:
    """Resync twice, as two minutes do; tell whether the liveness probe would fail."""
    for _ in range(2):
        await operator.resync.once()
    return operator.health.why_not_alive(operator.health.beat_at) is not None


async def test_the_watch_goes_on_from_the_only_list(operator: Operator) -> None:
    operator.kubernetes.add(a_task("before", uid="1"))
    async with watching(operator, operator.tasks):
        operator.kubernetes.add(a_task("later", uid="2"))
        await brought(operator, "later")
        tasks = [call for call in operator.kubernetes.calls if call in (LIST, WATCH)]
        assert tasks == [LIST, WATCH]
        assert operator.woken == ["later"]
        assert not await is_deaf(operator)


async def test_the_echo_of_our_own_write_is_no_news_and_heard(operator: Operator) -> None:
    async with watching(operator, operator.tasks):
        operator.kubernetes.add(a_task())
        await brought(operator, "report")
        await operator.look()
        operator.kubernetes.add(a_task("next", uid="2"))
        await brought(operator, "next")
        assert operator.woken == ["report", "next"]
        assert not await is_deaf(operator)


async def test_who_only_waits_is_not_looked_at_whatever_is_told_of_it(
    operator: Operator, kubernetes: DeafKubernetes
) -> None:
    async def label(value: str) -> list[str]:
        """Change what concerns nobody; return who is looked at."""
        operator.woken.clear()
        kubernetes.put(names.LONGTASKS, "report", metadata={"labels": {"a": value}})
        await brought(operator, "report", lambda task: task.metadata.labels.get("a") == value)
        return operator.woken

    kubernetes.add(a_task())
    async with watching(operator, operator.tasks):
        assert await label("b") == ["report"], "it is not recorded yet"
        assert await operator.look() is None
        assert operator.status().phase == "Queued"
        assert await label("c") == []
        kubernetes.add(a_queue(maxRunning=1))
        await operator.hear()
        assert await label("d") == ["report"], "it may start"
        kubernetes.add(a_queue(maxRunning=0))
        await operator.hear()
        assert await label("e") == []
        operator.woken.clear()
        kubernetes.cancel("report")
        await brought(operator, "report", lambda task: bool(task.spec.cancel))
        assert operator.woken == ["report"]


async def test_an_unreadable_task_is_neither_taken_over_nor_missed(operator: Operator) -> None:
    async with watching(operator, operator.tasks):
        operator.kubernetes.put(names.LONGTASKS, "poison", spec={"type": 7})
        operator.kubernetes.add(a_task())
        await brought(operator, "report")
        assert key("poison") not in operator.mirror.tasks
        assert operator.woken == ["report"]
        assert not await is_deaf(operator)


async def test_a_deletion_is_taken_over(operator: Operator) -> None:
    operator.kubernetes.add(a_task())
    async with watching(operator, operator.tasks):
        operator.kubernetes.remove_task("report")
        gone = await operator.mirror.tasks.wait_for(key("report"), lambda t: t is None, within=60)
        assert gone is None


async def test_a_missed_event_is_repaired_by_a_resync_and_told_by_the_next(
    operator: Operator, kubernetes: DeafKubernetes
) -> None:
    async with watching(operator, operator.tasks):
        kubernetes.swallowed = {"missed"}
        kubernetes.add(a_task("missed", uid="1"))
        kubernetes.add(a_task("heard", uid="2"))
        await brought(operator, "heard")
        assert key("missed") not in operator.mirror.tasks
        operator.woken.clear()
        await operator.resync.once()
        assert "missed" in operator.woken
        assert operator.health.deaf_since is None, "it may still come"
        assert await is_deaf(operator)


async def test_a_watch_that_stands_and_says_nothing_is_told(
    operator: Operator, kubernetes: DeafKubernetes
) -> None:
    operator.kubernetes.add(a_task())
    kubernetes.swallowed = {"report"}
    async with watching(operator, operator.tasks):
        assert not await is_deaf(operator), "nothing has happened that it might have brought"
        kubernetes.cancel("report")
        assert await is_deaf(operator)


async def test_a_watch_without_even_a_bookmark_is_given_up_in_75_seconds(
    operator: Operator, kubernetes: DeafKubernetes
) -> None:
    async with watching(operator, operator.tasks):
        kubernetes.add(a_task())
        await brought(operator, "report")
        (watch,) = [r for r in kubernetes.requests if r.query.get("watch") == "true"]
        assert watch.query["allowWatchBookmarks"] == "true"
        assert watch.timeouts.silence is not None
        assert 60 < watch.timeouts.silence <= 75


@pytest.mark.parametrize(
    ("failure", "lists"),
    [
        pytest.param(testing.Refusal(410, "Expired", "too old"), 2, id="410-in-the-watch"),
        pytest.param(testing.Refusal(500, "InternalError", "etcd"), 1, id="500-in-the-watch"),
        pytest.param(testing.Refusal(403, "Forbidden", "no"), 1, id="403-on-the-watch"),
        pytest.param(errors.Unavailable("away"), 1, id="no-answer"),
        pytest.param(KeyError("a mistake"), 2, id="a-mistake-of-ours"),
    ],
)
async def test_a_watch_that_breaks_misses_nothing(
    operator: Operator, kubernetes: DeafKubernetes, failure: Exception, lists: int
) -> None:
    kubernetes.add(a_task("before", uid="1"))
    came_back = asyncio.Event()

    async def sleep(_: float) -> None:
        kubernetes.come_back()
        came_back.set()

    operator.tasks._sleep = sleep
    async with watching(operator, operator.tasks):
        kubernetes.add(a_task("first", uid="2"))
        await brought(operator, "first")
        kubernetes.go_away(failure)
        kubernetes.add(a_task("meanwhile", uid="3"))
        kubernetes.cancel("before")
        await came_back.wait()
        await brought(operator, "meanwhile")
        await brought(operator, "before", lambda task: bool(task.spec.cancel))
        assert kubernetes.calls.count(LIST) == lists
        assert sorted(operator.woken) == ["before", "first", "meanwhile"]
        assert not await is_deaf(operator)

"""What a task costs does not grow with those that wait.

Instructions of Python are counted, not seconds, so whatever else runs has no say in it. What C does
in one go, as a copy of a list, counts as one.
"""

import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import (
    FINISHED,
    NAMESPACE,
    a_queue,
    a_task,
    an_attempt,
    with_meta,
    with_status,
)
from longtask_operator.testing import Operator

FEW, MANY = 100, 1_000
LIMITS: dict[str, dict[str, Any]] = {
    "paused": {"paused": True},
    "full": {"maxRunning": 10},
    "full-and-owners-have-a-limit": {"maxRunning": 10, "maxRunningPerOwner": 4},
}


class Steps:
    """How many instructions of Python ran."""

    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Take note of one, or of a frame whose own are to be told."""
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self.trace


@contextlib.contextmanager
def counted() -> Iterator[Steps]:
    """Count the instructions meanwhile: a walk over all who wait has some for each of them."""
    steps, before = Steps(), sys.gettrace()
    sys.settrace(steps.trace)
    try:
        yield steps
    finally:
        sys.settrace(before)


def named(number: int) -> ObjectKey:
    return ObjectKey(NAMESPACE, f"t{number:04}")


def recorded(number: int) -> v1alpha1.LongTask:
    """Return a task of which all is recorded that there is to say of its waiting."""
    name = named(number).name
    task = with_meta(
        a_task(name, uid=name, container={"image": "x"}),
        labels={names.OWNER_LABEL: f"owner-{number % 20}"},
    )
    return with_status(task, phase=v1alpha1.Phase.QUEUED, queue="default", observed_generation=1)


def running(number: int) -> v1alpha1.LongTask:
    """Return one that holds a place."""
    return with_status(recorded(number), attempts=[an_attempt(job_name=f"job-{number}")])


class Crowd:
    """An operator and so many tasks that wait; the first ten places are taken."""

    def __init__(self, count: int, limits: dict[str, Any]) -> None:
        self.limits = limits
        self.last = count + 9  #: the number of the one that all others are before
        self.kubernetes = MemoryKubernetes()
        self.kubernetes.add(a_queue(**limits))
        self.operator = Operator(kubernetes=self.kubernetes)
        for number in range(10):
            self.kubernetes.add(running(number))
        for number in range(10, count + 10):
            self.kubernetes.add(recorded(number))
        self.parsed: list[kinds.Raw] = []
        tasks = self.operator.tasks
        tasks.kind = tasks.kind.shown_to(self.parsed.append)

    async def begin(self) -> None:
        """Let the operator know all of them."""
        await self.operator.resync.once()
        self.parsed.clear()
        self.operator.woken.clear()

    def hear(self, task: v1alpha1.LongTask) -> None:
        """Let a watch bring a task, made or changed."""
        self.operator.mirror.tasks.put(with_meta(task, resource_version=str(2**40)))


async def a_crowd(count: int, limits: dict[str, Any]) -> Crowd:
    crowd = Crowd(count, limits)
    await crowd.begin()
    return crowd


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
async def test_a_resync_of_which_nothing_is_news_reads_no_task_and_grows_no_faster_than_they(
    limits: dict[str, Any],
) -> None:
    each = []
    for count in (FEW, MANY):
        crowd = await a_crowd(count, limits)
        with counted() as steps:
            await crowd.operator.resync.once()
        assert crowd.parsed == []
        assert set(crowd.operator.woken) == {named(n).name for n in range(10)}
        each.append(steps.count / count)
    assert each[1] <= each[0]


Change = Callable[[Crowd], Awaitable[object] | None]


def one_ends(crowd: Crowd) -> None:
    crowd.hear(with_status(running(0), conditions=[FINISHED]))


def one_comes(crowd: Crowd) -> None:
    crowd.hear(recorded(9_999))


def one_goes(crowd: Crowd) -> None:
    key = named(crowd.last)
    crowd.operator.mirror.tasks.remove(key, key.name)


def one_goes_to_the_front(crowd: Crowd) -> None:
    last = recorded(crowd.last)
    crowd.hear(last.model_copy(update={"spec": last.spec.model_copy(update={"priority": 99})}))


def one_cannot_be_started(crowd: Crowd) -> None:
    crowd.operator.mirror.hold_back(named(crowd.last))


async def one_is_looked_at(crowd: Crowd) -> None:
    await crowd.operator.look(named(crowd.last).name)


async def one_is_claimed(crowd: Crowd) -> None:
    one_ends(crowd)
    await crowd.operator.look(named(10).name)
    assert len(crowd.kubernetes.created_jobs) == (0 if "paused" in crowd.limits else 1)


CHANGES = [
    one_ends,
    one_comes,
    one_goes,
    one_goes_to_the_front,
    one_cannot_be_started,
    one_is_looked_at,
    one_is_claimed,
]


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.replace("_", "-"))
async def test_a_change_of_one_task_costs_the_same_however_many_wait(
    limits: dict[str, Any], change: Change
) -> None:
    costs = []
    for count in (FEW, FEW, MANY):
        crowd = await a_crowd(count, limits)
        with counted() as steps:
            if (more := change(crowd)) is not None:
                await more
        costs.append(steps.count)
        assert len(crowd.operator.woken) <= 1, "the next one at most"
    # The first has made what is made once. A walk has several for each of those who wait.
    assert costs[2] - costs[1] < (MANY - FEW) / 2

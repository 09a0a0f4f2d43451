"""When a task joins its queue and when it has had its time; nothing is done for it before."""

import datetime
from typing import Any

import pytest

from longtask_crds import effective, v1alpha1
from longtask_crds.testing import NOW, a_queue, a_task, a_type, an_attempt, with_meta, with_status
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions
from longtask_operator.rules import timeouts
from longtask_operator.testing import Operator


def later(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


WAITS = a_task(type="x")


@pytest.mark.parametrize(
    ("task", "seconds", "due"),
    [
        pytest.param(WAITS, None, None, id="without-a-limit-it-waits-for-ever"),
        pytest.param(WAITS, 60, later(60), id="a-wait-begins-with-the-task"),
        pytest.param(
            with_status(WAITS, queued_at=later(5)), 60, later(65), id="and-where-it-is-recorded"
        ),
        pytest.param(
            a_task(type="x", notBefore=later(30)), 60, later(90), id="and-not-before-it-joins"
        ),
        pytest.param(
            with_status(WAITS, attempts=[an_attempt(started_at=NOW)]),
            60,
            None,
            id="a-claim-ends-the-wait",
        ),
        pytest.param(
            with_status(WAITS, attempts=[an_attempt(finished_at=NOW)]),
            60,
            None,
            id="a-wait-for-another-attempt-is-another",
        ),
        pytest.param(
            with_meta(WAITS, deletion_timestamp=NOW), 60, None, id="a-deleted-one-waits-for-nothing"
        ),
    ],
)
def test_the_end_of_a_wait(
    task: v1alpha1.LongTask, seconds: int | None, due: datetime.datetime | None
) -> None:
    found = timeouts.first_due(task, effective.Limits(seconds, 600, 86_400, None, None))
    assert (found and found.at) == due
    assert found is None or found.reason is Reason.QUEUE_TIMEOUT


# --- pass after pass ---


@pytest.fixture
def operator() -> Operator:
    made = Operator()
    made.kubernetes.add(a_queue(maxRunning=0))
    return made


IMAGE = {"container": {"image": "x"}}
IN_A_MINUTE = IMAGE | {"timeouts": {"queueSeconds": 60}}


def passes(operator: Operator, seconds: float) -> None:
    operator.kubernetes.now += datetime.timedelta(seconds=seconds)


async def test_a_wait_ends_when_its_time_is_over(operator: Operator) -> None:
    await operator.submit(
        a_task(**IN_A_MINUTE, callback={"url": "https://example.com/done"}, queue="default")
    )
    assert await operator.look() == 60
    passes(operator, 59)
    assert await operator.look() == 1
    assert operator.status().phase is v1alpha1.Phase.QUEUED
    passes(operator, 1)
    await operator.look()
    status = operator.status()
    assert status.phase is v1alpha1.Phase.FAILED
    succeeded = conditions.find(status.conditions, ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert succeeded.reason == "QueueTimeout"
    assert succeeded.message == "waited for its queue longer than 60 s"
    assert status.is_true(ConditionType.ACCEPTED), "nothing was wrong with it"
    assert operator.kubernetes.created_jobs == []
    assert len(operator.sender.sent) == 1


async def test_a_type_says_how_long_its_tasks_wait(operator: Operator) -> None:
    operator.kubernetes.add(a_type("hasty", defaults={"timeouts": {"queueSeconds": 5}}))
    await operator.submit(a_task(type="hasty"))
    await operator.submit(a_task("own", uid="own", type="hasty", timeouts={"queueSeconds": 9}))
    assert await operator.look() == 5
    assert await operator.look("own") == 9


@pytest.mark.parametrize(
    "missing", [False, True], ids=["in-a-queue-that-is-paused", "in-a-queue-that-is-not-there"]
)
async def test_whatever_it_waits_for_it_ends(operator: Operator, missing: bool) -> None:
    operator.kubernetes.add(a_queue("night", paused=True))
    await operator.submit(a_task(**IN_A_MINUTE, queue="away" if missing else "night"))
    assert await operator.look() == 60
    passes(operator, 60)
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.FAILED


async def test_whoever_has_a_place_at_that_very_moment_starts(operator: Operator) -> None:
    await operator.submit(a_task(**IN_A_MINUTE))
    await operator.look()
    passes(operator, 60)
    operator.kubernetes.add(a_queue(maxRunning=1))
    await operator.hear()
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.STARTING


async def woken_by_a_resync(operator: Operator) -> set[str]:
    operator.woken.clear()
    await operator.resync.once()
    return set(operator.woken)


async def test_a_resync_costs_nothing_once_the_timers_are_set(operator: Operator) -> None:
    """Of 1,000 who wait ten have a time of their own, and a restart forgets their timers."""
    for number in range(1000):
        given: dict[str, Any] = {"timeouts": {"queueSeconds": 3600}} if number % 100 == 0 else {}
        name = f"t{number}"
        operator.kubernetes.add(a_task(name, uid=name, **IMAGE, **given))
    for name in await woken_by_a_resync(operator):
        await operator.look(name)
    assert await woken_by_a_resync(operator) == set()
    operator.restart()
    assert await woken_by_a_resync(operator) == {f"t{number}" for number in range(0, 1000, 100)}
    assert await operator.look("t0") == 3600
    assert "t0" not in await woken_by_a_resync(operator)


async def test_another_limit_of_the_type_takes_effect_at_once(operator: Operator) -> None:
    operator.kubernetes.add(a_type("t"))
    await operator.submit(a_task(type="t"))
    assert await operator.look() is None
    operator.kubernetes.add(a_type("t", defaults={"timeouts": {"queueSeconds": 60}}))
    assert await woken_by_a_resync(operator) == {"report"}
    assert await operator.look() == 60


async def test_one_whose_time_passed_while_no_operator_was_there_ends(operator: Operator) -> None:
    await operator.submit(a_task(**IN_A_MINUTE))
    await operator.look()
    passes(operator, 3600)
    operator.restart()
    await operator.hear()  # as a watch does that is quicker than the first resync
    assert await woken_by_a_resync(operator) == {"report"}
    await operator.look()
    assert operator.status().phase is v1alpha1.Phase.FAILED


# --- a task that begins later ---

IN_AN_HOUR = IMAGE | {"notBefore": later(3600)}


@pytest.fixture
def free(operator: Operator) -> Operator:
    operator.kubernetes.add(a_queue(maxRunning=1))
    return operator


async def test_a_task_starts_when_it_joins_its_queue(free: Operator) -> None:
    await free.submit(a_task(**IN_AN_HOUR))
    assert await free.look() == 3600
    status = free.status()
    assert status.phase is v1alpha1.Phase.PENDING
    assert status.waiting == "joins queue default at 2026-01-02T04:04:05Z"
    assert status.queued_at is None
    succeeded = conditions.find(status.conditions, ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert succeeded.reason == "Deferred"
    passes(free, 3599)
    assert await free.look() == 1
    assert free.kubernetes.writes == 1
    passes(free, 1)
    await free.look()
    status = free.status()
    assert (status.phase, status.waiting) == (v1alpha1.Phase.STARTING, None)
    assert status.queued_at == later(3600)


async def test_one_that_joins_a_full_queue_waits_there(operator: Operator) -> None:
    await operator.submit(a_task(**IN_AN_HOUR, timeouts={"queueSeconds": 60}))
    await operator.look()
    passes(operator, 3600)
    assert await operator.look() == 60, "its wait begins now"
    status = operator.status()
    assert (status.phase, status.waiting) == (v1alpha1.Phase.QUEUED, None)
    assert status.queued_at == later(3600)


async def test_it_takes_nobodys_place_before(free: Operator) -> None:
    await free.submit(a_task("late", uid="late", **IN_AN_HOUR, priority=100))
    await free.submit(a_task("soon", uid="soon", **IMAGE, priority=0))
    await free.look("late")
    await free.look("soon")
    assert free.status("soon").phase is v1alpha1.Phase.STARTING


async def test_the_first_of_many_who_join_together_is_woken_first(free: Operator) -> None:
    for name in ("b", "a", "first"):
        priority = 90 if name == "first" else 50
        await free.submit(a_task(name, uid=name, **IN_AN_HOUR, priority=priority))
        await free.look(name)
    passes(free, 3600)
    free.woken.clear()
    await free.look("b")
    assert free.woken == ["first"]
    assert free.status("b").phase is v1alpha1.Phase.QUEUED


async def test_one_that_was_never_due_is_cancelled_at_once(free: Operator) -> None:
    await free.submit(a_task(**IN_AN_HOUR))
    await free.look()
    free.kubernetes.cancel("report")
    await free.hear()
    await free.look()
    status = free.status()
    assert (status.phase, status.queued_at) == (v1alpha1.Phase.CANCELLED, None)


@pytest.mark.parametrize("at", [NOW, later(-3600)], ids=["now", "past"])
async def test_a_time_that_is_past_is_as_absent(free: Operator, at: datetime.datetime) -> None:
    await free.submit(a_task(**IMAGE, notBefore=at))
    await free.look()
    assert free.status().phase is v1alpha1.Phase.STARTING
    assert free.status().queued_at == NOW


async def test_a_clock_behind_the_api_servers_defers_nobody(free: Operator) -> None:
    await free.submit(a_task(**IMAGE))
    passes(free, -5)
    await free.look()
    assert free.status().phase is v1alpha1.Phase.STARTING


async def test_more_than_a_year_ahead_is_refused(free: Operator) -> None:
    await free.submit(a_task(**IMAGE, notBefore=NOW + datetime.timedelta(days=367)))
    await free.look()
    succeeded = conditions.find(free.status().conditions, ConditionType.SUCCEEDED)
    assert succeeded is not None
    assert (succeeded.reason, succeeded.message) == (
        *("NotBeforeTooFar", "spec.notBefore: more than a year ahead"),
    )


async def test_a_restart_forgets_nobody_who_joins_later(free: Operator) -> None:
    await free.submit(a_task(**IN_AN_HOUR))
    await free.look()
    assert await woken_by_a_resync(free) == set(), "there is a timer"
    free.restart()
    await free.hear()
    assert await woken_by_a_resync(free) == {"report"}
    assert await free.look() == 3600
    passes(free, 3700)
    assert await woken_by_a_resync(free) == {"report"}, "even without one"
    await free.look()
    assert free.status().phase is v1alpha1.Phase.STARTING


async def test_whose_queue_is_moved_before_is_told_so(free: Operator) -> None:
    free.kubernetes.add(a_type("t"))
    await free.submit(a_task(type="t", notBefore=later(3600)))
    await free.look()
    free.woken.clear()
    free.kubernetes.add(a_type("t", defaults={"queue": "night"}))
    await free.hear()
    assert free.woken == ["report"]
    await free.look()
    assert free.status().waiting == "joins queue night at 2026-01-02T04:04:05Z"

"""Whether another attempt follows, and when."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import effective, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_task, an_attempt, with_status
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, retry

POLICY = effective.Retry(max_attempts=3, backoff_seconds=10, max_backoff_seconds=60)
ENDED_AT = NOW + datetime.timedelta(minutes=1)
LATER = NOW + datetime.timedelta(minutes=5)


def following(
    reason: Reason,
    *,
    number: int = 1,
    free: int = 0,
    policy: effective.Retry = POLICY,
    cancel: bool | None = None,
) -> retry.Next | None:
    task = with_status(a_task(cancel=cancel, type="x"), attempt=number, disruptions=free)
    ended = outcome.Outcome(v1alpha1.Phase.FAILED, reason, finished_at=ENDED_AT)
    return retry.next_attempt(task, ended, policy, now=LATER)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.PROGRAM_FAILED,
        Reason.TRY_AGAIN,
        Reason.OOM_KILLED,
        Reason.EVICTED,
        Reason.START_TIMEOUT,
        Reason.RUN_TIMEOUT,
        Reason.HEARTBEAT_TIMEOUT,
        Reason.JOB_LOST,
    ],
)
def test_what_another_attempt_may_mend_is_tried_again_while_attempts_last(reason: Reason) -> None:
    assert following(reason, number=2) is not None
    assert following(reason, number=3) is None
    assert following(reason, number=3, free=1) is not None, "a free one does not count"


@pytest.mark.parametrize(
    "reason",
    [
        Reason.PERMANENT_FAILURE,
        Reason.INVALID_INPUT,
        Reason.INVALID_RESULT,
        Reason.RESULT_TOO_LARGE,
        Reason.TASK_NOT_FOUND,
        Reason.TASK_NOT_LOADABLE,
        Reason.TOTAL_TIMEOUT,
        Reason.NAME_CONFLICT,
        Reason.TYPE_NOT_FOUND,
    ],
)
def test_what_no_attempt_can_mend_is_not(reason: Reason) -> None:
    assert following(reason) is None


@pytest.mark.parametrize("reason", [Reason.PROGRAM_FAILED, Reason.DISRUPTED])
def test_a_cancelled_task_is_not_tried_again(reason: Reason) -> None:
    assert following(reason, cancel=True) is None


def test_three_disruptions_are_free_and_come_without_a_pause() -> None:
    once = POLICY.__class__(max_attempts=1, backoff_seconds=10, max_backoff_seconds=60)
    for free in range(3):
        found = following(Reason.DISRUPTED, number=free + 1, free=free, policy=once)
        assert found == retry.Next(LATER, is_free=True)
    assert following(Reason.DISRUPTED, number=4, free=3, policy=once) is None


@pytest.mark.parametrize(("paid", "pause"), [(1, 10), (2, 20), (3, 40), (4, 60), (99, 60)], ids=str)
def test_the_pause_is_doubled_up_to_the_longest(paid: int, pause: int) -> None:
    assert retry.backoff(POLICY, paid) == pause


@given(st.uuids(), st.integers(1, 99), st.integers(0, 3), st.integers(0, 86_400))
def test_the_due_time_is_derived_from_facts_and_spread(
    uid: object, paid: int, free: int, backoff: int
) -> None:
    policy = effective.Retry(100, backoff, 86_400)
    task = with_status(a_task(uid=str(uid)), attempt=paid + free, disruptions=free)
    ended = outcome.Outcome(v1alpha1.Phase.FAILED, Reason.TRY_AGAIN, finished_at=ENDED_AT)
    first, second = (retry.next_attempt(task, ended, policy, now=now) for now in (ENDED_AT, LATER))
    assert first is not None
    assert first == second, "who looks, and when, changes nothing"
    pause, exact = (first.at - ENDED_AT).total_seconds(), retry.backoff(policy, paid)
    assert 0.8 * exact <= pause <= 1.2 * exact + 1
    assert first.at.microsecond == 0


def test_the_spread_of_a_pause_never_changes() -> None:
    # An operator of another version, or after a restart, must come to the same time.
    ended = outcome.Outcome(v1alpha1.Phase.FAILED, Reason.TRY_AGAIN, finished_at=ENDED_AT)
    pauses = []
    for number in (1, 2, 3):
        task = with_status(a_task(type="x"), attempt=number)
        found = retry.next_attempt(task, ended, effective.Retry(9, 1000, 9999), now=LATER)
        assert found is not None
        pauses.append((found.at - ENDED_AT).total_seconds())
    assert pauses == [854, 2192, 4356]


def test_a_task_without_a_number_is_at_its_first_attempt() -> None:
    ended = outcome.Outcome(v1alpha1.Phase.FAILED, Reason.TRY_AGAIN, finished_at=ENDED_AT)
    assert retry.next_attempt(a_task(type="x"), ended, effective.Retry(2, 0, 0), now=LATER)


def test_what_fails_together_does_not_return_together() -> None:
    dues = set()
    for number in range(20):
        uid = TASK_UID[:-2] + f"{number:02}"
        task = with_status(a_task(uid=uid), attempt=1)
        ended = outcome.Outcome(v1alpha1.Phase.FAILED, Reason.TRY_AGAIN, finished_at=ENDED_AT)
        found = retry.next_attempt(task, ended, effective.Retry(2, 100, 360), now=LATER)
        assert found is not None
        dues.add(found.at)
    assert len(dues) > 10


def test_the_sentence_says_when_and_why() -> None:
    last = an_attempt(finished_at=NOW, reason="ProgramFailed", message="boom")
    status = v1alpha1.LongTaskStatus(attempts=[last], retry_at=ENDED_AT)
    told = "attempt 2 at 2026-01-02T03:05:05Z, after ProgramFailed: boom"
    assert retry.sentence(status) == told
    silent = last.model_copy(update={"message": None})
    at_once = v1alpha1.LongTaskStatus(attempts=[silent])
    assert retry.sentence(at_once) == "attempt 2 as soon as there is a place, after ProgramFailed"

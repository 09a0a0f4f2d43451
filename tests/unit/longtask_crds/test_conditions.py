"""A condition's transition time moves with its status, and with nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from longtask_crds.v1alpha1 import (
    ConditionStatus,
    ConditionType,
    LongTaskStatus,
    ObjectMeta,
    Reason,
    conditions,
)
from longtask_crds.v1alpha1.conditions import Change

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
AS_EXPECTED = Change(ConditionType.STALLED, ConditionStatus.FALSE, Reason.AS_EXPECTED)
BEFORE = conditions.changed((), AS_EXPECTED, now=NOON)


@pytest.mark.parametrize(
    ("status", "reason", "moved"),
    [
        pytest.param(ConditionStatus.FALSE, Reason.AS_EXPECTED, NOON, id="nothing-is-new"),
        pytest.param(
            ConditionStatus.FALSE, Reason.POD_CANNOT_START, NOON, id="only-the-reason-is-new"
        ),
        pytest.param(ConditionStatus.TRUE, Reason.POD_CANNOT_START, LATER, id="the-status-is-new"),
    ],
)
def test_changed(status: ConditionStatus, reason: Reason, moved: datetime) -> None:
    stalled = Change(ConditionType.STALLED, status, reason, "why")
    (after,) = conditions.changed(BEFORE, stalled, now=LATER)
    assert (after.status, after.reason, after.message) == (status, reason, "why")
    assert after.last_transition_time == moved
    assert after.observed_generation is None


def test_another_generation_is_no_transition() -> None:
    said = AS_EXPECTED._replace(generation=7)
    (after,) = conditions.changed(BEFORE, said, now=LATER)
    assert (after.observed_generation, after.last_transition_time) == (7, NOON)


def test_the_others_stay_as_they_are() -> None:
    finished = Change(ConditionType.FINISHED, ConditionStatus.TRUE, Reason.COMPLETED)
    both = conditions.changed(BEFORE, finished, now=LATER)
    assert both[0] == BEFORE[0]
    status = LongTaskStatus(conditions=both)
    assert status.is_true(ConditionType.FINISHED)
    assert not status.is_true(ConditionType.STALLED)
    assert not status.is_true(ConditionType.ACCEPTED)
    assert conditions.find(both, ConditionType.ACCEPTED) is None


def test_a_stored_resource_knows_when_it_was_made() -> None:
    assert ObjectMeta(creation_timestamp=NOON).created_at == NOON
    with pytest.raises(ValueError, match="creationTimestamp"):
        _ = ObjectMeta().created_at

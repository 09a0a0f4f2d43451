"""A condition's transition time moves with its status, and with nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from longtask_crds import conditions
from longtask_crds.conditions import ConditionType, Reason
from longtask_crds.v1alpha1 import ConditionStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
BEFORE = conditions.replaced(
    (), ConditionType.STALLED, ConditionStatus.FALSE, Reason.AS_EXPECTED, now=NOON
)


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
def test_replaced(status: ConditionStatus, reason: Reason, moved: datetime) -> None:
    (after,) = conditions.replaced(BEFORE, ConditionType.STALLED, status, reason, "why", now=LATER)
    assert (after.status, after.reason, after.message) == (status, reason, "why")
    assert after.last_transition_time == moved


def test_the_others_stay_as_they_are() -> None:
    both = conditions.replaced(
        BEFORE, ConditionType.FINISHED, ConditionStatus.TRUE, Reason.COMPLETED, now=LATER
    )
    assert both[0] == BEFORE[0]
    assert conditions.is_true(both, ConditionType.FINISHED)
    assert not conditions.is_true(both, ConditionType.STALLED)
    assert conditions.find(both, ConditionType.ACCEPTED) is None

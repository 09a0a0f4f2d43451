"""When a task has had its time. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from longtask_crds import queueing, v1alpha1
from longtask_crds.v1alpha1 import Reason


class Due(NamedTuple):
    """When a time is over, and how the task ends then."""

    at: datetime
    reason: Reason
    message: str


def first_due(task: v1alpha1.LongTask, *, queue_seconds: int | None) -> Due | None:
    """Return which of the times that run for the task now is over first, or None.

    Args:
        task: The task.
        queue_seconds: How long it may wait in its queue; None is no limit.
    """
    if queue_seconds is None or queueing.standing(task) is not queueing.Standing.WAITING:
        return None
    return Due(
        queueing.joined_at(task) + timedelta(seconds=queue_seconds),
        Reason.QUEUE_TIMEOUT,
        f"waited for its queue longer than {queue_seconds} s",
    )

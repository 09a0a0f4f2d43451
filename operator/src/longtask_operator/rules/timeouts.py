"""When a task has had its time. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from longtask_crds import effective, queueing, v1alpha1
from longtask_crds.v1alpha1 import Reason


class Due(NamedTuple):
    """When a time is over, and how the attempt or the task ends then."""

    at: datetime
    reason: Reason
    message: str


def first_due(task: v1alpha1.LongTask, limits: effective.Limits) -> Due | None:
    """Return which of the times that run for the task now is over first, or None."""
    return min(filter(None, _running_times(task, limits)), default=None)


def _running_times(task: v1alpha1.LongTask, limits: effective.Limits) -> list[Due | None]:
    total = _due(
        task.metadata.created_at,
        limits.total,
        Reason.TOTAL_TIMEOUT,
        f"took longer than {limits.total} s in all",
    )
    last = task.status.attempts[-1] if task.status.attempts else None
    if last is None:
        return [total, _in_queue(task, limits.queue)]
    if last.finished_at is not None:
        return [total]
    if last.started_at is not None:
        return [total, _silence(task, last.started_at, limits.heartbeat)]
    if last.claimed_at is None:
        raise ValueError("a claim records its time")
    message = f"the container did not start within {limits.start} s"
    return [total, _due(last.claimed_at, limits.start, Reason.START_TIMEOUT, message)]


def _in_queue(task: v1alpha1.LongTask, seconds: int | None) -> Due | None:
    if queueing.standing(task) is not queueing.Standing.WAITING:
        return None
    message = f"waited for its queue longer than {seconds} s"
    return _due(queueing.joined_at(task), seconds, Reason.QUEUE_TIMEOUT, message)


def _silence(task: v1alpha1.LongTask, started: datetime, seconds: int | None) -> Due | None:
    reported = last_report(task)
    message = f"no progress report for {seconds} s"
    since = max(started, reported) if reported else started
    return _due(since, seconds, Reason.HEARTBEAT_TIMEOUT, message)


def last_report(task: v1alpha1.LongTask) -> datetime | None:
    """Return when the program of the last attempt last reported, or None."""
    return task.status.progress.updated_at if task.status.progress else None


def _due(since: datetime, seconds: int | None, reason: Reason, message: str) -> Due | None:
    return None if seconds is None else Due(since + timedelta(seconds=seconds), reason, message)


def earliest(*times: datetime | None) -> datetime | None:
    """Return the first of the times, or None if there is none."""
    return min((at for at in times if at is not None), default=None)

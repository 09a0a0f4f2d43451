"""Whether a failed attempt is followed by another one, and when. Pure."""

import dataclasses
import hashlib
from datetime import datetime, timedelta

from longtask_crds import effective, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome

#: How many attempts may be had again at no cost.
FREE_ATTEMPTS = 3
#: By how much a pause may be shorter or longer: what failed together does not return together.
_SPREAD = 0.2
#: How an attempt may end so that another one may help.
_WORTH_ANOTHER = {
    Reason.PROGRAM_FAILED,
    Reason.TRY_AGAIN,
    Reason.NO_TASK,
    Reason.OOM_KILLED,
    Reason.EVICTED,
    Reason.START_TIMEOUT,
    Reason.RUN_TIMEOUT,
    Reason.HEARTBEAT_TIMEOUT,
    Reason.JOB_LOST,
    Reason.FILES_NOT_FETCHED,
}


@dataclasses.dataclass(frozen=True)
class Next:
    """Another attempt."""

    at: datetime  #: it joins the queue
    is_free: bool = False  #: it costs nothing of `maxAttempts`


def next_attempt(
    task: v1alpha1.LongTask,
    ended: outcome.Outcome,
    retry: effective.Retry,
    *,
    now: datetime,
    run: str = "",
) -> Next | None:
    """Return the attempt that follows the last one, or None if that was the end.

    Args:
        task: The task, whose last attempt is still open.
        ended: How that attempt ended.
        retry: When and how often the task is tried again.
        now: When it is known to have ended.
        run: The name of the pipeline's program that it is; empty for a plain task.
    """
    if task.spec.cancel or ended.phase is not v1alpha1.Phase.FAILED:
        return None
    number, free = task.status.attempt or 1, task.status.disruptions or 0
    if ended.reason is Reason.DISRUPTED:
        return Next(now, is_free=True) if free < FREE_ATTEMPTS else None
    paid = number - free
    if ended.reason not in _WORTH_ANOTHER or paid >= retry.max_attempts:
        return None
    pause = backoff(retry, paid) * (1 + _SPREAD * _jitter(task.metadata.uid, run, number))
    # Times in a status are whole seconds; cut, the pause would be too short.
    due = (ended.finished_at or now) + timedelta(seconds=pause, microseconds=999_999)
    return Next(due.replace(microsecond=0))


def backoff(retry: effective.Retry, paid: int) -> float:
    """Return the pause in seconds after so many attempts that counted, unspread."""
    # No power of two is needed that is larger than a day: 2**17 s are more.
    return min(retry.backoff_seconds * 2.0 ** min(paid - 1, 17), retry.max_backoff_seconds)


def _jitter(uid: str, run: str, number: int) -> float:
    """Return -1 to 1: the same for the same attempt, whoever computes it, whenever."""
    digest = hashlib.sha256(f"{uid}/{run}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**63 - 1


def sentence(status: v1alpha1.LongTaskStatus) -> str:
    """Say when the next attempt comes, and why: the last one has ended."""
    last, due = (status.attempts or [])[-1], status.retry_at
    when = f"at {due:%Y-%m-%dT%H:%M:%SZ}" if due else "as soon as there is a place"
    why = f"{last.reason}: {last.message}" if last.message else str(last.reason)
    return f"attempt {last.number + 1} {when}, after {why}"

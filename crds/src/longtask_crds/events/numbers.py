"""What an event is known by: its id, and the number that sorts it among those of its task."""

import uuid
from typing import Final

from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import Phase, TaskEvent

#: How a task ends, and the event that tells of it.
TERMINAL: Final = {
    Phase.SUCCEEDED: TaskEvent.SUCCEEDED,
    Phase.FAILED: TaskEvent.FAILED,
    Phase.CANCELLED: TaskEvent.CANCELLED,
}
#: A thousand numbers for each attempt, and in them the order in which events can come. Of a
#: pipeline each event begins another thousand: its programs run side by side, and no attempt of one
#: says what the others had done by then.
_OF_ATTEMPT = 1000
_RANKS = {
    TaskEvent.QUEUED: 1,
    TaskEvent.STARTED: 2,
    TaskEvent.PROGRESS: 100,  #: and the percent
    TaskEvent.RETRYING: 300,
    TaskEvent.SUCCEEDED: 900,
    TaskEvent.FAILED: 900,
    TaskEvent.CANCELLED: 900,
}
#: Of what begins a thousand of its own: progress comes after it.
_FIRST = 2


def terminal_event(phase: v1alpha1.Phase) -> TaskEvent:
    """Return the event that reports this end."""
    return TERMINAL[phase]


def webhook_id(
    task_uid: str,
    event: str,
    attempt: int,
    *,
    percent: int | None = None,
    step: str | None = None,
) -> str:
    """Return the event's id: the same for the same facts, whoever computes it, whenever."""
    facts = f"{event}/{attempt}" if step is None else f"{event}/{step}/{attempt}"
    facts = facts if percent is None else f"{facts}/{percent}"
    return f"msg_{uuid.uuid5(_space(task_uid), facts)}"


def _space(task_uid: str) -> uuid.UUID:
    """Return what the ids of a task's events are made in: Kubernetes promises no UUID."""
    try:
        return uuid.UUID(task_uid)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_OID, task_uid)


def sequence(event: TaskEvent, attempt: int, percent: int | None = None) -> int:
    """Return the number of an event of a plain task's attempt, or of a whole task."""
    of_percent = percent or 0 if event is TaskEvent.PROGRESS else 0
    return attempt * _OF_ATTEMPT + _RANKS[event] + of_percent


def sequence_of_ordinal(ordinal: int) -> int:
    """Return the number of what is the so manieth event of a pipeline."""
    return ordinal * _OF_ATTEMPT + _FIRST


def last_ordinal(status: v1alpha1.LongTaskStatus) -> int:
    """Return in which thousand a task is: the number of its attempt; of a pipeline, its events."""
    return (status.attempt or 0) if status.ordinal is None else status.ordinal

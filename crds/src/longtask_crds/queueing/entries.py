"""What a task is to its queue: whether it waits or holds a place, and since when."""

import dataclasses
import enum
from datetime import datetime

from longtask_crds import names, v1alpha1

#: The sorting key of a queue: queued since, less the head start; then age; then name.
Rank = tuple[int, int, str]


class Standing(enum.Enum):
    """What a task is to its queue."""

    WAITING = enum.auto()  #: it starts when there is a place
    HOLDING = enum.auto()  #: an attempt of it, or its steps, are claimed and have no outcome yet
    OUT = enum.auto()  #: it is over, or will be without another attempt


def standing(task: v1alpha1.LongTask) -> Standing:
    """Return what the task is to its queue."""
    if task.is_finished:
        return Standing.OUT
    last = task.status.attempts[-1] if task.status.attempts else None
    # A pipeline has one place, from its first step to its last.
    if task.status.steps or (last is not None and last.finished_at is None):
        return Standing.HOLDING
    if task.metadata.deletion_timestamp is not None or task.spec.cancel:
        return Standing.OUT
    return Standing.WAITING


def rests(task: v1alpha1.LongTask) -> bool:
    """Tell whether little happens to the task for long: it waits, or it is over."""
    return standing(task) is not Standing.HOLDING


def deferred_until(task: v1alpha1.LongTask) -> datetime | None:
    """Return when the task joins its queue; None if it does so when it is made."""
    asked = task.spec.not_before
    return asked if asked is not None and asked > task.metadata.created_at else None


def startable_at(task: v1alpha1.LongTask) -> datetime | None:
    """Return until when the task is no part of its queue; None if it is one at once."""
    return task.status.retry_at if task.status.attempts else deferred_until(task)


def joined_at(task: v1alpha1.LongTask) -> datetime:
    """Return since when the task is in its queue, or when it joins it."""
    return task.status.queued_at or deferred_until(task) or task.metadata.created_at


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """All that the queues need to know of a task."""

    standing: Standing
    since: int  #: in the queue since, in seconds of the epoch
    type: str | None
    queue: str | None  #: that it names itself; of one that holds a place, where it holds it
    priority: int | None  #: that it names itself
    owner: str
    not_before: int | None = None  #: until then it is no part of its queue

    @classmethod
    def of(cls, task: v1alpha1.LongTask) -> "Entry | None":
        """Return the task's entry; None if it neither waits nor holds a place."""
        stands = standing(task)
        if stands is Standing.OUT:
            return None
        holds = stands is Standing.HOLDING
        later = None if holds else startable_at(task)
        return cls(
            standing=stands,
            since=int(joined_at(task).timestamp()),
            type=task.spec.type,
            # Where it holds its place was settled when it got it, whatever the type says since.
            queue=(task.status.queue if holds else None) or task.spec.queue,
            priority=task.spec.priority,
            owner=task.metadata.labels.get(names.OWNER_LABEL, ""),
            not_before=int(later.timestamp()) if later else None,
        )

"""Who is next: the one order of a queue, for the operator that admits and the API that shows it."""

import dataclasses
import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta

#: One point of priority is worth this much waiting time, so that nobody waits for ever.
HEAD_START = timedelta(minutes=1)


@dataclasses.dataclass(frozen=True)
class Waiting:
    """A task that waits for its queue."""

    name: str
    queued_at: datetime
    priority: int


def rank(task: Waiting) -> tuple[datetime, datetime, str]:
    """Return the sorting key: waiting time plus head start, then age, then name."""
    return (task.queued_at - task.priority * HEAD_START, task.queued_at, task.name)


def in_order(waiting: Iterable[Waiting]) -> list[str]:
    """Return the names of the waiting tasks, the next one first."""
    return [task.name for task in sorted(waiting, key=rank)]


def admissible(
    waiting: Iterable[Waiting], *, running: int, max_running: int | None, paused: bool
) -> list[str]:
    """Return the names of the tasks that may start now, in order.

    Args:
        waiting: The tasks that wait for this queue.
        running: How many hold a place in it now, counted from live state.
        max_running: How many may; None is no limit.
        paused: Whether the queue starts nothing.
    """
    if paused:
        return []
    if max_running is None:
        return in_order(waiting)
    # Not a full sort: mostly one place is free and very many wait for it.
    return [task.name for task in heapq.nsmallest(max_running - running, waiting, key=rank)]

"""What somebody who waits is told of their place."""

import dataclasses
from datetime import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A waiting task's place, and what its queue is doing."""

    position: int  #: 1 is next
    queue: str
    running: int
    max_running: int | None
    paused: bool = False
    exists: bool = True
    owner_running: int = 0
    max_running_per_owner: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks of a queue hold a place, and how many wait."""

    running: int
    waiting: int


def postponed(queue: str, joins_at: datetime) -> str:
    """Say why a task does not wait yet."""
    return f"joins queue {queue} at {joins_at:%Y-%m-%dT%H:%M:%SZ}"


def sentence(place: Place) -> str:
    """Say why the task does not run yet."""
    if not place.exists:
        return f"there is no LongTaskQueue named {place.queue}"
    if place.paused:
        return f"queue {place.queue} is paused"
    most, share = place.max_running, place.max_running_per_owner
    told = (
        f"next in queue {place.queue}"
        if place.position == 1
        else f"{place.position - 1} ahead in queue {place.queue}"
    )
    if most is not None and place.running >= most:
        told += f", {place.running} of {most} running"
    if share is not None and place.owner_running >= share:
        told += f", your limit of {share} is reached"
    return told

"""What pages say of numbers and times. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from longtask_api.ui.groups import Group
from longtask_client import models

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def took(seconds: float) -> str:
    """Return how long something took, as exactly as one cares: 18 s, 4 m 12 s, 1 h 05 m, 2 d 3 h.

    The script has the same words, for what goes on.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def about(seconds: float) -> str:
    """Return a time that nobody knows exactly: less than a minute, about 2 minutes."""
    if seconds < _MINUTE:
        return "less than a minute"
    for size, unit in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= size:
            number = round(seconds / size)
            return f"about {number} {unit}" + "s" * (number > 1)
    raise AssertionError("a minute is the least")


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, 11th, 21st."""
    if 10 < number % 100 < 20:
        return f"{number:,}th"
    return f"{number:,}" + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 task, 4,120 tasks."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def amount(number: int) -> str:
    """Return how many bytes that are, for people."""
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return count(number, "byte")


def clock(moment: datetime | None) -> str:
    """Return a moment in UTC; the script shows it as the clock on the wall does."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


class Busiest(NamedTuple):
    """The queue that most of those who wait are in."""

    name: str
    is_most: bool  #: more than half of them, and not just more than in any other


def busiest(queues: Sequence[models.QueueView]) -> Busiest | None:
    """Return the queue that most wait in; None if nobody does."""
    first = max(queues, key=lambda queue: queue.waiting, default=None)
    if first is None or first.waiting == 0:
        return None
    return Busiest(first.name, first.waiting * 2 > sum(queue.waiting for queue in queues))


def summary(counts: Mapping[Group, int]) -> str:
    """Say what goes on, in one sentence."""
    runs, waits, again = (
        counts.get(group, 0) for group in (Group.RUNNING, Group.WAITING, Group.RETRYING)
    )
    if not runs and not waits and not again:
        return "Nothing runs, and nothing waits."
    told = [f"{runs:,} {'runs' if runs == 1 else 'run'}" if runs else "Nothing runs"]
    if waits:
        told.append(f"{waits:,} {'waits' if waits == 1 else 'wait'}")
    if again:
        told.append(f"{again:,} {'is' if again == 1 else 'are'} tried again")
    return f"{', '.join(told)}."

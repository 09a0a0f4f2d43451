"""Who may admit: the rules of a lease, by one process's own clock. Pure.

No two machines' clocks are compared. Who waits counts from when it first saw the holder's last
word; who holds stops believing so before that, counted from when it began to write it.
"""

import dataclasses
from typing import Final

#: For how many seconds others leave the lease to a holder that says nothing.
DURATION: Final = 15
#: For how many seconds a holder believes that it holds, from when its last renewal began. What is
#: left up to the duration is for clocks that do not run alike, and for claims on their way.
RENEW_DEADLINE: Final = 10
#: How often the holder renews, and the others look, in seconds.
RETRY_PERIOD: Final = 2


@dataclasses.dataclass(frozen=True)
class Seen:
    """A lease as this process saw it, and since when it has not changed."""

    holder: str  #: empty: nobody
    version: str  #: another one after each write, whoever makes it
    seconds: float  #: for how long its holder may be silent
    since: float  #: when this process first saw this version, in seconds of its own clock

    def again(self, later: "Seen") -> "Seen":
        """Return what was seen later, counted from when it was first seen."""
        return self if later.version == self.version else later


@dataclasses.dataclass(frozen=True)
class Acquire:
    """Take it: nobody holds it, or its holder was silent for too long."""


@dataclasses.dataclass(frozen=True)
class Renew:
    """Say again that we hold it."""


@dataclasses.dataclass(frozen=True)
class Wait:
    """Leave it to its holder until that time of our clock at least."""

    until: float


Step = Acquire | Renew | Wait


def next_step(seen: Seen | None, me: str, *, now: float) -> Step:
    """Return what to do about the lease.

    Args:
        seen: As it was seen just now; None if there is none.
        me: Our name, which no other process ever had.
        now: The time of the clock by which it was seen.
    """
    if seen is None or not seen.holder:
        return Acquire()
    if seen.holder == me:
        return Renew()
    until = seen.since + seen.seconds
    return Acquire() if now >= until else Wait(until)


def held_until(renewal_began: float) -> float:
    """Return until when who renewed the lease may act as its holder, by its own clock."""
    return renewal_began + RENEW_DEADLINE

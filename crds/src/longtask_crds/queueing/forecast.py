"""When a task that waits may start, as far as the past of its queue tells. Pure."""

import dataclasses
import math
import statistics
from collections.abc import Collection
from typing import Final

from longtask_crds.queueing.places import Place

#: Fewer ends tell nothing.
_LEAST_KNOWN: Final = 3
#: In seconds: a year. Further ahead nothing is known.
_FARTHEST: Final = 31_536_000


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """For how long tasks of a queue hold their places: eight of ten between the two, in seconds."""

    low: float
    high: float

    @classmethod
    def of(cls, seconds: Collection[float]) -> "Spread | None":
        """Return the spread of these times, or None of fewer than three."""
        if len(seconds) < _LEAST_KNOWN:
            return None
        tenths = statistics.quantiles(seconds, n=10, method="inclusive")
        return cls(low=tenths[0], high=tenths[-1])


def estimate(place: Place, held: Spread | None) -> tuple[float, float] | None:
    """Return after how many seconds the task starts, at the earliest and at the latest.

    The seconds count from when somebody last took or left a place in the queue. The model: nobody
    overtakes, and each of the `m` places is held for a time within the spread, then taken by the
    next. So the task at the `k`-th place beyond those that are free starts with the `k`-th end;
    within one round of the longest time there are at least `m` ends, and within one of the shortest
    at most `m` after the first `m`. How long the running ones have run already is not looked at.

    Returns:
        None where that says nothing: in a queue that is paused, missing or without a limit; where
        owners have limits, as then those at theirs are overtaken; for a task that nothing keeps
        from starting; while the spread is not known; and for what is more than a year ahead.
    """
    places = place.max_running
    if not places or place.paused or not place.exists or place.max_running_per_owner is not None:
        return None
    ends = place.position - (places - place.running)
    if held is None or ends <= 0:
        return None
    rounds = math.ceil(ends / places)
    earliest, latest = (rounds - 1) * held.low, rounds * held.high
    return (earliest, latest) if latest <= _FARTHEST else None

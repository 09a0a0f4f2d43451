"""How queues move: what their tasks have told of late by starting and by ending."""

import heapq
from collections import Counter
from datetime import datetime
from typing import Final

from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing.forecast import Spread

#: Starts are counted over so many seconds.
_WINDOW: Final = 300
#: So many ends of each queue are remembered.
_ENDS: Final = 50


class Pace:
    """The starts of the last minutes and the last ends, queue by queue: a bounded memory of each.

    Times are the resources' own, so an API that has just started knows the same.
    """

    def __init__(self) -> None:
        self._moves: dict[ObjectKey, _Moves] = {}

    def note(
        self, queue: ObjectKey, before: v1alpha1.Attempt | None, after: v1alpha1.Attempt
    ) -> None:
        """Take note of a task's last attempt in the queue, as it was and as it is."""
        known = before if before is not None and before.job_name == after.job_name else None
        moves = self._moves.setdefault(queue, _Moves())
        if after.claimed_at and known is None:
            moves.moves(after.claimed_at)
        if after.started_at and (known is None or known.started_at is None):
            moves.starts(after.started_at)
        if after.finished_at and (known is None or known.finished_at is None):
            moves.moves(after.finished_at)
            if after.claimed_at:
                moves.ends(after.claimed_at, after.finished_at)

    def forget(self, queue: ObjectKey) -> None:
        """Take note that the queue is gone."""
        self._moves.pop(queue, None)

    def starts_per_minute(self, queue: ObjectKey, now: datetime) -> float:
        """Return how many tasks of the queue started in a minute, on average over the last five."""
        moves = self._moves.get(queue)
        until = int(now.timestamp())
        counted = moves.started if moves else Counter()
        found = sum(count for at, count in counted.items() if until - _WINDOW < at <= until)
        return found / (_WINDOW / 60)

    def moved_at(self, queue: ObjectKey) -> datetime | None:
        """Return when somebody last took or left a place in the queue, as far as is known."""
        moves = self._moves.get(queue)
        return moves.moved_at if moves else None

    def spread(self, queue: ObjectKey) -> Spread | None:
        """Return for how long the last tasks held their places, or None while too few are known."""
        moves = self._moves.get(queue)
        return moves.spread() if moves else None


class _Moves:
    """What is known of one queue."""

    def __init__(self) -> None:
        self.started: Counter[int] = Counter()  #: by second of the epoch
        self.moved_at: datetime | None = None
        self._held: list[tuple[datetime, float]] = []  #: a heap: until when, for how long
        self._spread: Spread | None = None
        self._is_fresh = True

    def moves(self, at: datetime) -> None:
        self.moved_at = max(self.moved_at or at, at)

    def starts(self, at: datetime) -> None:
        self.started[int(at.timestamp())] += 1
        oldest = max(self.started) - _WINDOW
        for second in [second for second in self.started if second <= oldest]:
            del self.started[second]

    def ends(self, since: datetime, until: datetime) -> None:
        put = heapq.heappush if len(self._held) < _ENDS else heapq.heappushpop
        put(self._held, (until, max(0.0, (until - since).total_seconds())))
        self._is_fresh = False

    def spread(self) -> Spread | None:
        if not self._is_fresh:
            self._spread = Spread.of([seconds for _, seconds in self._held])
            self._is_fresh = True
        return self._spread

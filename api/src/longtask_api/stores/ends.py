"""How tasks ended, counted: of the archive by one question to the database, whatever is in it.

Times are counted by what a page says of them, so that two counts can be put together.
"""

import collections
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from longtask_api.database.engine import Database
from longtask_api.database.tables import ARCHIVE
from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import conditions

#: Below so many seconds a time is told to so many.
_STEPS: Final = ((60, 1), (3_600, 10), (86_400, 300))
_COARSEST: Final = 3_600


class Kind(NamedTuple):
    """What a task was: its type, or else whether it had steps."""

    type: str | None
    is_pipeline: bool


class End(NamedTuple):
    """What is counted of a task that has ended."""

    ended: int  #: when, in seconds of the epoch
    kind: Kind
    phase: v1alpha1.Phase
    reason: str | None
    waited: int | None  #: for how many seconds
    ran: int | None

    @classmethod
    def of(cls, task: v1alpha1.LongTask) -> "End | None":
        """Return how the task ended; None if it has not, or does not say when."""
        status = task.status
        if not task.phase.is_terminal or status.finished_at is None:
            return None
        how = conditions.find(status.conditions, v1alpha1.ConditionType.SUCCEEDED)
        queued = status.queued_at or task.metadata.created_at
        return cls(
            int(status.finished_at.timestamp()),
            Kind(task.spec.type, bool(task.spec.steps)),
            task.phase,
            str(how.reason) if how else None,
            _between(queued, status.started_at),
            _between(status.started_at, status.finished_at),
        )


def columns_of(task: v1alpha1.LongTask) -> Mapping[str, Any]:
    """Return what the archive's row has for all of this."""
    end = End.of(task)
    return {
        "ended": end and end.ended,
        "is_pipeline": bool(task.spec.steps),
        "reason": end and end.reason,
        "waited": end and end.waited,
        "ran": end and end.ran,
    }


@dataclasses.dataclass(frozen=True)
class Span:
    """A time in equal parts."""

    since: int  #: in seconds of the epoch
    until: int
    parts: int

    @property
    def part(self) -> int:
        """Return how many seconds a part has; the last one may have fewer."""
        return max(1, -(-(self.until - self.since) // self.parts))

    def __contains__(self, moment: int) -> bool:
        return self.since <= moment < self.until


@dataclasses.dataclass
class Tally:
    """How many ended how."""

    when: collections.Counter[tuple[int, v1alpha1.Phase]] = dataclasses.field(
        default_factory=collections.Counter
    )  #: by the part of the time
    kinds: collections.Counter[tuple[Kind, v1alpha1.Phase]] = dataclasses.field(
        default_factory=collections.Counter
    )
    reasons: collections.Counter[str | None] = dataclasses.field(
        default_factory=collections.Counter
    )  #: of those that failed
    waited: dict[Kind, collections.Counter[int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )  #: by seconds
    ran: dict[Kind, collections.Counter[int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )

    def add(self, end: End, span: Span) -> None:
        """Count one in, if it ended within the time."""
        if end.ended not in span:
            return
        self.count((end.ended - span.since) // span.part, end.kind, end.phase, end.reason, 1)
        for seconds, times in ((end.waited, self.waited), (end.ran, self.ran)):
            if seconds is not None:
                times[end.kind][_told(seconds)] += 1

    def count(
        self, part: int, kind: Kind, phase: v1alpha1.Phase, reason: str | None, number: int
    ) -> None:
        """Count some in that ended in the same part of the time."""
        self.when[part, phase] += number
        self.kinds[kind, phase] += number
        if phase is v1alpha1.Phase.FAILED:
            self.reasons[reason] += number


class Ends:
    """The archive, as far as it is counted. Raises DatabaseAway while it does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, tally: Tally, span: Span, *, owner: str | None) -> None:
        """Count in what is archived.

        Args:
            tally: Where it is counted.
            span: When they ended.
            owner: Whose alone may be seen; None for all.
        """
        ended = sa.select(
            ((ARCHIVE.c.ended - span.since) // span.part).label("part"),
            *(ARCHIVE.c[name] for name in ("type", "is_pipeline", "phase", "reason")),
            *(_told_by(ARCHIVE.c[name]).label(name) for name in ("waited", "ran")),
        ).where(ARCHIVE.c.ended >= span.since, ARCHIVE.c.ended < span.until)
        if owner is not None:
            ended = ended.where(ARCHIVE.c.owner == owner)
        async with self._database.reading() as connection:
            for row in await connection.execute(_asked(ended.cte("ends"))):
                kind = Kind(row.type, row.is_pipeline)
                if row.what == "ends":
                    phase = v1alpha1.Phase(row.phase)
                    tally.count(row.number, kind, phase, row.reason, row.amount)
                else:
                    times = tally.waited if row.what == "waited" else tally.ran
                    times[kind][row.number] += row.amount


def _asked(ends: sa.CTE) -> sa.CompoundSelect[Any]:
    """Return the question for all counts at once."""
    kind = (ends.c.type, ends.c.is_pipeline)
    how = (ends.c.phase, ends.c.reason)
    nothing = (sa.null().label("phase"), sa.null().label("reason"))
    amount = sa.func.count().label("amount")

    def asked(
        what: str, number: sa.ColumnElement[int], said: tuple[Any, ...], *groups: Any
    ) -> sa.Select[Any]:
        told: sa.Label[str] = sa.literal_column(f"'{what}'").label("what")
        found = sa.select(told, number.label("number"), *kind, *said, amount)
        return found.group_by(number, *kind, *groups)

    return sa.union_all(
        asked("ends", ends.c.part, how, *how),
        *(
            asked(name, ends.c[name], nothing).where(ends.c[name].is_not(None))
            for name in ("waited", "ran")
        ),
    )


def _between(start: datetime | None, end: datetime | None) -> int | None:
    # One that waits for another attempt is in the queue anew, after it has started.
    if start is None or end is None or end < start:
        return None
    return int((end - start).total_seconds())


def _told(seconds: int) -> int:
    """Return the seconds as they are told."""
    step = next((step for most, step in _STEPS if seconds < most), _COARSEST)
    return seconds // step * step


def _told_by(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return the same in SQL."""
    return sa.case(
        *((column < most, column // step * step) for most, step in _STEPS),
        else_=column // _COARSEST * _COARSEST,
    )

"""What tasks that have ended tell together: how many, how long they took, why they failed.

Pure. Pictures are parts of a hundred.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from longtask_api.stores import ends
from longtask_api.stores.ends import Span, Tally
from longtask_api.ui import groups, words
from longtask_api.ui.groups import Group
from longtask_client import why
from longtask_crds.v1alpha1 import Phase, Reason

#: Of more types, or reasons, only those of most tasks are shown.
_MOST: Final = 12
#: How many marks the axis of time has.
_MARKS: Final = 6


@dataclasses.dataclass(frozen=True)
class Column:
    """What ended in a part of the time: what succeeded stands above the line, the rest below."""

    left: float
    succeeded: float  #: a height
    failed: float
    cancelled: float  #: below what failed
    says: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """How many tasks ended when."""

    columns: tuple[Column, ...]
    width: float  #: of a column
    line: float  #: how far down it is
    most: int  #: that succeeded in one column
    per: int  #: how many seconds a column has
    marks: tuple[tuple[float, datetime], ...]


@dataclasses.dataclass(frozen=True)
class Spread:
    """How long something took: half of them no longer than this, and nineteen of twenty."""

    half: int
    most: int


@dataclasses.dataclass(frozen=True)
class Kind:
    """The tasks of a type."""

    name: str
    is_type: bool  #: and not what has none
    count: int
    failed: int
    waited: Spread | None
    ran: Spread | None


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why tasks failed."""

    reason: str
    means: str
    count: int


def says(tally: Tally) -> str:
    """Return all of it in a sentence."""
    whole = tally.kinds.total()
    if not whole:
        return "Nothing has ended in that time."
    failed = tally.reasons.total()
    told = f"{words.count(whole, 'task')} ended; "
    return told + (f"{failed:,} failed, {failed / whole:.0%}." if failed else "none failed.")


def chart(tally: Tally, span: Span) -> Chart:
    """Return how many tasks ended when."""
    counts = [Counter[Group]() for _ in range(span.parts)]
    for (part, phase), number in tally.when.items():
        counts[part][groups.of_phase(phase)] += number
    above = max(count[Group.SUCCEEDED] for count in counts)
    below = max(count[Group.FAILED] + count[Group.CANCELLED] for count in counts)
    whole = max(1, above + below)
    since, per = datetime.fromtimestamp(span.since, UTC), timedelta(seconds=span.part)
    clock = "%H:%M" if per < timedelta(hours=1) else "%-d %b %H:%M"
    columns = (
        Column(
            left=round(index * 100 / span.parts, 2),
            succeeded=round(count[Group.SUCCEEDED] * 100 / whole, 2),
            failed=round(count[Group.FAILED] * 100 / whole, 2),
            cancelled=round(count[Group.CANCELLED] * 100 / whole, 2),
            says=f"{since + index * per:{clock}} UTC: "
            + (", ".join(f"{n:,} {group.lower()}" for group, n in sorted(count.items())) or "none"),
        )
        for index, count in enumerate(counts)
    )
    marks = (
        (round(n * 100 / _MARKS, 2), since + n * (per * span.parts / _MARKS)) for n in range(_MARKS)
    )
    return Chart(
        columns=tuple(columns),
        width=round(100 / span.parts * 0.7, 2),
        line=round(above * 100 / whole, 2),
        most=above,
        per=span.part,
        marks=tuple(marks),
    )


def kinds(tally: Tally) -> list[Kind]:
    """Return how long the tasks of each type waited and ran; those of most tasks first."""
    counts: dict[ends.Kind, Counter[Phase]] = defaultdict(Counter)
    for (kind, phase), number in tally.kinds.items():
        counts[kind][phase] += number
    found = [
        Kind(
            name=kind.type or ("pipeline" if kind.is_pipeline else "container"),
            is_type=kind.type is not None,
            count=count.total(),
            failed=count[Phase.FAILED],
            waited=_spread(tally.waited.get(kind, {})),
            ran=_spread(tally.ran.get(kind, {})),
        )
        for kind, count in counts.items()
    ]
    return sorted(found, key=lambda kind: (-kind.count, kind.name))[:_MOST]


def causes(tally: Tally) -> list[Cause]:
    """Return why tasks failed, the most frequent reason first."""
    return [
        Cause(reason or "unknown", _means(reason or ""), count)
        for reason, count in tally.reasons.most_common(_MOST)
    ]


def _means(reason: str) -> str:
    try:
        return why.WORDS[Reason(reason)].means
    except ValueError:
        return ""  # another version's, or none


def _spread(times: Mapping[int, int]) -> Spread | None:
    return Spread(_part(times, 0.5), _part(times, 0.95)) if times else None


def _part(times: Mapping[int, int], share: float) -> int:
    """Return what such a share of all is not longer than, of how many took how long."""
    left = max(1, math.ceil(share * sum(times.values())))
    for seconds in sorted(times):
        left -= times[seconds]
        if left <= 0:
            return seconds
    return 0

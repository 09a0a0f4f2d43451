"""The runs of a schedule, each at its time: a row for each hour, day, week or year. Pure.

A row is as long as makes few of them, so that runs of the same hour of the day stand below each
other, whatever the schedule.
"""

import dataclasses
import enum
import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from longtask_api.ui.groups import Group

#: Of more rows than this each is longer.
_MOST_ROWS = 14


class Unit(enum.Enum):
    """How long a row is."""

    HOUR = enum.auto()
    DAY = enum.auto()
    WEEK = enum.auto()
    YEAR = enum.auto()


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that was, or is to come."""

    at: datetime
    group: Group
    says: str
    is_due: bool = False  #: it is to come


@dataclasses.dataclass(frozen=True)
class Mark:
    """A run in its row, in hundredths of the row's width."""

    left: float
    run: Run


@dataclasses.dataclass(frozen=True)
class Row:
    """An hour, a day, a week or a year."""

    name: str
    marks: tuple[Mark, ...]


@dataclasses.dataclass(frozen=True)
class Calendar:
    """The picture; the newest row comes last, as time goes."""

    rows: tuple[Row, ...]
    axis: tuple[tuple[float, str], ...]
    is_of_moments: bool  #: what stands on the axis is a moment, and not the begin of a day or month
    zone: str
    groups: tuple[Group, ...]  #: that stand in it


def of(runs: Iterable[Run], zone_name: str | None) -> Calendar:
    """Return the picture of runs, by the clock of a time zone."""
    zone = _zone(zone_name)
    known = sorted(runs, key=lambda run: run.at)
    unit = next(
        (
            unit
            for unit in Unit
            if len({_start(run.at, unit, zone) for run in known}) <= _MOST_ROWS
            and _span(known) <= _MOST_ROWS * _LENGTHS[unit]
        ),
        Unit.YEAR,
    )
    starts = sorted({_start(run.at, unit, zone) for run in known})[-_MOST_ROWS:]
    rows = [
        Row(
            _NAMES[unit](start),
            tuple(
                Mark(_part(run.at, start, unit, zone), run)
                for run in known
                if _start(run.at, unit, zone) == start
            ),
        )
        for start in starts
    ]
    return Calendar(
        rows=tuple(rows),
        axis=_AXES[unit],
        is_of_moments=unit in (Unit.HOUR, Unit.DAY),
        zone=zone_name if zone is not UTC and zone_name else "UTC",
        groups=tuple(group for group in Group if any(_has_been(run, group) for run in known)),
    )


def _has_been(run: Run, group: Group) -> bool:
    return run.group is group and not run.is_due


_LENGTHS = {
    Unit.HOUR: timedelta(hours=1),
    Unit.DAY: timedelta(days=1),
    Unit.WEEK: timedelta(days=7),
    Unit.YEAR: timedelta(days=366),
}
_NAMES = {
    Unit.HOUR: lambda start: f"{start:%a %d, %H:00}",
    Unit.DAY: lambda start: f"{start:%a %d %b}",
    Unit.WEEK: lambda start: f"{start:%d %b %Y}",
    Unit.YEAR: lambda start: f"{start:%Y}",
}
_AXES: dict[Unit, tuple[tuple[float, str], ...]] = {
    Unit.HOUR: ((0, ":00"), (25, ":15"), (50, ":30"), (75, ":45")),
    Unit.DAY: ((0, "0 h"), (25, "6 h"), (50, "12 h"), (75, "18 h")),
    Unit.WEEK: tuple(
        (round(n * 100 / 7, 2), day)
        for n, day in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    ),
    Unit.YEAR: ((0, "Jan"), (24.6, "Apr"), (49.5, "Jul"), (74.6, "Oct")),
}


def _zone(name: str | None) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name) if name else UTC
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC  # a schedule that names no zone there is: it never starts anything


def _span(known: Sequence[Run]) -> timedelta:
    return known[-1].at - known[0].at if known else timedelta(0)


def _start(at: datetime, unit: Unit, zone: tzinfo) -> datetime:
    """Return when the row of a moment begins, by the clock there."""
    local = at.astimezone(zone).replace(minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    match unit:
        case Unit.HOUR:
            return local
        case Unit.DAY:
            return local.replace(hour=0)
        case Unit.WEEK:
            return local.replace(hour=0) - timedelta(days=local.weekday())
        case Unit.YEAR:
            return local.replace(hour=0, day=1, month=1)


def _part(at: datetime, start: datetime, unit: Unit, zone: tzinfo) -> float:
    local = at.astimezone(zone).replace(tzinfo=None, fold=0)
    return round((local - start) / _LENGTHS[unit] * 100, 2)

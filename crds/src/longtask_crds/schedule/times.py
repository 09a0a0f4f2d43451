"""The times that a schedule names, by its cron expressions or its interval. Pure.

An expression is read by cronsim, but in a local time without a zone: what a clock change makes of
it stands here. The rule is that of Debian's cron. An expression whose minutes or hours begin with
`*` goes by what the clock shows: nothing in the hour that is left out, twice in the one that comes
twice. Any other names hours of the day, and no clock change takes or doubles one: what falls into
the hour that is left out is due when that is over, and of an hour that comes twice the first
counts.
"""

import dataclasses
import functools
import heapq
import itertools
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import cronsim

from longtask_crds import v1alpha1
from longtask_crds.pipeline.references import Path

#: Names for expressions, as every cron knows them.
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MOST_CRONS = 10
_MOST_CHARACTERS = 256
#: Files that lie beside the zones: the machine's own, and zones that count leap seconds.
_NO_ZONES = ("localtime", "posix", "right")
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
#: Between them a time has the eight hexadecimal digits that the name of its run ends with.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)
_FIELDS = "minute, hour, day of the month, month, day of the week"


class Unreadable(ValueError):
    """A schedule that names no times; its words are for people."""

    def __init__(self, field: Path, message: str) -> None:
        super().__init__(message)
        self.field = field  #: where in the spec it says so
        self.message = message


@dataclasses.dataclass(frozen=True)
class _Cron:
    """A cron expression that was read."""

    expression: str
    by_the_clock: bool  #: minutes or hours begin with `*`: it follows what the clock shows

    def locally_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the local times after one, all of them without a zone."""
        return cronsim.CronSim(self.expression, moment)


@dataclasses.dataclass(frozen=True)
class Times:
    """The times that a schedule names."""

    crons: tuple[_Cron, ...]
    zone: tzinfo
    every: timedelta | None  #: instead of crons
    anchor: datetime  #: what an interval is counted from
    first: datetime  #: none before this
    last: datetime  #: none after this

    @classmethod
    def of(cls, schedule: v1alpha1.LongTaskSchedule) -> "Times":
        """Return the times of a schedule, which need not be stored if it has a creation time.

        Raises:
            Unreadable: It names none, or in a way that nobody can read.
        """
        spec = schedule.spec
        if (spec.schedule is None) == (spec.interval_seconds is None):
            raise Unreadable(("schedule",), "exactly one of schedule and intervalSeconds is needed")
        crons = tuple(_cron_at(*one) for one in _crons(spec.schedule))
        zone = _zone(spec.time_zone)
        if spec.start_time and spec.end_time and spec.end_time < spec.start_time:
            raise Unreadable(("endTime",), "it is before startTime")
        anchor = spec.start_time or schedule.metadata.created_at.replace(microsecond=0)
        every = timedelta(seconds=spec.interval_seconds) if spec.interval_seconds else None
        first = anchor + every if every and spec.start_time is None else spec.start_time
        return cls(
            crons=crons,
            zone=zone,
            every=every,
            anchor=anchor,
            first=max(first or FIRST, FIRST),
            last=min(spec.end_time or LAST, LAST),
        )

    def __contains__(self, moment: datetime) -> bool:
        return next(self.after(moment - _SECOND), None) == moment

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield each time after a moment, in order and once."""
        since = max(moment.astimezone(UTC).replace(microsecond=0) + _SECOND, self.first)
        streams = [_of_cron(cron, self.zone, since) for cron in self.crons]
        if self.every is not None:
            streams.append(_of_interval(self.anchor, self.every, since))
        for at, _ in itertools.groupby(heapq.merge(*streams)):
            if at > self.last:
                return
            yield at

    def between(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the first times after one moment and not after another, so many at most."""
        within = itertools.takewhile(lambda at: at <= until, self.after(after))
        return list(itertools.islice(within, most))


# --- reading ---


def _crons(given: v1alpha1.fields.Json) -> Iterator[tuple[Path, str]]:
    """Yield each cron expression of the field `schedule`, in which anything may stand."""
    if given is None:
        return
    alone = isinstance(given, str)
    listed = [given] if alone else given
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST_CRONS:
        raise Unreadable(("schedule",), f"a cron expression, or a list of 1 to {_MOST_CRONS}")
    for index, one in enumerate(listed):
        path: Path = ("schedule",) if alone else ("schedule", index)
        if not isinstance(one, str):
            raise Unreadable(path, "a cron expression is a text, such as 30 6 * * 1-5")
        yield path, one


def _cron_at(path: Path, text: str) -> _Cron:
    try:
        return _cron(text)
    except ValueError as error:
        raise Unreadable(path, str(error)) from error


@functools.lru_cache(maxsize=4096)
def _cron(text: str) -> _Cron:
    """Read an expression; reading costs more than asking it for a time.

    Raises:
        ValueError: It is none, or it names no day that there is.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"more than {_MOST_CHARACTERS} characters")
    expression = text.strip()
    if expression.startswith("@"):
        if expression.lower() not in NICKNAMES:
            raise ValueError(f"the names are {', '.join(NICKNAMES)}")
        expression = NICKNAMES[expression.lower()]
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"a cron expression has five fields: {_FIELDS}")
    try:
        found = next(cronsim.CronSim(expression, datetime(2024, 1, 1)), None)  # noqa: DTZ001 local
    except cronsim.CronSimError as error:
        raise ValueError(f"{error}; the fields are {_FIELDS}") from error
    if found is None:
        raise ValueError("no such day comes within fifty years")
    return _Cron(expression, by_the_clock=any(field.startswith("*") for field in fields[:2]))


@functools.lru_cache(maxsize=1024)
def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        if name.startswith(_NO_ZONES):
            raise ValueError(name)
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"there is no time zone {name}; zones are named like Europe/Zurich"
        raise Unreadable(("timeZone",), message) from error


# --- naming times ---


def _of_interval(anchor: datetime, every: timedelta, since: datetime) -> Iterator[datetime]:
    for number in itertools.count(-((anchor - since) // every)):
        yield anchor + number * every


def _of_cron(cron: _Cron, zone: tzinfo, since: datetime) -> Iterator[datetime]:
    named = _by_the_clock if cron.by_the_clock else _by_the_day
    return named(cron, zone, since)


def _by_the_clock(cron: _Cron, zone: tzinfo, since: datetime) -> Iterator[datetime]:
    """Yield each moment from one on at which the clock shows a time of the expression."""
    # Both are local times, and there is nothing between them.
    known: datetime = _local(since, _shift(zone, since))
    coming: datetime | None = None
    while True:
        shift = _shift(zone, since)
        earlier = _local(since, shift) - _SECOND
        # To look for what comes once in decades takes long, and the clocks change twice a year.
        if coming is None or not known <= earlier < coming:
            locally = cron.locally_after(earlier)
            known, coming = earlier, next(locally, None)
        while coming is not None:
            at = coming.replace(tzinfo=UTC) - shift
            changed = _change(zone, since, at)
            if changed is not None:
                since = changed
                break
            yield at
            since, known, coming = at, coming, next(locally, None)
        else:
            return


def _by_the_day(cron: _Cron, zone: tzinfo, since: datetime) -> Iterator[datetime]:
    """Yield the moment of each local time of the expression, from a moment on."""
    earlier = since - _SECOND  # by its clock: an hour may be left out in between
    for local in cron.locally_after(_local(earlier, _shift(zone, earlier))):
        at = local.replace(tzinfo=zone).astimezone(UTC)  # the first, where there are two
        if _local(at, _shift(zone, at)) != local:
            # No clock shows it. The change of the clock lies between what it would have been by the
            # time before and by that after.
            before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
            at = _change(zone, before, at) or at
        if at >= since:
            yield at


def _shift(zone: tzinfo, at: datetime) -> timedelta:
    """Return what a zone's clocks are ahead of UTC at a moment."""
    return at.astimezone(zone).utcoffset() or timedelta()


def _local(at: datetime, shift: timedelta) -> datetime:
    return (at + shift).replace(tzinfo=None)


def _change(zone: tzinfo, since: datetime, until: datetime) -> datetime | None:
    """Return the first moment after one, and not after another, at which the clocks differ."""
    shift = _shift(zone, since)
    while since < until:
        later = min(since + _DAY, until)  # no zone changes its clocks twice a day
        if _shift(zone, later) != shift:
            while later - since > _SECOND:
                middle = since + timedelta(seconds=(later - since) // _SECOND // 2)
                since, later = (since, middle) if _shift(zone, middle) != shift else (middle, later)
            return later
        since = later
    return None

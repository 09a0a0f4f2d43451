"""What the tests of schedules compare with: due times by counting minutes, as a child would."""

import dataclasses
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
#: A zone without clock changes, two usual ones, half an hour, midnight, a day that is left out, and
#: clocks that go back before midnight.
ZONES = (
    "UTC",
    "Europe/Zurich",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
    "America/Santiago",
    "Asia/Kathmandu",
)
#: A few days around a clock change of each.
CHANGES = (
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2026, 3, 7, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC),
    datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2026, 9, 5, tzinfo=UTC),
    datetime(2011, 12, 29, tzinfo=UTC),
    datetime(2026, 6, 1, tzinfo=UTC),
)


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a cron expression: its text, and what it names."""

    text: str
    values: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Cron:
    """A cron expression, read by whoever wrote it."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        fields = (self.minute, self.hour, self.day, self.month, self.weekday)
        return " ".join(field.text for field in fields)

    @property
    def by_the_clock(self) -> bool:
        return self.minute.text.startswith("*") or self.hour.text.startswith("*")

    def names(self, local: datetime) -> bool:
        """Tell whether it names what a clock shows."""
        by_day = local.day in self.day.values
        by_weekday = local.isoweekday() % 7 in self.weekday.values
        both = self.day.text.startswith("*") or self.weekday.text.startswith("*")
        return (
            local.minute in self.minute.values
            and local.hour in self.hour.values
            and local.month in self.month.values
            and ((by_day and by_weekday) if both else (by_day or by_weekday))
        )


def times_of(cron: Cron, zone_name: str, first: datetime, last: datetime) -> list[datetime]:
    """Return the times from one minute to another, of which no clock change is near."""
    zone = zoneinfo.ZoneInfo(zone_name)
    shown = [(at, at.astimezone(zone).replace(tzinfo=None, fold=0)) for at in minutes(first, last)]
    if cron.by_the_clock:
        return [at for at, local in shown if cron.names(local)]
    found = []
    for wanted in minutes(shown[0][1], shown[-1][1]):
        if cron.names(wanted):
            # The first minute at which a clock shows it; or shows more already, for that minute is
            # left out. What clocks show before they go back does not count as more.
            exact = [at for at, local in shown if local == wanted]
            found.append(exact[0] if exact else next(at for at, local in shown if local > wanted))
    return sorted(set(found))


def minutes(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield each minute from one to another."""
    while first <= last:
        yield first
        first += MINUTE


def fields(least: int, most: int, *, whole: bool = False) -> st.SearchStrategy[Field]:
    """Return fields of a cron expression; whole ones name all more often."""
    every = st.just(Field("*", frozenset(range(least, most + 1))))
    stepped = st.integers(2, (most - least) // 2).map(
        lambda step: Field(f"*/{step}", frozenset(range(least, most + 1, step)))
    )
    listed = st.frozensets(st.integers(least, most), min_size=1, max_size=4).map(
        lambda values: Field(",".join(map(str, sorted(values))), values)
    )
    ranged = st.tuples(st.integers(least, most), st.integers(0, most - least)).map(
        lambda pair: _range(pair[0], min(most, pair[0] + pair[1]))
    )
    return (
        st.one_of(every, every, every, listed)
        if whole
        else st.one_of(every, stepped, listed, listed, ranged)
    )


def _range(first: int, last: int) -> Field:
    return Field(f"{first}-{last}", frozenset(range(first, last + 1)))


def crons() -> st.SearchStrategy[Cron]:
    """Return cron expressions."""
    return st.builds(
        Cron,
        fields(0, 59),
        fields(0, 23),
        fields(1, 31, whole=True),
        fields(1, 12, whole=True),
        fields(0, 6, whole=True),
    )

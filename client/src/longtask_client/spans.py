"""Times for people: how long, until when, how far. Pure."""

from datetime import datetime

from longtask_client import models


def span(seconds: float) -> str:
    """Return a time span as kubectl writes it: 5s, 3m, 7h, 2d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def until(moment: datetime | None, now: datetime) -> str | None:
    """Return how long it is until a moment, for people; None for none."""
    if moment is None:
        return None
    seconds = (moment - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def estimate(start: models.EstimatedStart | None, now: datetime) -> str | None:
    """Return when a task may start, for people; None where nobody can say."""
    if start is None:
        return None
    earliest, latest = ((at - now).total_seconds() for at in (start.earliest, start.latest))
    if earliest <= 0:
        return f"within {span(latest)}, by what ran before"
    return f"in {span(earliest)} to {span(latest)}, by what ran before"


def when(one: models.ScheduleView) -> str:
    """Return when a schedule starts runs, for people."""
    if one.interval_seconds is not None:
        return f"every {_exact_span(one.interval_seconds)}"
    crons = one.schedule if isinstance(one.schedule, list) else [one.schedule]
    zone = f" ({one.time_zone})" if one.time_zone else ""
    return f"{'; '.join(map(str, crons))}{zone}"


def _exact_span(seconds: int) -> str:
    units = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    found = next(one for one in units if seconds % one[0] == 0)
    return f"{seconds // found[0]}{found[1]}"

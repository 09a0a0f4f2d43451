"""What the tasks tell together that ended in the last hours, or within some days."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api import errors
from longtask_api.dependencies import CallerDep, TrendsDep
from longtask_api.ui import shell, trends
from longtask_api.ui.pages import days

router = APIRouter(include_in_schema=False, route_class=shell.PageRoute)

_COLUMNS: Final = 48
_SPANS: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "quarter": timedelta(days=90),
}


@router.get("/trends")
async def show_trends(
    request: Request,
    caller: CallerDep,
    counted: TrendsDep,
    span: str = "",
    since: days.Day = "",
    until: days.Day = "",
) -> Response:
    """Show how many tasks ended, how long they waited and ran, and why they failed."""
    now = request.app.state.services.clock()
    chosen = span if span in _SPANS else "" if since or until else "day"
    first, last = _between(_SPANS.get(chosen), since, until, now)
    found = await counted.of(caller, first, last, parts=_COLUMNS)
    kinds = trends.kinds(found.tally)
    return shell.page(
        request,
        "trends.html",
        caller=caller,
        here="trends",
        says=trends.says(found.tally),
        span=chosen,
        spans=list(_SPANS),
        asked={"since": since, "until": until},
        first=first,
        # What is over changes no more.
        last=last if last <= now else None,
        chart=trends.chart(found.tally, found.span),
        kinds=kinds,
        longest_wait=max((kind.waited.most for kind in kinds if kind.waited), default=0) or 1,
        longest_run=max((kind.ran.most for kind in kinds if kind.ran), default=0) or 1,
        causes=trends.causes(found.tally),
        incomplete=found.incomplete,
    )


def _between(
    span: timedelta | None, since: str, until: str, now: datetime
) -> tuple[datetime, datetime]:
    """Return the time that is meant, to its last day's end, or to now.

    Raises:
        Invalid: There is no such day, or the first comes after the last.
    """
    soon = now + timedelta(seconds=1)  # what ends in this second counts
    if span is not None:
        return now - span, soon
    day = days.start(until)
    last = min(soon, day + timedelta(days=1)) if day else soon
    first = days.start(since) or last - _SPANS["quarter"]
    if first >= last:
        raise errors.Invalid("The first day comes after the last, or is still to come.")
    return first.astimezone(UTC), last

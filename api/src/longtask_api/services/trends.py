"""What the tasks tell together that ended within some time, live and archived ones."""

import asyncio
from datetime import datetime
from typing import Final, NamedTuple

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores.ends import End, Ends, Span, Tally
from longtask_api.stores.resources import Resources
from longtask_crds import v1alpha1

_ENDS: Final = tuple(phase for phase in v1alpha1.Phase if phase.is_terminal)
#: After so many live ones others have their turn.
_AT_ONCE: Final = 500
_WITHOUT_ARCHIVE: Final = "The archive does not answer: the tasks in it are missing."


class Trends(NamedTuple):
    """What was counted."""

    tally: Tally
    span: Span
    incomplete: str | None


class TrendService:
    """Counts the ends of what a caller may see.

    A task is in the archive a moment before it is gone from Kubernetes. For that moment it counts
    twice.
    """

    def __init__(self, resources: Resources, ends: Ends) -> None:
        self._resources = resources
        self._ends = ends

    async def of(
        self, caller: callers.Caller, since: datetime, until: datetime, *, parts: int
    ) -> Trends:
        """Return what ended from one moment to another, in so many parts of the time."""
        span = Span(int(since.timestamp()), int(until.timestamp()), parts)
        tally, incomplete = Tally(), None
        owner = None if caller.sees_all else caller.subject
        records = [
            record.key
            for record in self._resources.catalogue.by_age(phases=_ENDS, owner=owner)
            if record.phase.is_terminal and caller.may_see(record.owner)
        ]
        for number, key in enumerate(records):
            task = self._resources.cached_task(key)
            end = End.of(task) if task is not None else None
            if end is not None:
                tally.add(end, span)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        try:
            await self._ends.count(tally, span, owner=owner)
        except errors.DatabaseAway:
            incomplete = _WITHOUT_ARCHIVE
        return Trends(tally, span, incomplete)

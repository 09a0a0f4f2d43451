"""What a schedule's runs were, and what they brought: live ones and archived ones alike."""

import json
from typing import Final

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services.results import ResultService
from longtask_api.services.tasks import listing
from longtask_api.stores import pages
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources, owner_of
from longtask_api.stores.schedules import Schedules
from longtask_client import models
from longtask_client.shown import schedules as shown
from longtask_crds import events, json_values, names, runner_contract, v1alpha1
from longtask_crds.v1alpha1 import MediaType, Phase

#: A result of so many bytes is shown where it is told of; a larger one has its own URL.
INLINE_LIMIT: Final = 64 * 1024
_WITHOUT_ARCHIVE: Final = "The archive does not answer: the runs in it are missing."


class RunService:
    """Shows the runs of schedules that a caller may see."""

    def __init__(
        self,
        schedules: Schedules,
        resources: Resources,
        lines: Lines,
        results: ResultService,
        *,
        path_prefix: str = "",
    ) -> None:
        """Serve what the resources hold.

        Args:
            schedules: Where schedules are.
            resources: Where their runs are.
            lines: Which queues those are in.
            results: What runs brought.
            path_prefix: The path under which the API is published: links begin with it.
        """
        self._schedules = schedules
        self._resources = resources
        self._lines = lines
        self._results = results
        self._path_prefix = path_prefix

    async def page(
        self, caller: callers.Caller, name: str, *, limit: int, cursor: str | None
    ) -> models.ScheduleRunPage:
        """Return one page of the schedule's runs, the newest first.

        Raises:
            Missing: There is no such schedule.
            Malformed: The cursor is none of ours, or of another list.
        """
        found, more = await self._runs(caller, name, limit=limit, cursor=cursor)
        return models.ScheduleRunPage(
            items=[shown.run(task, prefix=self._path_prefix) for task in found.tasks],
            next_cursor=more,
            incomplete=None if found.is_whole else _WITHOUT_ARCHIVE,
        )

    async def data(
        self, caller: callers.Caller, name: str, *, limit: int, cursor: str | None
    ) -> models.ScheduleDataPage:
        """Return one page of what the schedule's runs brought, the newest first.

        Raises:
            Missing: There is no such schedule.
            Malformed: The cursor is none of ours, or of another list.
            DatabaseAway: A result is kept where nobody answers.
        """
        found, more = await self._runs(
            caller, name, phases=(Phase.SUCCEEDED,), limit=limit, cursor=cursor
        )
        return models.ScheduleDataPage(
            items=[shown.datum(task, await self._brought(task)) for task in found.tasks],
            next_cursor=more,
            incomplete=None if found.is_whole else _WITHOUT_ARCHIVE,
        )

    async def status(self, caller: callers.Caller, name: str) -> models.ScheduleStatus:
        """Return how the last run that has ended went, and what the last that succeeded brought.

        Raises:
            Missing: There is no such schedule.
            DatabaseAway: What a run brought is kept where nobody answers.
        """
        schedule = await self._schedules.seen(caller, name)
        succeeded = await self._last_succeeded(caller, name)
        data = shown.Brought() if succeeded is None else await self._brought(succeeded)
        return shown.status(schedule, data)

    async def _last_succeeded(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask | None:
        # The newest are the last to go: while one is live, no archived one is newer.
        for archived in (False, True):
            found, _ = await self._runs(
                caller, name, phases=(Phase.SUCCEEDED,), archived=archived, limit=1, cursor=None
            )
            if found.tasks:
                return found.tasks[0]
        return None

    async def _runs(
        self,
        caller: callers.Caller,
        name: str,
        *,
        limit: int,
        cursor: str | None,
        phases: tuple[Phase, ...] = (),
        archived: bool | None = None,
    ) -> tuple[pages.Page, str | None]:
        schedule = await self._schedules.seen(caller, name)
        wanted = Filter(
            phases=phases,
            labels=((names.SCHEDULE_LABEL, name),),
            # A name may have been another's before; whose the runs are by now, they say.
            owner=owner_of(schedule),
            archived=archived,
        )
        return await listing.page(
            self._resources,
            self._lines,
            caller,
            wanted,
            sort=models.SortOrder.NEWEST,
            limit=limit,
            cursor=cursor,
        )

    async def _brought(self, task: v1alpha1.LongTask) -> shown.Brought:
        """Return what a run brought, or else where that is read."""
        result = task.status.result
        if result is None or result.ref is None:
            return shown.Brought(result.value if result else None)
        url = f"{self._path_prefix}{events.result_path(task.metadata.name)}"
        if result.ref.size > INLINE_LIMIT or result.ref.media_type is MediaType.BYTES:
            return shown.Brought(url=url)
        try:
            content = await self._results.of(task)
            text = b"".join([piece async for piece in self._results.whole(content)]).decode()
        except errors.Missing:
            return shown.Brought(url=url)  # and there it is said that it is not kept any more
        if content.media_type is MediaType.TEXT:
            return shown.Brought(text)
        return _value(text, url)


def _value(text: str, url: str) -> shown.Brought:
    """Return the value of JSON, or else where it is read: not all of it can stand in an answer."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return shown.Brought(url=url)
    is_flawed = any(json_values.flaws(value, depth=runner_contract.VALUE_DEPTH))
    return shown.Brought(url=url) if is_flawed else shown.Brought(value)

"""Tasks are changed: cancelled, one or many, given another place, delivered again, deleted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any, TypeVar

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import acting
from longtask_api.services.tasks import listing, orders, written
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.written import Written
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import queueing, v1alpha1

_logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How many tasks one request cancels, and how many at once.
_MOST_CANCELLED = 200
_AT_ONCE = 8
#: How often a name is looked up that goes from one task to the next.
_LOOKS = 3


class ChangeService:
    """Changes tasks; whoever may not see one finds nothing there."""

    def __init__(
        self,
        resources: Resources,
        lines: Lines,
        shown: TaskService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Change what the resources hold.

        Args:
            resources: Where tasks are.
            lines: Which queues they are in.
            shown: Finds what a caller sees, and shows what became of it.
            clock: Returns the time.
        """
        self._resources = resources
        self._lines = lines
        self._shown = shown
        self._clock = clock

    async def cancel(
        self, caller: callers.Caller, name: str, *, known: Collection[str] | None = None
    ) -> Written:
        """Ask for the task's end; a finished one stays as it is.

        Args:
            caller: Who asks.
            name: The task's name.
            known: The versions of it that the caller has seen; None for any.

        Raises:
            Missing: There is none of that name.
            Stale: It has another version by now.
        """

        async def cancel(task: v1alpha1.LongTask) -> Written:
            if task.is_finished:
                written.note(task, changed=False)
                return Written(self._shown.view(task), changed=False)
            if not task.spec.cancel:
                task = await self._resources.patch_task(
                    task, {"spec": {"cancel": True}}, unchanged=known is not None
                )
                _logger.info("Cancelled task", extra=written.by(caller, task))
            written.note(task)
            return Written(self._shown.view(task), changed=True)

        return await self._changed(caller, name, cancel, known)

    async def change(
        self,
        caller: callers.Caller,
        name: str,
        document: Any,
        *,
        known: Collection[str] | None = None,
    ) -> models.TaskView:
        """Give a task that waits another place in its queue: another priority.

        Args:
            caller: Who asks.
            name: The task's name.
            document: The change.
            known: The versions of it that the caller has seen; None for any.

        Raises:
            Invalid: The document is no such change.
            Missing: There is none of that name.
            Clash: It waits no longer.
            Stale: It has another version by now.
        """
        wanted = orders.change(document)

        async def change(task: v1alpha1.LongTask) -> models.TaskView:
            if queueing.standing(task) is not queueing.Standing.WAITING:
                raise errors.Clash(
                    f"The task is {task.phase} and waits no longer: only the order of those who"
                    " wait can be changed."
                )
            task = await self._resources.patch_task(
                task, {"spec": wanted.to_json()}, unchanged=known is not None
            )
            written.note(task, priority=wanted.priority)
            _logger.info("Changed priority", extra=written.by(caller, task))
            return self._shown.view(task)

        return await self._changed(caller, name, change, known)

    async def redeliver(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Ask for another delivery of the task's last callback: the operator opens it again.

        Raises:
            Missing: There is none of that name.
            Clash: There was nothing to deliver yet.
        """

        async def redeliver(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
            if task.status.callback is None:
                raise errors.Clash("There was no callback of this task yet.")
            task = await self._resources.redeliver(task, at=self._clock())
            written.note(task)
            return task

        return await self._changed(caller, name, redeliver)

    async def delete(
        self, caller: callers.Caller, name: str, *, known: Collection[str] | None = None
    ) -> None:
        """Delete the task, and whatever of it still runs.

        Args:
            caller: Who asks.
            name: The task's name.
            known: The versions of it that the caller has seen; None for any.

        Raises:
            Missing: There is none of that name.
            Stale: It has another version by now.
        """

        async def delete(task: v1alpha1.LongTask) -> None:
            await self._resources.delete_task(task, unchanged=known is not None)
            written.note(task)
            _logger.info("Deleted task", extra=written.by(caller, task))

        await self._changed(caller, name, delete, known)

    async def cancel_all(self, caller: callers.Caller, document: Any) -> models.Cancellation:
        """Ask for the end of all tasks that fit; a part of them, and the cursor of the rest.

        Raises:
            Invalid: The document is no such order, or says nothing of the tasks.
            Malformed: The cursor is none of ours, or of another order.
        """
        order = orders.cancellation(document)
        wanted = Filter(
            phases=tuple(p for p in order.phases or v1alpha1.Phase if not p.is_terminal),
            queue=order.queue,
            type=order.type,
            owner=order.owner,
            labels=tuple(sorted(order.labels.items())),
            text=order.search,
            since=order.since,
            until=order.until,
            archived=False,
        )
        if not wanted.phases or order.archived:
            return models.Cancellation(count=0, items=[], more=False, next_cursor=None)
        found, more = await listing.page(
            self._resources,
            self._lines,
            caller,
            wanted,
            sort=models.SortOrder.NEWEST,
            limit=_MOST_CANCELLED,
            cursor=order.cursor,
        )
        places = asyncio.Semaphore(_AT_ONCE)

        async def cancel(name: str) -> str | None:
            async with places:
                try:
                    return name if (await self.cancel(caller, name)).changed else None
                except errors.Missing:
                    return None  # it went meanwhile

        names_of_all = [task.metadata.name for task in found.tasks if not task.spec.cancel]
        done = [name for name in await asyncio.gather(*map(cancel, names_of_all)) if name]
        return models.Cancellation(
            count=len(done), items=done, more=more is not None, next_cursor=more
        )

    async def _changed(
        self,
        caller: callers.Caller,
        name: str,
        act: Callable[[v1alpha1.LongTask], Awaitable[T]],
        known: Collection[str] | None = None,
    ) -> T:
        """Act on the task that the caller sees; look again if another has its name by then."""

        async def look() -> v1alpha1.LongTask:
            return await self._shown.get(caller, name)

        return await acting.on_what_is_there(look, act, what="task", looks=_LOOKS, known=known)

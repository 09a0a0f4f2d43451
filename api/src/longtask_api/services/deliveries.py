"""The callbacks of tasks: how each try went, and another delivery on request."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.services import bodies, cursors, views
from longtask_api.services.tasks.changing import ChangeService
from longtask_api.services.tasks.showing import TaskService
from longtask_api.stores import pages
from longtask_api.stores.catalogue import Record
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey

_logger = logging.getLogger(__name__)

#: How many callbacks one request has delivered again, and how many are asked for at once.
_MOST = 200
_AT_ONCE = 10
#: Those that nothing happens to any more.
_SETTLED = (v1alpha1.CallbackState.DELIVERED, v1alpha1.CallbackState.EXHAUSTED)


class DeliveryService:
    """Shows deliveries, and has them made again. The operator makes them."""

    def __init__(
        self,
        resources: Resources,
        tasks: TaskService,
        changes: ChangeService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._resources = resources
        self._tasks = tasks
        self._changes = changes
        self._clock = clock

    async def log(self, caller: callers.Caller, name: str) -> models.CallbackLog:
        """Return how the task's last event is delivered, and each try.

        Raises:
            Missing: There is none of that name.
        """
        return views.callback_log(await self._tasks.get(caller, name))

    async def redeliver(self, caller: callers.Caller, name: str) -> models.CallbackLog:
        """Have the task's last callback delivered again: the same id, the same bytes.

        Raises:
            Missing: There is none of that name.
            Clash: There was nothing to deliver yet.
        """
        task = await self._changes.redeliver(caller, name)
        _logger.info("Asked for another delivery", extra=logs.of_task(task) | {"by": caller.name})
        return views.callback_log(task)

    def given_up(
        self, caller: callers.Caller, *, limit: int
    ) -> list[tuple[str, models.CallbackLog]]:
        """Return the callbacks that no receiver took, with their tasks, the newest first.

        It looks at `pages.MOST_LOOKS` tasks at most.
        """
        found: list[tuple[str, models.CallbackLog]] = []
        records = self._made_before(caller, self._clock(), None)
        for record in itertools.islice(records, pages.MOST_LOOKS):
            if record.callback is v1alpha1.CallbackState.EXHAUSTED and caller.may_see(record.owner):
                task = self._resources.cached_task(record.key)
                if task is not None:
                    found.append((record.key.name, views.callback_log(task)))
            if len(found) == limit:
                break
        return found

    async def redeliver_all(self, caller: callers.Caller, document: Any) -> models.Redelivery:
        """Have the callbacks delivered again that report what happened in a range of time.

        It looks at `pages.MOST_LOOKS` tasks at most, the newest first, and may do nothing yet
        and have a cursor all the same.

        Raises:
            Invalid: The document is no such order.
            Malformed: The cursor is none of ours, or of another order.
        """
        order = bodies.read(models.RedeliveryOrder, document)
        if order.to <= order.from_:
            raise errors.Invalid(errors=[errors.finding("/to", "not later than from")])
        mark = cursors.mark_of("callbacks", order.from_, order.to, order.state)
        last = cursors.decode(order.cursor, mark, _is_age) if order.cursor is not None else None
        found: list[Record] = []
        more = None
        for looks, record in enumerate(self._made_before(caller, order.to, last)):
            fits = caller.may_see(record.owner) and _fits(record, order)
            if looks == pages.MOST_LOOKS or (fits and len(found) == _MOST):
                assert last is not None
                more = cursors.encode(last, mark)
                break
            if fits:
                found.append(record)
            last = (record.created, *record.key, record.uid)
        done = await self._redeliver(found)
        _logger.info("Asked for other deliveries", extra={"tasks": len(done), "by": caller.name})
        return models.Redelivery(items=done, next_cursor=more)

    def _made_before(
        self, caller: callers.Caller, end: datetime, last: cursors.Key | None
    ) -> Iterator[Record]:
        """Yield tasks from the newest on that can have anything to tell of before that time."""
        if last is None:
            after = (int(end.timestamp()) + 1, ObjectKey("", ""), "")
        else:
            after = (last[0], ObjectKey(last[1], last[2]), last[3])
        owner = None if caller.sees_all else caller.subject
        return self._resources.catalogue.by_age(owner=owner, high=after, newest_first=True)

    async def _redeliver(self, found: list[Record]) -> list[str]:
        places = asyncio.Semaphore(_AT_ONCE)

        async def redeliver(record: Record) -> str | None:
            async with places:
                task = self._resources.cached_task(record.key)
                if task is None or task.metadata.uid != record.uid:
                    return None  # another may have the name by now, and be another's
                try:
                    await self._resources.redeliver(task, at=self._clock())
                except (kube.NotFound, kube.Conflict):
                    return None  # it went meanwhile
                deeds.to(record.key.name, record.uid)
                return record.key.name

        return [name for name in await asyncio.gather(*map(redeliver, found)) if name is not None]


def _fits(record: Record, order: models.RedeliveryOrder) -> bool:
    wanted = _SETTLED if order.state is None else (order.state,)
    at = record.told_at
    return record.callback in wanted and at is not None and order.from_ <= at < order.to


def _is_age(key: cursors.Key) -> bool:
    return [type(part) for part in key] == [int, str, str, str]

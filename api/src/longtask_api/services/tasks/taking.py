"""Orders are taken: of a new task, of one that is done again, of many at once."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import idempotency
from longtask_api.services.allowances import Allowances
from longtask_api.services.rules import Rules
from longtask_api.services.tasks import orders, written
from longtask_api.services.tasks.showing import TaskService
from longtask_api.services.tasks.written import Written
from longtask_api.stores.resources import Resources
from longtask_api.stores.schedules import Schedules
from longtask_client import models
from longtask_crds import acceptance, effective, traces, v1alpha1

_logger = logging.getLogger(__name__)

#: So long an order waits for the archive, which may know its key; then it is taken all the same.
_ARCHIVE_SECONDS = 2.0
#: How many of one request's tasks are written at once.
_AT_ONCE = 8


@dataclasses.dataclass
class _Lookups:
    """What one request has found out of the archive: where it hangs, it is waited for once."""

    is_away: bool = False


class _Ordered(NamedTuple):
    """What a request means, as things stand."""

    order: models.TaskOrder
    taken_over: str = ""  #: the annotation of what it takes over from the task that it does again


class OrderService:
    """Takes the orders of tasks."""

    def __init__(
        self,
        resources: Resources,
        schedules: Schedules,
        shown: TaskService,
        *,
        rules: Rules,
        allowances: Allowances,
        clock: Callable[[], datetime],
    ) -> None:
        """Store what is ordered among the resources.

        Args:
            resources: Where tasks are.
            schedules: Keep the names of their runs.
            shown: Shows what was stored.
            rules: What every order must keep to.
            allowances: How many tasks somebody may have.
            clock: Returns the time.
        """
        self._resources = resources
        self._schedules = schedules
        self._shown = shown
        self._rules = rules
        self._allowances = allowances
        self._clock = clock

    async def submit(
        self,
        caller: callers.Caller,
        document: Any,
        *,
        header_key: str | None,
        trace: traces.Trace | None = None,
        lookups: _Lookups | None = None,
    ) -> Written:
        """Store a new task; or find the one that the same request made before.

        Args:
            caller: Who asks.
            document: The order.
            header_key: The idempotency key of the request's header.
            trace: The trace that the request belongs to.
            lookups: What others of the same request have found out.

        Raises:
            Invalid: The order is wrong; nothing is stored.
            Clash: The name or the key stands for another task.
            TooManyRequests: The caller has as many tasks as they may.
        """
        try:
            order = orders.parse(document)
        except errors.Invalid as error:
            rest = orders.rest(document, error)
            raise error if rest is None else await self._with_all_wrong(error, rest) from None

        async def ordered() -> _Ordered:
            return _Ordered(order)

        return await self._make(
            caller, order, ordered, header_key=header_key, trace=trace, lookups=lookups
        )

    async def retry(
        self,
        caller: callers.Caller,
        name: str,
        document: Any,
        *,
        header_key: str | None,
        from_failed: bool = False,
        trace: traces.Trace | None = None,
    ) -> Written:
        """Store a new task that does an ended one again; or find the one that this request made.

        Args:
            caller: Who asks.
            name: The name of the ended one.
            document: What is changed of its order.
            header_key: The idempotency key of the request's header.
            from_failed: Take over what its steps brought, and go on where it failed.
            trace: The trace that the request belongs to.

        Raises:
            Invalid: A change is wrong, or the task may not be ordered today; nothing is stored.
            Missing: There is no task of that name.
            Clash: It has not ended, has nothing to go on from, or the new name or the key stands
                for another task.
        """
        changes = orders.parse(document)

        async def ordered() -> _Ordered:
            original = await self._resources.whole_task(caller, name)
            if not original.is_finished:
                raise errors.Clash(f"The task is {original.phase}: only an ended one is retried.")
            order = orders.again(original, changes)
            return _Ordered(order, orders.from_failed(original, order) if from_failed else "")

        return await self._make(
            caller,
            changes,
            ordered,
            header_key=header_key,
            origin=name,
            from_failed=from_failed,
            trace=trace,
        )

    async def submit_all(
        self,
        caller: callers.Caller,
        document: Any,
        *,
        header_key: str | None,
        trace: traces.Trace | None = None,
    ) -> list[Written | Exception]:
        """Store many new tasks, each for itself: what one has is a task, or what went wrong.

        Args:
            caller: Who asks.
            document: The orders.
            header_key: The idempotency key of the request's header.
            trace: The trace that the request belongs to.

        Raises:
            Invalid: The document is no batch; nothing is stored.
        """
        batch = orders.batch(document)
        places, lookups = asyncio.Semaphore(_AT_ONCE), _Lookups()

        async def submit(index: int, order: Any) -> Written | Exception:
            async with places:
                try:
                    key = orders.key_of_item(order, header_key, index)
                    return await self.submit(
                        caller, order, header_key=key, trace=trace, lookups=lookups
                    )
                except Exception as error:
                    return error  # the others have their tasks

        return await asyncio.gather(*(submit(*one) for one in enumerate(batch)))

    async def _make(
        self,
        caller: callers.Caller,
        asked: models.TaskOrder,
        ordered: Callable[[], Awaitable[_Ordered]],
        *,
        header_key: str | None,
        origin: str = "",
        from_failed: bool = False,
        trace: traces.Trace | None = None,
        lookups: _Lookups | None = None,
    ) -> Written:
        """Store what was ordered; or find the task that the same request made before.

        Args:
            caller: Who asks.
            asked: What the request says, by which it is known again.
            ordered: Returns what it means, as things stand.
            header_key: The idempotency key of the request's header.
            origin: The name of the task that is done again; empty for a new one.
            from_failed: It is to go on where that one failed.
            trace: The trace that the request belongs to.
            lookups: What others of the same request have found out.
        """
        key = orders.idempotency_key(asked, header_key)
        name = orders.name_of(asked, key, caller=caller.subject, origin=origin)
        digest = None
        if key is not None:
            digest = orders.request_hash(
                asked, key, caller=caller.subject, origin=origin, from_failed=from_failed
            )
            lookups = lookups or _Lookups()
            known = await self._archived(caller, asked, name, digest, lookups)
            if known is not None:
                return known
        try:
            if asked.name is not None and self._schedules.has_run(name):
                # Whoever had it would keep another's schedule from starting that run.
                raise errors.Clash(f"The name {name} is taken: a run of a schedule has it.")
            order, taken_over = await ordered()
            await self._check(order)
            body = orders.resource(
                order,
                name,
                caller=caller,
                request_hash=digest,
                origin=origin,
                taken_over=taken_over,
                trace=trace,
            )
            with self._allowances.one_more(caller, self._resources.key(name)):
                task = await self._resources.create_task(body)
        except kube.AlreadyExists as error:
            original = await self._resources.look(self._resources.key(name))
            if original is None:
                raise errors.Unavailable("A task of that name is going away.") from error
            return self._same(caller, original, digest)
        except (
            errors.Invalid,
            errors.Missing,
            errors.Clash,
            errors.TooManyRequests,
            kube.Rejected,
            kube.Forbidden,
        ):
            # Rules, types, quotas, allowances and origins change; what the same request made is its
            # answer still.
            if digest is None:
                raise
            original = await self._resources.find_task(self._resources.key(name))
            if original is None:
                raise
            return self._same(caller, original, digest)
        logs.add(**logs.of_task(task))
        written.note(task)
        _logger.info("Created task", extra=written.by(caller, task))
        return Written(self._shown.view(task), changed=True)

    async def _archived(
        self,
        caller: callers.Caller,
        order: models.TaskOrder,
        name: str,
        digest: str,
        lookups: _Lookups,
    ) -> Written | None:
        """Return what the same request made so long ago that it is archived, or None."""
        if lookups.is_away:
            return None
        try:
            async with asyncio.timeout(_ARCHIVE_SECONDS):
                # Its own maker's, of the installation those without an owner: a name may have gone
                # to another since.
                original = await self._resources.archive.find(
                    self._resources.key(name), owner=caller.subject or None
                )
        except (errors.DatabaseAway, TimeoutError):
            lookups.is_away = True
            # Work is taken without the archive: that a key is older than its task is rare.
            # The uid is not known yet: it is the very question.
            told = {"task": str(self._resources.key(name))}
            _logger.warning("Looked for no archived task", extra=told)
            return None
        if original is None:
            return None
        # A name of one's own may be given again; a key's name stands for the key.
        is_free = order.name is not None
        if is_free and not idempotency.is_of(original, digest):
            return None
        return self._same(caller, original, digest)

    def _same(
        self, caller: callers.Caller, original: v1alpha1.LongTask, digest: str | None
    ) -> Written:
        """Return the task that has the name already, if this is the request that made it."""
        idempotency.check_same(caller, original, digest, what="task")
        logs.add(**logs.of_task(original))
        written.note(original, changed=False)
        return Written(self._shown.view(original), changed=False)

    async def _with_all_wrong(
        self, found: errors.Invalid, rest: models.TaskOrder
    ) -> errors.Invalid:
        """Return what was found of an order, and what is wrong with the rest of it."""
        try:
            await self._check(rest)
        except errors.Invalid as error:
            both = [*found.errors, *error.errors]
            return errors.Invalid(errors=both[: acceptance.MAX_FINDINGS])
        return found

    async def _check(self, order: models.TaskOrder) -> None:
        types = await self._resources.find_types(acceptance.types_of(order))
        if order.type is not None and order.type not in types:
            wrong = errors.finding("/type", f"there is no type {order.type}")
            raise errors.Invalid(errors=[wrong])
        found = orders.check(
            order,
            types=types,
            installation=self._rules.installation,
            guard=self._rules.guard,
            now=self._clock(),
        )
        queue = effective.queue_of(order, types[order.type].defaults if order.type else None)
        if await self._resources.find_queue(queue) is None:
            found.append(errors.finding("/queue", f"there is no queue {queue}"))
        if found:
            raise errors.Invalid(errors=found)

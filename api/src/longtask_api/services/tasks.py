"""What the API does with tasks: hand over, look at, change, cancel, do again, delete."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import listing, orders, views
from longtask_api.services.allowances import Allowances
from longtask_api.stores.catalogue import Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import acceptance, address_guard, effective, names, queueing, traces, v1alpha1

_logger = logging.getLogger(__name__)

T = TypeVar("T")

#: So long an order waits for the archive, which may know its key; then it is taken all the same.
_ARCHIVE_SECONDS = 2.0
_WITHOUT_ARCHIVE = "The archive does not answer: the tasks in it are missing."
#: How many of one request's tasks are written at once, and how many it cancels.
_AT_ONCE = 8
_MOST_CANCELLED = 200
#: How often a name is looked up that goes from one task to the next.
_LOOKS = 3


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the installation asks of every task."""

    installation: effective.Installation
    guard: address_guard.Guard


class _Ordered(NamedTuple):
    """What a request means, as things stand."""

    order: models.TaskOrder
    taken_over: str = ""  #: the annotation of what it takes over from the task that it does again


@dataclasses.dataclass(frozen=True)
class Written:
    """A task after a request to change it, and whether the request changed anything."""

    view: models.TaskView
    changed: bool


class TaskService:
    """All that callers do with tasks; whoever may not see one finds nothing there."""

    def __init__(
        self,
        resources: Resources,
        *,
        rules: Rules,
        allowances: Allowances,
        clock: Callable[[], datetime],
        path_prefix: str = "",
    ) -> None:
        """Serve what the resources hold.

        Args:
            resources: Where tasks are.
            rules: What every order must keep to.
            allowances: How many tasks somebody may have.
            clock: Returns the time.
            path_prefix: The path under which the API is published: links begin with it.
        """
        self._resources = resources
        self._rules = rules
        self._allowances = allowances
        self._clock = clock
        self._path_prefix = path_prefix

    async def submit(
        self,
        caller: callers.Caller,
        document: Any,
        *,
        header_key: str | None,
        traceparent: str | None = None,
    ) -> Written:
        """Store a new task; or find the one that the same request made before.

        Args:
            caller: Who asks.
            document: The order.
            header_key: The idempotency key of the request's header.
            traceparent: The trace that the request belongs to.

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
            caller, order, ordered, header_key=header_key, traceparent=traceparent
        )

    async def retry(
        self,
        caller: callers.Caller,
        name: str,
        document: Any,
        *,
        header_key: str | None,
        from_failed: bool = False,
        traceparent: str | None = None,
    ) -> Written:
        """Store a new task that does an ended one again; or find the one that this request made.

        Args:
            caller: Who asks.
            name: The name of the ended one.
            document: What is changed of its order.
            header_key: The idempotency key of the request's header.
            from_failed: Take over what its steps brought, and go on where it failed.
            traceparent: The trace that the request belongs to.

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
            taken_over = orders.from_failed(original, changes) if from_failed else ""
            return _Ordered(orders.again(original, changes), taken_over)

        return await self._make(
            caller,
            changes,
            ordered,
            header_key=header_key,
            origin=name,
            from_failed=from_failed,
            traceparent=traceparent,
        )

    async def submit_all(
        self, caller: callers.Caller, document: Any, *, header_key: str | None
    ) -> list[Written | Exception]:
        """Store many new tasks, each for itself: what one has is a task, or what went wrong.

        Raises:
            Invalid: The document is no batch; nothing is stored.
        """
        batch = orders.batch(document)
        places = asyncio.Semaphore(_AT_ONCE)

        async def submit(index: int, order: Any) -> Written | Exception:
            async with places:
                try:
                    key = orders.key_of_item(order, header_key, index)
                    return await self.submit(caller, order, header_key=key)
                except Exception as error:
                    return error  # the others have their tasks

        return await asyncio.gather(*(submit(*one) for one in enumerate(batch)))

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

    async def _make(
        self,
        caller: callers.Caller,
        asked: models.TaskOrder,
        ordered: Callable[[], Awaitable[_Ordered]],
        *,
        header_key: str | None,
        origin: str = "",
        from_failed: bool = False,
        traceparent: str | None = None,
    ) -> Written:
        """Store what was ordered; or find the task that the same request made before.

        Args:
            caller: Who asks.
            asked: What the request says, by which it is known again.
            ordered: Returns what it means, as things stand.
            header_key: The idempotency key of the request's header.
            origin: The name of the task that is done again; empty for a new one.
            from_failed: It is to go on where that one failed.
            traceparent: The trace that the request belongs to.
        """
        key = orders.idempotency_key(asked, header_key)
        name = orders.name_of(asked, key, caller=caller.subject, origin=origin)
        digest = None
        if key is not None:
            digest = orders.request_hash(
                asked, key, caller=caller.subject, origin=origin, from_failed=from_failed
            )
            if (known := await self._archived(caller, asked, name, digest)) is not None:
                return known
        try:
            order, taken_over = await ordered()
            await self._check(order)
            body = orders.resource(
                order,
                name,
                caller=caller,
                request_hash=digest,
                origin=origin,
                taken_over=taken_over,
                traceparent=traces.parse(traceparent),
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
        _logger.info("Created task", extra=_by(caller, task))
        return Written(self.view(task), changed=True)

    async def _archived(
        self, caller: callers.Caller, order: models.TaskOrder, name: str, digest: str
    ) -> Written | None:
        """Return what the same request made so long ago that it is archived, or None."""
        try:
            async with asyncio.timeout(_ARCHIVE_SECONDS):
                # Its own maker's: a name may have gone to another since.
                original = await self._resources.archive.find(
                    self._resources.key(name), owner=caller.subject or None
                )
        except (errors.DatabaseAway, TimeoutError):
            # Work is taken without the archive: that a key is older than its task is rare.
            # The uid is not known yet: it is the very question.
            told = {"task": str(self._resources.key(name))}
            _logger.warning("Looked for no archived task", extra=told)
            return None
        if original is None:
            return None
        # A name of one's own may be given again; a key's name stands for the key.
        is_free = order.name is not None
        if is_free and original.metadata.annotations.get(names.REQUEST_HASH_ANNOTATION) != digest:
            return None
        return self._same(caller, original, digest)

    def _same(
        self, caller: callers.Caller, original: v1alpha1.LongTask, digest: str | None
    ) -> Written:
        """Return the task that has the name already, if this is the request that made it."""
        # Of another's no more is told than that the name is taken.
        if digest is None or not caller.may_see(Record.of(original).owner):
            raise errors.Clash(f"A task named {original.metadata.name} exists.")
        if original.metadata.annotations.get(names.REQUEST_HASH_ANNOTATION) != digest:
            raise errors.Clash("The name or idempotency key stands for another order.")
        logs.add(**logs.of_task(original))
        return Written(self.view(original), changed=False)

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
        types = {}
        for name in sorted(acceptance.types_of(order)):
            if (task_type := await self._resources.find_type(name)) is not None:
                types[name] = task_type.spec
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

    async def get(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Return the task.

        Raises:
            Missing: There is none of that name.
        """
        task = await self._resources.seen_task(caller, name)
        logs.add(**logs.of_task(task))
        return task

    async def wait(self, caller: callers.Caller, name: str, *, within: float) -> v1alpha1.LongTask:
        """Return the task as soon as it is finished, or as it is after `within` seconds.

        Raises:
            Missing: There is none of that name, or no longer.
        """
        await self.get(caller, name)
        await self._resources.wait_for(
            self._resources.key(name), lambda task: task is None or task.is_finished, within=within
        )
        return await self.get(caller, name)

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
                return Written(self.view(task), changed=False)
            if not task.spec.cancel:
                task = await self._resources.patch_task(
                    task, {"spec": {"cancel": True}}, unchanged=known is not None
                )
                _logger.info("Cancelled task", extra=_by(caller, task))
            return Written(self.view(task), changed=True)

        return await self._on_what_is_there(caller, name, cancel, known)

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
            _logger.info("Changed priority", extra=_by(caller, task))
            return self.view(task)

        return await self._on_what_is_there(caller, name, change, known)

    async def redeliver(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Ask for another delivery of the task's last callback: the operator opens it again.

        Raises:
            Missing: There is none of that name.
            Clash: There was nothing to deliver yet.
        """

        async def redeliver(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
            if task.status.callback is None:
                raise errors.Clash("There was no callback of this task yet.")
            return await self._resources.redeliver(task, at=self._clock())

        return await self._on_what_is_there(caller, name, redeliver)

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
            _logger.info("Deleted task", extra=_by(caller, task))

        await self._on_what_is_there(caller, name, delete, known)

    async def _on_what_is_there(
        self,
        caller: callers.Caller,
        name: str,
        act: Callable[[v1alpha1.LongTask], Awaitable[T]],
        known: Collection[str] | None = None,
    ) -> T:
        """Act on the task that the caller sees; look again if another has its name by then.

        Raises:
            Stale: It has none of the known versions.
        """
        for _ in range(_LOOKS):
            task = await self.get(caller, name)
            if known is not None and task.metadata.resource_version not in known:
                raise errors.Stale("The task has changed since: look at it again.")
            try:
                return await act(task)
            except kube.NotFound as error:
                raise errors.Missing("There is no such task.") from error
            except kube.Conflict:
                continue
        raise errors.Clash("The task is being changed too often.")

    async def page(
        self,
        caller: callers.Caller,
        wanted: Filter,
        *,
        sort: models.SortOrder,
        limit: int,
        cursor: str | None,
    ) -> models.TaskPage:
        """Return one page of the tasks, as `listing.page` finds it.

        Raises:
            Malformed: The cursor is none of ours, or of another list.
            DatabaseAway: The archive does not answer, and nothing else is wanted.
        """
        found, more = await listing.page(
            self._resources, caller, wanted, sort=sort, limit=limit, cursor=cursor
        )
        return models.TaskPage(
            items=[self.view(task) for task in found.tasks],
            next_cursor=more,
            incomplete=None if found.is_whole else _WITHOUT_ARCHIVE,
        )

    def view(self, task: v1alpha1.LongTask) -> models.TaskView:
        """Return the task as the API shows it now."""
        record = Record.of(task)
        place = self._resources.place(record)
        return views.task_view(
            task,
            place=place,
            estimated=self._estimated_start(place) if place else None,
            queue=self._resources.queue_of(record),
            priority=self._resources.priority_of(record),
            prefix=self._path_prefix,
        )

    def result_view(self, task: v1alpha1.LongTask) -> models.TaskResult:
        """Return how the task ended, as the API shows it."""
        return views.result_view(task, prefix=self._path_prefix)

    def _estimated_start(self, place: queueing.Place) -> models.EstimatedStart | None:
        found = self._resources.estimated_start(place)
        # What takes longer than all before it proves the estimate wrong.
        if found is None or found[1] < self._clock():
            return None
        earliest, latest = found
        return models.EstimatedStart(earliest=earliest, latest=latest)


def _by(caller: callers.Caller, task: v1alpha1.LongTask) -> dict[str, object]:
    """Return what a line of the log says of a change: of what, and by whom."""
    return logs.of_task(task) | {"by": caller.name}

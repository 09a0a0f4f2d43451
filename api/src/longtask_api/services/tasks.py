"""What the API does with tasks: hand over, look at, cancel, delete."""

import dataclasses
import logging
from typing import Any

from longtask_api import errors, informer, ports
from longtask_api.services import listing, orders, places, views
from longtask_client import models
from longtask_crds import address_guard, effective, names, v1alpha1

log = logging.getLogger(__name__)

#: Whose tasks they are while one token serves all.
CALLER = ""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What the installation asks of every task."""

    installation: effective.Installation
    guard: address_guard.Guard
    path_prefix: str = ""


@dataclasses.dataclass(frozen=True)
class Written:
    """A task after a request to change it, and whether the request changed anything."""

    view: models.TaskView
    changed: bool


class TaskService:
    """Writes go straight to Kubernetes, reads come from the caches."""

    def __init__(
        self,
        cluster: ports.Cluster,
        *,
        tasks: informer.Cache[v1alpha1.LongTask],
        types: informer.Cache[v1alpha1.LongTaskType],
        queues: informer.Cache[v1alpha1.LongTaskQueue],
        rules: Rules,
    ) -> None:
        self.cache = tasks
        self._cluster = cluster
        self._types = types
        self._queues = queues
        self._rules = rules
        self._board = places.Board()
        tasks.on_change(self._board.update)
        types.on_change(lambda *_: self._board.use_types(types.by_name()))

    async def submit(self, document: Any, *, header_key: str | None) -> Written:
        """Store a new task; or find the one that the same request made before.

        Raises:
            Invalid: The order is wrong; nothing is stored.
            Clash: The name or the key stands for another task.
        """
        order = orders.parse(document)
        key = orders.idempotency_key(order, header_key)
        await self._check(order)
        name = orders.name_of(order, key, caller=CALLER)
        digest = orders.request_hash(order, key, caller=CALLER) if key is not None else None
        try:
            task = await self._cluster.create(
                ports.TASKS, orders.resource(order, name, request_hash=digest)
            )
        except errors.AlreadyExists:
            return Written(await self._original(name, digest), changed=False)
        self.cache.put(task)
        log.info("Created task", extra={"task": name})
        return Written(self.view(task), changed=True)

    async def _original(self, name: str, digest: str | None) -> models.TaskView:
        """Return the task that has the name already, if this is the request that made it."""
        task = await self._cluster.get(ports.TASKS, name)
        self.cache.put(task)
        if digest is None:
            raise errors.Clash(f"A task named {name} exists.")
        if task.metadata.annotations.get(names.REQUEST_HASH_ANNOTATION) != digest:
            raise errors.Clash("The name or idempotency key stands for another order.")
        return self.view(task)

    async def _check(self, order: models.TaskOrder) -> None:
        task_type = await self._type_of(order)
        found = orders.check(
            order,
            task_type=task_type.spec if task_type else None,
            installation=self._rules.installation,
            guard=self._rules.guard,
        )
        queue = effective.queue_of(order, task_type.spec.defaults if task_type else None)
        if await self._find(ports.QUEUES, self._queues, queue) is None:
            found.append(orders.problem("/queue", f"there is no queue {queue}"))
        if found:
            raise errors.Invalid(errors=found)

    async def _type_of(self, order: models.TaskOrder) -> v1alpha1.LongTaskType | None:
        if order.type is None:
            return None
        found = await self._find(ports.TYPES, self._types, order.type)
        if found is None:
            wrong = orders.problem("/type", f"there is no type {order.type}")
            raise errors.Invalid(errors=[wrong])
        return found

    async def _find(
        self, kind: ports.Kind[ports.R], cache: informer.Cache[ports.R], name: str
    ) -> ports.R | None:
        """Return the resource; None only after a look at Kubernetes itself."""
        found = cache.get(name)
        if found is None:
            try:
                found = await self._cluster.get(kind, name)
            except errors.NotFound:
                return None
            cache.put(found)
        return found

    async def get(self, name: str) -> v1alpha1.LongTask:
        """Return the task.

        Raises:
            Missing: There is none of that name.
        """
        task = await self._find(ports.TASKS, self.cache, name) if orders.is_name(name) else None
        if task is None:
            raise errors.Missing("There is no such task.")
        return task

    async def wait(self, name: str, *, within: float) -> v1alpha1.LongTask:
        """Return the task as soon as it is finished, or as it is when the time is over.

        Raises:
            Missing: There is none of that name, or no longer.
        """
        await self.get(name)
        await self.cache.wait_for(
            name, lambda task: task is None or task.is_finished, within=within
        )
        return await self.get(name)

    async def cancel(self, name: str) -> Written:
        """Ask for the task's end; a finished one stays as it is."""
        task = await self.get(name)
        if task.is_finished:
            return Written(self.view(task), changed=False)
        if not task.spec.cancel:
            patch = {"spec": {"cancel": True}}
            try:
                task = await self._cluster.patch(ports.TASKS, name, patch)
            except errors.NotFound as error:
                self.cache.remove(name, task.metadata.uid)
                raise errors.Missing("There is no such task.") from error
            self.cache.put(task)
            log.info("Cancelled task", extra={"task": name})
        return Written(self.view(task), changed=True)

    async def delete(self, name: str) -> None:
        """Delete the task, and whatever of it still runs."""
        task = await self.get(name)
        try:
            gone = await self._cluster.delete(ports.TASKS, name)
        except errors.NotFound as error:
            self.cache.remove(name, task.metadata.uid)
            raise errors.Missing("There is no such task.") from error
        if gone:
            # Else somebody's finalizer holds it, and the watch tells when it goes.
            self.cache.remove(name, task.metadata.uid)
        log.info("Deleted task", extra={"task": name})

    def page(
        self,
        wanted: listing.Filter,
        *,
        sort: models.SortOrder,
        limit: int,
        cursor: str | None,
    ) -> models.TaskPage:
        """Return one page of the tasks."""
        shown, more = listing.page(
            self.cache.values(),
            self._types.by_name(),
            wanted,
            sort=sort,
            limit=limit,
            cursor=cursor,
        )
        return models.TaskPage(items=[self.view(task) for task in shown], next_cursor=more)

    def view(self, task: v1alpha1.LongTask) -> models.TaskView:
        """Return the task as the API shows it now."""
        types = self._types.by_name()
        place = self._board.place(task.metadata.name, self._queues.by_name())
        return views.task_view(
            task,
            place=place if places.is_waiting(task) else None,
            queue=places.queue_of(task, types),
            priority=places.priority_of(task, types),
            prefix=self._rules.path_prefix,
        )

    def types(self) -> models.TypeList:
        """Return all types, by name."""
        found = sorted(self._types.values(), key=lambda t: t.metadata.name)
        return models.TypeList(items=[views.type_view(t) for t in found])

    async def type(self, name: str) -> models.TypeView:
        """Return one type.

        Raises:
            Missing: There is none of that name.
        """
        found = await self._find(ports.TYPES, self._types, name) if orders.is_name(name) else None
        if found is None:
            raise errors.Missing("There is no such type.")
        return views.type_view(found)

"""The resources: read from the caches, then from Kubernetes; written through to both.

No other room reads or writes through the caches. A task whose resource is gone is read from the
archive: here, so that nobody else has to know. What was just written is seen at once, and a write
is bound to the object that was looked at: another of the same name is never meant.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache, key_of, version_of
from longtask_adapters.kube.kinds import Kind, R
from longtask_api import errors, versions
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.archive import Archive
from longtask_api.stores.catalogue import Catalogue, Record
from longtask_api.stores.pace import Pace
from longtask_crds import effective, forecast, names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import reuse, runs

_NAME = re.compile(names.DNS_LABEL_PATTERN[1:-1])


@dataclasses.dataclass(frozen=True)
class Line:
    """How a queue does."""

    running: int
    waiting: int
    oldest_queued_at: datetime | None
    starts_per_minute: float


class Resources:
    """Tasks, types and queues, and what follows from all of them together."""

    def __init__(
        self,
        cluster: Cluster,
        archive: Archive,
        *,
        namespace: str,
        tasks: Cache[v1alpha1.LongTask],
        types: Cache[v1alpha1.LongTaskType],
        queues: Cache[v1alpha1.LongTaskQueue],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Stand on caches that something else keeps fresh; they are empty yet."""
        self._cluster = cluster
        self.archive: Final = archive  #: for reading, by whoever reads all tasks
        self._namespace = namespace
        self._tasks = tasks
        self._types = types
        self._queues = queues
        self._clock = clock
        self._index = queueing.Index()
        self.catalogue: Final = Catalogue()  #: of all tasks, for reading
        self._pace = Pace()
        self._by_pod: dict[str, tuple[ObjectKey, str]] = {}
        self._origins: dict[ObjectKey, frozenset[str]] = {}
        tasks.on_change(self._task_changed)
        types.on_change(self._type_changed)
        queues.on_change(self._queue_changed)

    def key(self, name: str) -> ObjectKey:
        """Return what a name stands for."""
        return ObjectKey(self._namespace, name)

    # --- tasks, as somebody sees them

    async def seen_task(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Return the task of that name, live or archived.

        Raises:
            Missing: There is none that the caller may see.
            DatabaseAway: It is not live, and the archive does not answer.
        """
        return await self._shown(caller, await self.find_task(self.key(name)), name)

    async def whole_task(self, caller: callers.Caller, name: str) -> v1alpha1.LongTask:
        """Return the task of that name with its inputs, which the cache does not keep.

        Raises:
            Missing: There is none that the caller may see.
            DatabaseAway: It is not live, and the archive does not answer.
        """
        return await self._shown(caller, await self.look(self.key(name)), name)

    # --- lists: by records, so that no task is read that is not shown

    def waiting(self, queue: str | None, *, after: queueing.Rank | None = None) -> Iterator[Record]:
        """Yield the tasks that wait in the queue, or in any, the next one first.

        Args:
            queue: The queue's name; None for all of them, as if they were one.
            after: Begin behind this rank, at no cost for those before it.
        """
        queues = self._index.queues() if queue is None else [self.key(queue)]
        return (self.catalogue[key] for key in self._index.waiting(*queues, after=after))

    # --- resources, whoever asks

    async def find_task(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task; None only after a look at Kubernetes itself."""
        return self._tasks.get(key) or await self.look(key)

    async def look(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task as Kubernetes has it now, or None."""
        task = await self._look(kinds.TASKS, key)
        return None if task is None else self._keep(task)

    async def find_type(self, name: str) -> v1alpha1.LongTaskType | None:
        """Return the type; None only after a look at Kubernetes itself."""
        return await self._find(kinds.TYPES, self._types, self.key(name))

    async def find_queue(self, name: str) -> v1alpha1.LongTaskQueue | None:
        """Return the queue; None only after a look at Kubernetes itself."""
        return await self._find(kinds.QUEUES, self._queues, self.key(name))

    def queues(self) -> list[v1alpha1.LongTaskQueue]:
        """Return all queues, in no order."""
        return list(self._queues.values())

    def types(self) -> list[v1alpha1.LongTaskType]:
        """Return all types, in no order."""
        return list(self._types.values())

    def cached_task(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task as far as it is known without asking."""
        return self._tasks.get(key)

    def changed_since(self, version: int) -> Iterator[tuple[int, ObjectKey]]:
        """Yield version and key of each task that is newer; none is read for that."""
        return self._tasks.changed_since(version)

    def live_uids(self) -> set[str]:
        """Return the uids of all tasks that Kubernetes has."""
        return {uid for uid, _ in self._tasks.versions()}

    def origin_uids(self) -> set[str]:
        """Return the uids of all tasks whose results those take over that Kubernetes has."""
        return set().union(*self._origins.values())

    async def wait_for(
        self, key: ObjectKey, done: Callable[[v1alpha1.LongTask | None], bool], *, within: float
    ) -> v1alpha1.LongTask | None:
        """Return the task once it is as wanted, or as it is after `within` seconds."""
        return await self._tasks.wait_for(key, done, within=within)

    def program_of_pod(self, uid: str) -> tuple[v1alpha1.LongTask, str] | None:
        """Return the task that has this pod on record for an attempt that goes on, or None.

        Returns:
            The task, and the name of the program: empty for that of a plain task.
        """
        key, run = self._by_pod.get(uid, (None, ""))
        task = self._tasks.get(key) if key else None
        return None if task is None else (task, run)

    # --- writes

    async def create_task(self, body: Mapping[str, Any]) -> v1alpha1.LongTask:
        """Store a new task; raise AlreadyExists if its name is taken."""
        task = await self._cluster.create(kinds.TASKS, self._namespace, body)
        versions.note(kinds.TASKS.plural, version_of(task))
        return self._keep(task)

    async def patch_task(
        self, task: v1alpha1.LongTask, patch: Mapping[str, Any], *, unchanged: bool = False
    ) -> v1alpha1.LongTask:
        """Apply a merge patch to the task that was looked at.

        Args:
            task: The task.
            patch: The patch.
            unchanged: Only if it is still as it was.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name, or it has changed; the next look finds what is there.
        """
        if unchanged:
            patch = {**patch, "metadata": {"resourceVersion": task.metadata.resource_version}}
        return await self._patch(kinds.TASKS, self._tasks, task, patch)

    async def redeliver(self, task: v1alpha1.LongTask, *, at: datetime) -> v1alpha1.LongTask:
        """Ask the operator to deliver the last callback of the task again; as `patch_task`."""
        # Any value that it did not see before is a request; the time reads well.
        request = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        annotations = {names.REDELIVER_ANNOTATION: request}
        return await self.patch_task(task, {"metadata": {"annotations": annotations}})

    async def patch_queue(
        self, queue: v1alpha1.LongTaskQueue, patch: Mapping[str, Any]
    ) -> v1alpha1.LongTaskQueue:
        """Apply a merge patch to the queue that was looked at.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name; the next look finds that one.
        """
        return await self._patch(kinds.QUEUES, self._queues, queue, patch)

    async def write_progress(
        self, task: v1alpha1.LongTask, progress: Mapping[str, Any]
    ) -> v1alpha1.LongTask:
        """Set the progress of the attempt that was looked at; raise Rejected if it is over."""
        key, uid, attempt = key_of(task), task.metadata.uid, task.status.attempt or 0
        written = await self._cluster.write_progress(key, progress, uid=uid, attempt=attempt)
        return self._keep(written)

    async def write_progress_of_steps(
        self, task: v1alpha1.LongTask, told: Mapping[str, Mapping[str, Any]]
    ) -> v1alpha1.LongTask:
        """Set the progress of programs of the pipeline that was looked at, and its own with it.

        Raises:
            Conflict: It is not as it was any more: decide anew what is to be written.
            Rejected: It is as it was, and refused all the same.
        """
        try:
            return self._keep(await self._cluster.write_progress_of_steps(task, told))
        except kube.Rejected as error:
            now = await self.look(key_of(task))
            if now is None or now.metadata.resource_version == task.metadata.resource_version:
                raise
            raise kube.Conflict(str(error)) from error

    async def write_result(
        self, task: v1alpha1.LongTask, result: v1alpha1.Result, *, run: str = ""
    ) -> v1alpha1.LongTask:
        """Set the result of a program of the task that was looked at.

        Raises:
            Conflict: It has changed since.
            Rejected: It is over.
        """
        return self._keep(await self._cluster.write_result(task, result, run=run))

    async def delete_task(self, task: v1alpha1.LongTask, *, unchanged: bool = False) -> None:
        """Delete the task that was looked at, live or archived or on its way from one to the other.

        Args:
            task: The task.
            unchanged: Only if it is still as it was.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name; the next look finds that one.
            DatabaseAway: It is not live any more, but may be archived.
        """
        try:
            version = task.metadata.resource_version if unchanged else None
            await self.retire_task(task, version=version)
        except (kube.NotFound, kube.Conflict) as error:
            if unchanged and isinstance(error, kube.Conflict):
                raise
            if not (task.is_finished and await self.archive.remove(task.metadata.uid)):
                raise
        else:
            # Whatever the answer was, it does not say at which version the task went.
            with contextlib.suppress(kube.ClusterError):
                gone_at = await self._cluster.version(kinds.TASKS, self._namespace)
                versions.note(kinds.TASKS.plural, gone_at)
            if task.is_finished:
                await self.archive.remove(task.metadata.uid)

    async def retire_task(self, task: v1alpha1.LongTask, *, version: str | None = None) -> None:
        """Delete the task that was looked at from Kubernetes alone.

        Args:
            task: The task.
            version: The resourceVersion that it must still have.

        Raises:
            NotFound: It is gone.
            Conflict: Another has its name, or it has changed; the next look finds what is there.
        """
        key, uid = key_of(task), task.metadata.uid
        try:
            gone = await self._cluster.delete(kinds.TASKS, key, uid=uid, version=version)
        except (kube.NotFound, kube.Conflict):
            await self._look_again(kinds.TASKS, self._tasks, task)
            raise
        if gone:
            # Else somebody's finalizer holds it, and the watch tells when it goes.
            self._tasks.remove(key, uid)

    # --- queues

    def catch_up(self) -> None:
        """Let those join their queues whose time has come: once a request, which sees one state.

        It costs nothing while there are none.
        """
        self._index.due(int(self._clock().timestamp()))

    def line_of(self, queue: v1alpha1.LongTaskQueue, *, now: datetime) -> Line:
        """Return how many run and wait in the queue, since when, and how fast it moves."""
        key = key_of(queue)
        counts, oldest = self._index.counts(key), self._index.oldest(key)
        return Line(
            running=counts.running,
            waiting=counts.waiting,
            oldest_queued_at=None if oldest is None else datetime.fromtimestamp(oldest, UTC),
            starts_per_minute=self._pace.starts_per_minute(key, now),
        )

    def place(self, task: Record) -> queueing.Place | None:
        """Return the task's place in its queue, or None if it does not wait."""
        return None if task.phase.is_terminal else self._index.place(task.key)

    def estimated_start(self, place: queueing.Place) -> tuple[datetime, datetime] | None:
        """Return when the task at this place starts, at the earliest and at the latest.

        The two stay as they are until somebody takes or leaves a place in the queue.

        Returns:
            None where `forecast.estimate` knows nothing.
        """
        queue = self.key(place.queue)
        seconds = forecast.estimate(place, self._pace.spread(queue))
        since = self._pace.moved_at(queue)
        if seconds is None or since is None:
            return None
        earliest, latest = math.floor(seconds[0]), math.ceil(seconds[1])
        return since + timedelta(seconds=earliest), since + timedelta(seconds=latest)

    def rank(self, task: Record) -> queueing.Rank | None:
        """Return what sorts the tasks that wait, or None if it does not wait."""
        return self._index.rank(task.key) if self._index.waits(task.key) else None

    def queue_of(self, task: Record) -> str:
        """Return the queue that the task waits in, holds a place in, or came through."""
        # Of one that is over, another may have the name by now.
        if not task.phase.is_terminal and (queue := self._index.queue_of(task.key)) is not None:
            return queue.name
        return task.came_through or effective.queue_of(task, self._defaults(task))

    def priority_of(self, task: Record) -> int:
        """Return the task's minutes of head start."""
        return effective.priority_of(task, self._defaults(task))

    def limits_of(self, task: v1alpha1.LongTask) -> effective.Limits:
        """Return how long each part of the task may take."""
        return effective.limits_of(task.spec, self._defaults(Record.of(task)))

    # --- inside

    async def _shown(
        self, caller: callers.Caller, live: v1alpha1.LongTask | None, name: str
    ) -> v1alpha1.LongTask:
        """Return the live task if the caller may see it, else what the archive has for them.

        A name may have gone from one owner to another: whoever had it before finds theirs.
        """
        if live is not None and caller.may_see(Record.of(live).owner):
            return live
        owner = None if caller.sees_all else caller.subject
        found = await self.archive.find(self.key(name), owner=owner)
        if found is None:
            raise errors.Missing("There is no such task.")
        return found

    def _defaults(self, task: Record) -> v1alpha1.TypeDefaults | None:
        task_type = self._types.get(task.key.sibling(task.type or ""))
        return task_type.spec.defaults if task_type else None

    async def _find(self, kind: Kind[R], cache: Cache[R], key: ObjectKey) -> R | None:
        found = cache.get(key)
        if found is None and (found := await self._look(kind, key)) is not None:
            cache.put(found)
        return found

    async def _look(self, kind: Kind[R], key: ObjectKey) -> R | None:
        if not (_NAME.fullmatch(key.name) and len(key.name) <= 63):
            return None  # no resource may be called that
        try:
            return await self._cluster.get(kind, key)
        except kube.NotFound:
            return None

    async def _patch(
        self, kind: Kind[R], cache: Cache[R], resource: R, patch: Mapping[str, Any]
    ) -> R:
        key, uid = key_of(resource), resource.metadata.uid
        try:
            patched = await self._cluster.patch(kind, key, patch, uid=uid)
        except (kube.NotFound, kube.Conflict):
            await self._look_again(kind, cache, resource)
            raise
        versions.note(kind.plural, version_of(patched))
        cache.put(patched)
        return patched

    async def _look_again(self, kind: Kind[R], cache: Cache[R], resource: R) -> None:
        """Learn what has the name of a resource that is not as it was seen."""
        key, uid = key_of(resource), resource.metadata.uid
        there = await self._look(kind, key)
        if there is not None:
            cache.put(there)
        if there is None or there.metadata.uid != uid:
            cache.remove(key, uid)

    def _keep(self, task: v1alpha1.LongTask) -> v1alpha1.LongTask:
        """Put a task into the cache, which holds less of it, and return it whole."""
        self._tasks.put(task)
        return task

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        if before is not None:
            for pod in _pods_of(before):
                self._by_pod.pop(pod, None)
            if after is None:
                key = key_of(before)
                self._index.update(key, None)
                self.catalogue.remove(key)
                self._origins.pop(key, None)
        if after is not None:
            key = key_of(after)
            self.catalogue.put(Record.of(after))
            self._index.update(key, queueing.Entry.of(after))
            self._note_pace(before, after)
            for pod, run in _pods_of(after).items():
                self._by_pod[pod] = key, run
            if before is None or before.metadata.uid != after.metadata.uid:
                self._note_origins(after)

    def _note_origins(self, task: v1alpha1.LongTask) -> None:
        """Take note of whose results a new task takes over."""
        refs = (result.ref for result in reuse.of(task).results.values())
        uids = frozenset(ref.task_uid for ref in refs if ref is not None and ref.task_uid)
        if uids:
            self._origins[key_of(task)] = uids
        else:
            self._origins.pop(key_of(task), None)

    def _note_pace(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask) -> None:
        if (last := last_attempt(after)) is not None:
            queue = key_of(after).sibling(self.queue_of(Record.of(after)))
            self._pace.note(queue, last_attempt(before) if before else None, last)

    def _type_changed(
        self, before: v1alpha1.LongTaskType | None, after: v1alpha1.LongTaskType | None
    ) -> None:
        if after is not None:
            self._index.set_type(key_of(after), after.spec.defaults)
        elif before is not None:
            self._index.set_type(key_of(before), None)

    def _queue_changed(
        self, before: v1alpha1.LongTaskQueue | None, after: v1alpha1.LongTaskQueue | None
    ) -> None:
        if after is not None:
            self._index.set_queue(key_of(after), after.spec)
        elif before is not None:
            self._index.set_queue(key_of(before), None)
            self._pace.forget(key_of(before))


def last_attempt(task: v1alpha1.LongTask) -> v1alpha1.Attempt | None:
    """Return the attempt that was claimed last, or None before the first."""
    return max(task.status.attempts or (), key=lambda attempt: attempt.number, default=None)


def program(task: v1alpha1.LongTask, run: str) -> v1alpha1.LongTask:
    """Return a program of a task, as if it were a task of its own.

    Raises:
        KeyError: The task has no such step.
    """
    return runs.as_task(task, run) if run else task


def _pods_of(task: v1alpha1.LongTask) -> dict[str, str]:
    """Return the uids of the pods that work on the task now, and on which of its programs."""
    if task.is_finished:
        return {}
    last = last_attempt(task)
    if last is not None:
        return {last.pod_uid: ""} if last.pod_uid else {}
    return {
        run.pod_uid: name
        for name, run in runs.statuses(task.status)
        if run.pod_uid and not (run.phase and run.phase.is_terminal)
    }

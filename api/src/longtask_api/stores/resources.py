"""Tasks, types and queues: each read from its cache, then from Kubernetes; written to both.

A task whose resource is gone is read from the archive: here, so that nobody else has to know.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache, key_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.archive import Anybody, Archive
from longtask_api.stores.cached import Cached
from longtask_api.stores.catalogue import Catalogue, Record
from longtask_crds import effective, names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import reuse, runs


class Resources:
    """Tasks, types and queues, whoever asks, and tasks as somebody sees them."""

    def __init__(
        self,
        cluster: Cluster,
        archive: Archive,
        *,
        namespace: str,
        tasks: Cache[v1alpha1.LongTask],
        types: Cache[v1alpha1.LongTaskType],
        queues: Cache[v1alpha1.LongTaskQueue],
    ) -> None:
        """Stand on caches that something else keeps fresh; they are empty yet."""
        self._cluster = cluster
        self.archive: Final = archive  #: for reading, by whoever reads all tasks
        self._namespace = namespace
        self._tasks = Cached(cluster, kinds.TASKS, tasks, namespace=namespace)
        self._types = Cached(cluster, kinds.TYPES, types, namespace=namespace)
        self._queues = Cached(cluster, kinds.QUEUES, queues, namespace=namespace)
        self.catalogue: Final = Catalogue()  #: of all tasks, for reading
        self._by_pod: dict[str, tuple[ObjectKey, str]] = {}
        self._origins: dict[ObjectKey, frozenset[str]] = {}
        tasks.on_change(self._task_changed)

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

    # --- resources, whoever asks

    async def find_task(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task; None only after a look at Kubernetes itself."""
        return await self._tasks.find(key)

    async def look(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task as Kubernetes has it now, or None."""
        task = await self._tasks.look(key)
        return None if task is None else self._keep(task)

    async def find_type(self, name: str) -> v1alpha1.LongTaskType | None:
        """Return the type; None only after a look at Kubernetes itself."""
        return await self._types.find(self.key(name))

    async def find_types(self, wanted: Iterable[str]) -> dict[str, v1alpha1.LongTaskTypeSpec]:
        """Return the specs of the types, of those that there are."""
        found = {name: await self.find_type(name) for name in sorted(wanted)}
        return {name: one.spec for name, one in found.items() if one is not None}

    async def find_queue(self, name: str) -> v1alpha1.LongTaskQueue | None:
        """Return the queue; None only after a look at Kubernetes itself."""
        return await self._queues.find(self.key(name))

    def queues(self) -> list[v1alpha1.LongTaskQueue]:
        """Return all queues, in no order."""
        return list(self._queues.cache.values())

    def types(self) -> list[v1alpha1.LongTaskType]:
        """Return all types, in no order."""
        return list(self._types.cache.values())

    def cached_task(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        """Return the task as far as it is known without asking."""
        return self._tasks.cache.get(key)

    def changed_since(self, version: int) -> Iterator[tuple[int, ObjectKey]]:
        """Yield version and key of each task that is newer; none is read for that."""
        return self._tasks.cache.changed_since(version)

    def live_uids(self) -> set[str]:
        """Return the uids of all tasks that Kubernetes has."""
        return {uid for uid, _ in self._tasks.cache.versions()}

    def origin_uids(self) -> set[str]:
        """Return the uids of all tasks whose results those take over that Kubernetes has."""
        return set().union(*self._origins.values())

    async def wait_for(
        self, key: ObjectKey, done: Callable[[v1alpha1.LongTask | None], bool], *, within: float
    ) -> v1alpha1.LongTask | None:
        """Return the task once it is as wanted, or as it is after `within` seconds."""
        return await self._tasks.cache.wait_for(key, done, within=within)

    def program_of_pod(self, uid: str) -> tuple[v1alpha1.LongTask, str] | None:
        """Return the task that has this pod on record for an attempt that goes on, or None.

        Returns:
            The task, and the name of the program: empty for that of a plain task.
        """
        key, run = self._by_pod.get(uid, (None, ""))
        task = self._tasks.cache.get(key) if key else None
        return None if task is None else (task, run)

    # --- writes

    async def create_task(self, body: Mapping[str, Any]) -> v1alpha1.LongTask:
        """Store a new task; raise AlreadyExists if its name is taken."""
        return await self._tasks.create(body)

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
        version = task.metadata.resource_version if unchanged else None
        return await self._tasks.patch(task, patch, version=version)

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
        return await self._queues.patch(queue, patch)

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

    async def write_outcome(
        self, task: v1alpha1.LongTask, report: v1alpha1.Report, *, run: str = ""
    ) -> v1alpha1.LongTask:
        """Record how a program of the task that was looked at says that it ends.

        Raises:
            Conflict: The task has changed since.
            Rejected: It is over.
        """
        return self._keep(await self._cluster.write_outcome(task, report, run=run))

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
            await self._tasks.note_deletion()
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
        await self._tasks.delete(task, version=version)

    # --- what a type gives

    def limits_of(self, task: v1alpha1.LongTask) -> effective.Limits:
        """Return how long each part of the task may take."""
        return effective.limits_of(task.spec, self.defaults_of(Record.of(task)))

    def defaults_of(self, task: Record) -> v1alpha1.TypeDefaults | None:
        """Return what the task's type says where the task itself says nothing."""
        task_type = self._types.cache.get(task.key.sibling(task.type or ""))
        return task_type.spec.defaults if task_type else None

    # --- inside

    async def _shown(
        self, caller: callers.Caller, live: v1alpha1.LongTask | None, name: str
    ) -> v1alpha1.LongTask:
        """Return the live task if the caller may see it, else what the archive has for them.

        A name may have gone from one owner to another: whoever had it before finds theirs.
        """
        if live is not None and caller.may_see(Record.of(live).owner):
            return live
        owner = Anybody.ANYBODY if caller.sees_all else caller.subject
        found = await self.archive.find(self.key(name), owner=owner)
        if found is None:
            raise errors.Missing("There is no such task.")
        return found

    def _keep(self, task: v1alpha1.LongTask) -> v1alpha1.LongTask:
        """Put a task into the cache, which holds less of it, and return it whole."""
        self._tasks.cache.put(task)
        return task

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        if before is not None:
            for pod in pods_of(before):
                self._by_pod.pop(pod, None)
            if after is None:
                key = key_of(before)
                self.catalogue.remove(key)
                self._origins.pop(key, None)
        if after is not None:
            key = key_of(after)
            self.catalogue.put(Record.of(after))
            for pod, run in pods_of(after).items():
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


def owner_of(resource: v1alpha1.Resource) -> str | None:
    """Return whose a resource is, or None if it is nobody's."""
    return resource.metadata.labels.get(names.OWNER_LABEL)


def last_attempt(task: v1alpha1.LongTask) -> v1alpha1.Attempt | None:
    """Return the attempt that was claimed last, or None before the first."""
    return max(task.status.attempts or (), key=lambda attempt: attempt.number, default=None)


def program(task: v1alpha1.LongTask, run: str) -> v1alpha1.LongTask:
    """Return a program of a task, as if it were a task of its own.

    Raises:
        KeyError: The task has no such step.
    """
    return runs.as_task(task, run) if run else task


def pods_of(task: v1alpha1.LongTask) -> dict[str, str]:
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

"""What the operator may ask of Kubernetes: its verbs, in the words of tasks, Jobs and pods."""

import asyncio
from datetime import datetime
from typing import Any

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection
from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator.rules import pods

#: As the API server's audit log and managed fields know us.
USER_AGENT = "longtask-operator"
_EVENTS_AT_ONCE = 2


def status_patch(task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus) -> list[dict[str, Any]]:
    """Return the JSON Patch from the task's status to the new one; empty if they are the same.

    A JSON Patch and not a merge patch: that would drop nulls inside a result, and mix it with old
    keys. `replace` of the resourceVersion makes a stale write a 409.
    """
    before, after = task.status.to_json(), status.to_json()
    changes: list[dict[str, Any]] = [
        {"op": "add", "path": f"/status/{key}", "value": value}
        for key, value in after.items()
        if before.get(key, ...) != value
    ]
    changes += [{"op": "remove", "path": f"/status/{key}"} for key in before if key not in after]
    if not changes:
        return []
    version = task.metadata.resource_version
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *changes]


class Cluster:
    """The cluster; each method raises a ClusterError if it was not done, or not known to be."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # The API server walks all Events of the namespace for each such question, and when the
        # cluster is slow very many are asked at once.
        self._events = asyncio.Semaphore(_EVENTS_AT_ONCE)

    async def get_task(self, key: ObjectKey) -> v1alpha1.LongTask:
        """Return the task as it is now, whole."""
        return kinds.TASKS.read(await self._connection.get(kinds.TASKS.path(key)))

    async def is_there(self, task: ObjectKey) -> bool:
        """Tell whether there is a task of that name now."""
        try:
            await self._connection.get(kinds.TASKS.path(task))
        except errors.NotFound:
            return False
        return True

    async def get_type(self, key: ObjectKey) -> v1alpha1.LongTaskType:
        """Return the type as it is now."""
        return kinds.TYPES.read(await self._connection.get(kinds.TYPES.path(key)))

    async def write_status(
        self, task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus
    ) -> v1alpha1.LongTask:
        """Write what differs from the task's status; raise Conflict if somebody wrote first."""
        patch = status_patch(task, status)
        if not patch:
            return task
        key = ObjectKey(task.metadata.namespace, task.metadata.name)
        return kinds.TASKS.read(
            await self._connection.patch(kinds.TASKS.path(key, "status"), patch)
        )

    async def write_counts(
        self, queue: v1alpha1.LongTaskQueue, counts: queueing.Counts
    ) -> v1alpha1.LongTaskQueue:
        """Write how many run and wait in the queue; raise Conflict if another has its name."""
        meta = queue.metadata
        status = {
            "running": counts.running,
            "waiting": counts.waiting,
            "observedGeneration": meta.generation,
        }
        path = kinds.QUEUES.path(ObjectKey(meta.namespace, meta.name), "status")
        patch = {"status": status}
        return kinds.QUEUES.read(await self._connection.patch(path, patch, uid=meta.uid))

    async def create_job(self, manifest: dict[str, Any], *, now: datetime) -> pods.Job:
        """Create a Job; raise AlreadyExists if its name is taken."""
        path = kinds.JOBS.collection(manifest["metadata"]["namespace"])
        return pods.Job.parse(await self._connection.post(path, manifest), now=now)

    async def get_job(self, key: ObjectKey, *, now: datetime) -> pods.Job:
        """Return the Job, or the knowledge that there is none."""
        try:
            return pods.Job.parse(await self._connection.get(kinds.JOBS.path(key)), now=now)
        except errors.NotFound:
            return pods.Job(key.namespace, key.name, checked_at=now, exists=False)

    async def why_no_pod(self, job: pods.Job) -> str | None:
        """Return what the Events say of a Job whose pod cannot be made."""
        # A refusal by quota or Pod Security appears nowhere else.
        return await self._last_event(job.namespace, job.uid, "reason=FailedCreate")

    async def why_no_start(self, pod: pods.Pod) -> str | None:
        """Return what the Events say of a pod whose container does not start."""
        return await self._last_event(pod.task.namespace, pod.uid, "type=Warning")

    async def pods_of(self, task: ObjectKey) -> tuple[int, list[pods.Pod]]:
        """Return the task's pods as they are now, and the version of that list."""
        found: list[pods.Pod] = []
        selector = {"labelSelector": f"{names.TASK_LABEL}={task.name}"}
        path = kinds.PODS.collection(task.namespace)
        async for page in self._connection.pages(path, selector):
            found = [] if page.is_first else found
            found += [pods.Pod.parse(raw) for raw in page.items]
        return page.version, found

    async def delete_job(self, job: pods.Job) -> None:
        """Delete the Job and its pods; raise Conflict if another has its name."""
        try:
            await self._connection.delete(kinds.JOBS.path(job.key), uid=job.uid)
        except errors.NotFound:
            return

    async def release_job(self, job: pods.Job) -> None:
        """Let Kubernetes remove the Job after a while; raise Conflict if another has its name."""
        spec = {"ttlSecondsAfterFinished": names.RELEASED_TTL_SECONDS}
        try:
            await self._connection.patch(kinds.JOBS.path(job.key), {"spec": spec}, uid=job.uid)
        except errors.NotFound:
            return

    async def stop_pod(self, pod: pods.Pod) -> None:
        """End the pod with SIGTERM and grace, and keep its record."""
        spec = {"activeDeadlineSeconds": 1}
        await self._connection.patch(kinds.PODS.path(pod.key), {"spec": spec}, uid=pod.uid)

    async def adopt_pod(self, pod: pods.Pod, owner: dict[str, Any]) -> None:
        """Give the pod an owner, with which it goes."""
        meta = {"ownerReferences": [owner]}
        await self._connection.patch(kinds.PODS.path(pod.key), {"metadata": meta}, uid=pod.uid)

    async def warn(
        self, task: v1alpha1.LongTask, reason: str, message: str, *, now: datetime
    ) -> None:
        """Post a Kubernetes Event of type Warning on the task."""
        meta = task.metadata
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta.name}-", "namespace": meta.namespace},
            "eventTime": now.isoformat(timespec="microseconds"),
            "type": "Warning",
            "reason": reason,
            "action": reason,
            "note": message[: names.MESSAGE_MAX],
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": USER_AGENT,
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": "LongTask",
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
            },
        }
        await self._connection.post(kinds.NEW_EVENTS.collection(meta.namespace), event)

    async def _last_event(self, namespace: str, uid: str, which: str) -> str | None:
        selector = {"fieldSelector": f"involvedObject.uid={uid},{which}"}
        async with self._events:
            raw = await self._connection.get(kinds.EVENTS.collection(namespace), selector)
        messages = [str(event.get("message", "")) for event in raw["items"]]
        return messages[-1][: names.MESSAGE_MAX] if messages else None

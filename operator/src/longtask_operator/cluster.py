"""What the operator may ask of Kubernetes: its verbs, in the words of tasks, Jobs and pods."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.cache import key_of
from longtask_adapters.kube.connection import Connection
from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import event_reader
from longtask_operator.rules import pods

Raw = dict[str, Any]

#: As the API server's audit log and managed fields know us.
USER_AGENT = "longtask-operator"


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
    for key in (key for key in before if key not in after):
        # It may be gone already: then this write is stale, and that is to be found out, not this.
        path = f"/status/{key}"
        changes += [{"op": "add", "path": path, "value": None}, {"op": "remove", "path": path}]
    if not changes:
        return []
    return [_guard(task), *changes]


def _guard(resource: v1alpha1.Resource) -> dict[str, Any]:
    """Return what makes a JSON Patch of something older a Conflict."""
    version = resource.metadata.resource_version
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": version}


def _last(found: Sequence[event_reader.Warned]) -> str | None:
    return found[-1].message[: names.MESSAGE_MAX] if found else None


class Cluster:
    """The cluster; each method raises a ClusterError if it was not done, or not known to be."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events = event_reader.EventReader(connection)

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

    async def write_conditions(
        self, kind: kinds.Place, meta: v1alpha1.ObjectMeta, conditions: list[v1alpha1.Condition]
    ) -> Raw:
        """Write the conditions of a type or a queue; raise Conflict if somebody wrote first."""
        told = {
            "observedGeneration": meta.generation,
            "conditions": [condition.to_json() for condition in conditions],
        }
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": told}
        path = kind.path(ObjectKey(meta.namespace, meta.name), "status")
        # Another one of the name has another version, too.
        return await self._connection.patch(path, patch)

    async def get_schedule(self, key: ObjectKey) -> v1alpha1.LongTaskSchedule:
        """Return the schedule as it is now."""
        return kinds.SCHEDULES.read(await self._connection.get(kinds.SCHEDULES.path(key)))

    async def write_schedule(
        self, schedule: v1alpha1.LongTaskSchedule, status: v1alpha1.LongTaskScheduleStatus
    ) -> v1alpha1.LongTaskSchedule:
        """Write the schedule's status; raise Conflict if somebody wrote first."""
        patch = [_guard(schedule), {"op": "add", "path": "/status", "value": status.to_json()}]
        path = kinds.SCHEDULES.path(key_of(schedule), "status")
        return kinds.SCHEDULES.read(await self._connection.patch(path, patch))

    async def annotate_schedule(
        self, schedule: v1alpha1.LongTaskSchedule, name: str, value: str | None
    ) -> v1alpha1.LongTaskSchedule:
        """Set an annotation, or take it out; raise Conflict if somebody wrote first."""
        meta = {
            "resourceVersion": schedule.metadata.resource_version,
            "annotations": {name: value},
        }
        path = kinds.SCHEDULES.path(key_of(schedule))
        return kinds.SCHEDULES.read(await self._connection.patch(path, {"metadata": meta}))

    async def create_task(self, manifest: dict[str, Any]) -> v1alpha1.LongTask:
        """Create a task; raise AlreadyExists if its name is taken."""
        path = kinds.TASKS.collection(manifest["metadata"]["namespace"])
        return kinds.TASKS.read(await self._connection.post(path, manifest))

    async def change_task(self, key: ObjectKey, uid: str, **spec: bool | int) -> v1alpha1.LongTask:
        """Change what may change of a task's spec; raise Conflict if another has its name."""
        path = kinds.TASKS.path(key)
        return kinds.TASKS.read(await self._connection.patch(path, {"spec": spec}, uid=uid))

    async def create_job(self, manifest: dict[str, Any], *, now: datetime) -> pods.Job:
        """Create a Job; raise AlreadyExists if its name is taken."""
        path = kinds.JOBS.collection(manifest["metadata"]["namespace"])
        return pods.Job.parse(await self._connection.post(path, manifest), now=now)

    async def try_job(self, manifest: dict[str, Any]) -> None:
        """Have the API server judge a Job as if it were created; raise what it would raise."""
        path = kinds.JOBS.collection(manifest["metadata"]["namespace"])
        await self._connection.post(path, manifest, dry_run=True)

    async def get_job(self, key: ObjectKey, *, now: datetime) -> pods.Job:
        """Return the Job, or the knowledge that there is none."""
        try:
            return pods.Job.parse(await self._connection.get(kinds.JOBS.path(key)), now=now)
        except errors.NotFound:
            return pods.Job(key.namespace, key.name, checked_at=now, exists=False)

    async def why_no_pod(self, job: pods.Job) -> str | None:
        """Return what the Events say of a Job whose pod cannot be made."""
        # A refusal by quota or Pod Security appears nowhere else.
        found = await self._events.warnings(job.namespace, job.uid)
        return _last([warned for warned in found if warned.reason == "FailedCreate"])

    async def why_no_start(self, pod: pods.Pod) -> str | None:
        """Return what the Events say of a pod whose container does not start."""
        return _last(await self._events.warnings(pod.task.namespace, pod.uid))

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

    async def adopt_job(self, job: pods.Job, meta: Raw, *, now: datetime) -> pods.Job:
        """Give a Job that was started ahead to its task; raise Conflict if another has its name."""
        raw = await self._connection.patch(
            kinds.JOBS.path(job.key), {"metadata": meta}, uid=job.uid
        )
        return pods.Job.parse(raw, now=now)

    async def change_pod(self, pod: pods.Pod, patch: list[Raw]) -> pods.Pod:
        """Change a pod by a JSON Patch; raise Rejected if what it tests does not hold."""
        return pods.Pod.parse(await self._connection.patch(kinds.PODS.path(pod.key), patch))

    async def limit_pod(self, pod: pods.Pod, seconds: int) -> None:
        """Set the pod's deadline anew."""
        spec = {"activeDeadlineSeconds": seconds}
        await self._connection.patch(kinds.PODS.path(pod.key), {"spec": spec}, uid=pod.uid)

    async def stop_pod(self, pod: pods.Pod) -> None:
        """End the pod with SIGTERM and grace, and keep its record."""
        spec = {"activeDeadlineSeconds": 1}
        await self._connection.patch(kinds.PODS.path(pod.key), {"spec": spec}, uid=pod.uid)

    async def adopt_pod(self, pod: pods.Pod, owner: dict[str, Any]) -> None:
        """Give the pod an owner, with which it goes."""
        meta = {"ownerReferences": [owner]}
        await self._connection.patch(kinds.PODS.path(pod.key), {"metadata": meta}, uid=pod.uid)

    async def warn(
        self,
        about: v1alpha1.Resource,
        reason: str,
        message: str,
        *,
        now: datetime,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """Post a Kubernetes Event of type Warning on a resource of ours.

        Args:
            about: The resource.
            reason: Why, as one word.
            message: Why, for people.
            now: When.
            told: Annotations: by which others who tell of the same are known.
        """
        meta = about.metadata
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "generateName": f"{meta.name}-",
                "namespace": meta.namespace,
                **({"annotations": dict(told)} if told else {}),
            },
            "eventTime": now.isoformat(timespec="microseconds"),
            "type": "Warning",
            "reason": reason,
            "action": reason,
            "note": message[: names.MESSAGE_MAX],
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": USER_AGENT,
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": about.kind,
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
            },
        }
        await self._connection.post(kinds.NEW_EVENTS.collection(meta.namespace), event)

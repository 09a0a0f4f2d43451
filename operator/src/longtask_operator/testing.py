"""Twins of the operator's doors, in memory, and builders of what it sees: for tests of any tier.

`MemoryCluster` keeps what the API server would: versions, uids, conflicts, owners, the freeze of a
finished status. What the rest of Kubernetes does to it (a Job gets its pod, the pod ends) are
methods too, so that a test says in one line what happens.
"""

import base64
import copy
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from longtask_crds import delivery, effective, names, v1alpha1
from longtask_crds.testing import NAMESPACE, NOW, TASK_UID, a_task, an_attempt
from longtask_operator import cluster, decision, errors, job_manifest, pods

INSTALLATION = effective.Installation(
    "runner:1", v1alpha1.Resources(), v1alpha1.ResourceAmounts(cpu="8", memory="8Gi")
)
SURROUNDINGS = job_manifest.Surroundings("http://api.example:8081", "longtask-task")

Raw = dict[str, Any]

# --- builders -----------------------------------------------------------------------------------


def a_job(**values: Any) -> pods.Job:
    """Return the Job of the first attempt of `a_task`, made now."""
    given: Raw = {"name": an_attempt().job_name, "checked_at": NOW, "uid": "job-1"}
    return pods.Job(**(given | {"owner_uid": TASK_UID, "created_at": NOW} | values))


def a_pod(**values: Any) -> pods.Pod:
    """Return the pod of `a_job`, made now; its container does not run yet."""
    given: Raw = {
        "name": "report-pod",
        "uid": "pod-1",
        "task": "report",
        "job_name": an_attempt().job_name,
        "version": 1,
    }
    return pods.Pod(**(given | {"job_uid": "job-1", "created_at": NOW} | values))


def an_ended_pod(exit_code: int = 0, message: str = "", **values: Any) -> pods.Pod:
    """Return a pod whose program ran for a minute and ended."""
    ended = NOW + timedelta(minutes=1)
    reason = "Error" if exit_code else "Completed"
    end = pods.End(exit_code, reason, message, ended)
    given: Raw = {"is_over": True, "started_at": NOW, "end": end}
    return a_pod(**(given | values))


def a_world(task: v1alpha1.LongTask | None = None, **values: Any) -> decision.World:
    """Return the world of a task, by default of a new one whose queue has no place for it."""
    task = task or a_task()
    spec = effective.effective_spec(task.spec, None, INSTALLATION)
    given: Raw = {"task": task, "spec": spec, "job_name": a_job().name}
    return decision.World(**(given | values))


def stamp(at: datetime) -> str:
    """Return an instant as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- the twins ----------------------------------------------------------------------------------


@dataclasses.dataclass
class MemoryCluster:
    """The API server's part that the operator talks to, and what Kubernetes does behind it.

    Stored objects are never changed in place, so that `fork` is cheap.
    """

    now: datetime = NOW
    version: int = 1
    made: int = 0  #: how many uids were given
    tasks: dict[str, Raw] = dataclasses.field(default_factory=dict)
    types: dict[str, Raw] = dataclasses.field(default_factory=dict)
    queues: dict[str, Raw] = dataclasses.field(default_factory=dict)
    jobs: dict[str, Raw] = dataclasses.field(default_factory=dict)
    all_pods: dict[str, Raw] = dataclasses.field(default_factory=dict)
    secrets: dict[tuple[str, str], Raw] = dataclasses.field(default_factory=dict)
    no_pod_because: dict[str, str] = dataclasses.field(default_factory=dict)  #: by the Job's name
    warnings: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    created_jobs: list[str] = dataclasses.field(default_factory=list)  #: names, ever
    writes: int = 0
    refuse_jobs: str | None = None  #: why no Job may be made
    #: Called before and after each write with its name; what it raises, the operator gets.
    interrupt: Callable[[str, str], None] = lambda _write, _moment: None

    def fork(self) -> "MemoryCluster":
        """Return a copy that goes its own way from here on."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list):
                setattr(other, name, value.copy())
        return other

    # What the operator asks: `cluster.Cluster`, and the lists.

    async def get_task(self, name: str) -> v1alpha1.LongTask:
        """Return the task as it is now."""
        return v1alpha1.LongTask.model_validate(_found(self.tasks, name))

    async def get_type(self, name: str) -> v1alpha1.LongTaskType:
        """Return the type as it is now."""
        return v1alpha1.LongTaskType.model_validate(_found(self.types, name))

    async def write_status(
        self, task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus
    ) -> v1alpha1.LongTask:
        """Write what differs from the task's status; raise Conflict if somebody wrote first."""
        name = task.metadata.name
        patch = cluster.status_patch(task, status)
        if not patch:
            return task
        self._begin("status")
        stored = _found(self.tasks, name)
        guard, *changes = patch
        if guard["value"] != stored["metadata"]["resourceVersion"]:
            raise errors.Conflict(f"{name} is at {stored['metadata']['resourceVersion']}")
        after = dict(stored["status"])
        for change in changes:
            key = change["path"].removeprefix("/status/")
            if change["op"] == "remove":
                del after[key]
            else:
                # As it travels, so that nothing is shared with the caller.
                after[key] = json.loads(json.dumps(change["value"]))
        _check_freeze(stored["status"], after)
        self._store(self.tasks, stored | {"status": after})
        self._end("status")
        return await self.get_task(name)

    async def create_job(self, manifest: Raw, *, now: datetime) -> pods.Job:
        """Create a Job; raise AlreadyExists if its name is taken."""
        self._begin("create_job")
        name = manifest["metadata"]["name"]
        if name in self.jobs:
            raise errors.AlreadyExists(name)
        if self.refuse_jobs is not None:
            raise errors.Rejected(self.refuse_jobs)
        self._create(self.jobs, manifest)
        self.created_jobs.append(name)
        self._end("create_job")
        return pods.Job.parse(self.jobs[name], now=now)

    async def get_job(self, name: str, *, now: datetime) -> pods.Job:
        """Return the Job, or the knowledge that there is none."""
        if name not in self.jobs:
            return pods.Job(name=name, checked_at=now, exists=False)
        return pods.Job.parse(self.jobs[name], now=now)

    async def why_no_pod(self, job: pods.Job) -> str | None:
        """Return what the Events say of a Job whose pod cannot be made."""
        return self.no_pod_because.get(job.name)

    async def pods_of(self, task: v1alpha1.LongTask) -> tuple[int, list[pods.Pod]]:
        """Return the task's pods as they are now, and the version of that list."""
        found = [pods.Pod.parse(raw) for raw in self.all_pods.values()]
        return self.version, [pod for pod in found if pod.task == task.metadata.name]

    async def delete_job(self, job: pods.Job) -> None:
        """Delete the Job and its pods; raise Conflict if another has its name."""
        self._begin("delete_job")
        stored = self.jobs.get(job.name)
        if stored is not None:
            _check_uid(stored, job.uid)
            self.remove_job(job.name)
        self._end("delete_job")

    async def release_job(self, job: pods.Job) -> None:
        """Let Kubernetes remove the Job after a while; raise Conflict if another has its name."""
        self._begin("release_job")
        stored = self.jobs.get(job.name)
        if stored is not None:
            _check_uid(stored, job.uid)
            ttl = {"ttlSecondsAfterFinished": names.RELEASED_TTL_SECONDS}
            self._store(self.jobs, stored | {"spec": stored["spec"] | ttl})
        self._end("release_job")

    async def stop_pod(self, pod: pods.Pod) -> None:
        """End the pod with SIGTERM and grace, and keep its record."""
        self._begin("stop_pod")
        stored = _found(self.all_pods, pod.name)
        _check_uid(stored, pod.uid)
        self._store(self.all_pods, stored | {"spec": stored["spec"] | {"activeDeadlineSeconds": 1}})
        self._end("stop_pod")

    async def get_secret(self, name: str, *, namespace: str | None = None) -> cluster.Secret:
        """Return a Secret, by default of the tasks' namespace."""
        return cluster.Secret(_found(self.secrets, (namespace or NAMESPACE, name)))

    async def add_to_secret(self, secret: cluster.Secret, key: str, value: str) -> cluster.Secret:
        """Set one key of a Secret; raise Conflict if somebody wrote first."""
        self._begin("add_to_secret")
        place = (secret.namespace, secret.name)
        stored = _found(self.secrets, place)
        if stored["metadata"]["resourceVersion"] != secret.version:
            raise errors.Conflict(secret.name)
        data = stored["data"] | {key: base64.b64encode(value.encode()).decode()}
        self.secrets[place] = self._versioned(stored | {"data": data})
        self._end("add_to_secret")
        return cluster.Secret(self.secrets[place])

    async def warn(self, task: v1alpha1.LongTask, reason: str, message: str) -> None:
        """Post a Kubernetes Event of type Warning on the task."""
        self._begin("warn")
        self.warnings.append((task.metadata.name, reason, message))
        self._end("warn")

    async def list_ours(self, plural: str) -> tuple[int, list[Raw]]:
        """Return the version of the list and all objects of one of our kinds."""
        kinds = {
            names.LONGTASKS: self.tasks,
            names.LONGTASKTYPES: self.types,
            names.LONGTASKQUEUES: self.queues,
        }
        return self.version, list(kinds[plural].values())

    async def list_labelled(self, kind: str) -> tuple[int, list[Raw]]:
        """Return the version of the list and all our `pods` or `jobs`."""
        return self.version, list((self.jobs if kind == "jobs" else self.all_pods).values())

    # What people and the rest of Kubernetes do.

    def add(self, resource: v1alpha1.Resource) -> None:
        """Store a task, a type or a queue."""
        raw = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
        match resource:
            case v1alpha1.LongTask():
                kind = self.tasks
                raw |= {"spec": resource.spec.to_json(), "status": resource.status.to_json()}
            case v1alpha1.LongTaskType():
                kind = self.types
            case _:
                kind = self.queues
        self._store(kind, raw)

    def add_secret(
        self,
        name: str,
        data: dict[str, str] | None = None,
        *,
        labels: dict[str, str] | None = None,
        namespace: str = NAMESPACE,
    ) -> None:
        """Store a Secret."""
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in (data or {}).items()}
        meta = {"name": name, "namespace": namespace, "labels": labels or {}}
        self.secrets[namespace, name] = self._versioned({"metadata": meta, "data": encoded})

    def cancel(self, name: str) -> None:
        """Ask for the end of a task, as `kubectl patch` does."""
        raw = self.tasks[name]
        meta = raw["metadata"] | {"generation": raw["metadata"].get("generation", 0) + 1}
        self._store(self.tasks, raw | {"metadata": meta, "spec": raw["spec"] | {"cancel": True}})

    def report_progress(self, name: str, percent: int) -> None:
        """Write progress as the API does for the runner; another's write in between."""
        raw = self.tasks[name]
        if raw["status"].get("phase") in {"Succeeded", "Failed", "Cancelled"}:
            return
        progress = {"percent": percent, "updatedAt": stamp(self.now)}
        self._store(self.tasks, raw | {"status": raw["status"] | {"progress": progress}})

    def remove_task(self, name: str) -> None:
        """Delete a task; what it owns goes with the next `collect_garbage`."""
        del self.tasks[name]
        self.version += 1

    def collect_garbage(self) -> bool:
        """Remove the Jobs whose task is gone, and their pods; tell whether there were any."""
        alive = {raw["metadata"]["uid"] for raw in self.tasks.values()}
        orphans = [
            name
            for name, raw in self.jobs.items()
            if pods.controller_uid(raw["metadata"]) not in alive
        ]
        for name in orphans:
            self.remove_job(name)
        return bool(orphans)

    def remove_job(self, name: str) -> None:
        """Delete a Job; its pods go with it."""
        uid = self.jobs.pop(name)["metadata"]["uid"]
        for pod, raw in list(self.all_pods.items()):
            if pods.controller_uid(raw["metadata"]) == uid:
                del self.all_pods[pod]
        self.version += 1

    def remove_pod(self, name: str) -> None:
        """Delete a pod at once, its last words unread."""
        del self.all_pods[name]
        self.version += 1

    def make_pod(self, job_name: str) -> str:
        """Make the pod that a Job asks for, as the Job controller does; return its name."""
        job = self.jobs[job_name]
        template = job["spec"]["template"]
        name = f"{job_name}-{self.made + 1}"
        owner = {"kind": "Job", "name": job_name, "uid": job["metadata"]["uid"], "controller": True}
        meta = template["metadata"] | {"name": name, "ownerReferences": [owner]}
        spec = template["spec"] | {"nodeName": "node-1"}
        self._create(
            self.all_pods, {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}}
        )
        return name

    def start_pod(self, name: str) -> None:
        """Start the pod's container."""
        self._set_pod(name, "Running", {"running": {"startedAt": stamp(self.now)}})

    def end_pod(
        self, name: str, exit_code: int = 0, message: str = "", *, disrupted: bool = False
    ) -> None:
        """End the pod's container; its Job ends too, unless the pod was disrupted."""
        raw = self.all_pods[name]
        running = raw["status"]["containerStatuses"][0]["state"]["running"]
        terminated = running | {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": message,
            "finishedAt": stamp(self.now),
        }
        stopped = raw["spec"].get("activeDeadlineSeconds") == 1
        self._set_pod(
            name,
            "Failed" if exit_code else "Succeeded",
            {"terminated": terminated},
            **({"reason": "DeadlineExceeded"} if stopped and exit_code else {}),
            **(
                {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}
                if disrupted
                else {}
            ),
        )
        owner = pods.controller_uid(raw["metadata"])
        for job in list(self.jobs.values()):
            if job["metadata"]["uid"] == owner and not (disrupted and exit_code):
                ended = [{"type": "Failed" if exit_code else "Complete", "status": "True"}]
                self._store(self.jobs, job | {"status": {"conditions": ended}})

    def _set_pod(self, name: str, phase: str, state: Raw, **status: Any) -> None:
        containers = [{"name": names.RUNNER_CONTAINER, "state": state}]
        told = {"phase": phase, "containerStatuses": containers} | status
        self._store(self.all_pods, self.all_pods[name] | {"status": told})

    def _create(self, kind: dict[str, Raw], raw: Raw) -> None:
        self.made += 1
        given = {"uid": f"uid-{self.made}", "creationTimestamp": stamp(self.now)}
        self._store(kind, raw | {"metadata": raw["metadata"] | given})

    def _store(self, kind: dict[str, Raw], raw: Raw) -> None:
        kind[raw["metadata"]["name"]] = self._versioned(raw)

    def _versioned(self, raw: Raw) -> Raw:
        self.version += 1
        return raw | {"metadata": raw["metadata"] | {"resourceVersion": str(self.version)}}

    def _begin(self, write: str) -> None:
        self.interrupt(write, "before")

    def _end(self, write: str) -> None:
        self.writes += 1
        self.interrupt(write, "after")


@dataclasses.dataclass(frozen=True)
class Sent:
    """One request that a `MemorySender` got."""

    url: str
    webhook_id: str
    body: bytes
    keys: tuple[str, ...]
    headers: dict[str, str]


class MemorySender:
    """Keeps what it is given to send, and answers from a script, then with 200."""

    def __init__(self, *answers: delivery.Try, clock: Callable[[], datetime] = lambda: NOW) -> None:
        self.answers = list(answers)
        self.sent: list[Sent] = []
        self._clock = clock

    async def send(
        self,
        url: str,
        *,
        webhook_id: str,
        body: bytes,
        keys: Sequence[str],
        headers: dict[str, str],
    ) -> delivery.Try:
        """Keep one callback."""
        self.sent.append(Sent(url, webhook_id, body, tuple(keys), headers))
        return self.answers.pop(0) if self.answers else delivery.Try(at=self._clock(), code=200)


def _found(kind: dict[Any, Raw], name: Any) -> Raw:
    if name not in kind:
        raise errors.NotFound(str(name))
    return kind[name]


def _check_uid(stored: Raw, uid: str) -> None:
    if stored["metadata"]["uid"] != uid:
        raise errors.Conflict(f"the uid is {stored['metadata']['uid']}")


def _check_freeze(before: Raw, after: Raw) -> None:
    """Keep a finished status as it is, as the CRD's rules do."""
    if not _is_finished(before.get("conditions", ())):
        return
    may_change = {"callback", "conditions", "observedGeneration"}
    changed = {k for k in before.keys() | after.keys() if before.get(k, ...) != after.get(k, ...)}
    if changed - may_change or _settled(before) != _settled(after):
        raise errors.Rejected(f"of a finished task cannot be changed: {sorted(changed)}")


def _is_finished(conditions: Iterable[Raw]) -> bool:
    return any(
        c["type"] == v1alpha1.ConditionType.FINISHED and c["status"] == "True" for c in conditions
    )


def _settled(status: Raw) -> list[Raw]:
    return [c for c in status.get("conditions", ()) if c["type"] != "CallbackDelivered"]

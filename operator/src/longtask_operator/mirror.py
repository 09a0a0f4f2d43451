"""The operator's picture of its namespace: what watches, lists and its own writes have brought.

A picture may be old: nothing is claimed on its word alone. It never goes back to an older version.
"""

import dataclasses
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import pydantic

from longtask_crds import names, v1alpha1
from longtask_operator import admission, pods

_logger = logging.getLogger(__name__)


class Mirror:
    """All LongTasks, types, queues, and the Pods and Jobs of attempts, by name."""

    def __init__(self) -> None:
        self.tasks: dict[str, v1alpha1.LongTask] = {}
        self.unfinished: set[str] = set()  #: of these tasks; queues look at no others
        self.types: dict[str, v1alpha1.LongTaskType] = {}
        self.queues: dict[str, v1alpha1.LongTaskQueue] = {}
        self.pods: dict[str, dict[str, pods.Pod]] = {}  #: by task, then by uid
        self.jobs: dict[str, pods.Job] = {}
        self.reserved: set[str] = set()  #: tasks whose claim is being written
        self.watched: dict[str, int] = {}  #: uid -> the last version that a watch brought

    def put_task(self, task: v1alpha1.LongTask) -> bool:
        """Take a task over unless what we have is newer; tell whether it was news."""
        meta = task.metadata
        old = self.tasks.get(meta.name)
        if old and version(old) >= version(task):
            return False
        self.tasks[meta.name] = task
        if task.is_finished:
            self.unfinished.discard(meta.name)
        else:
            self.unfinished.add(meta.name)
        return True

    def drop_task(self, name: str, uid: str) -> None:
        """Forget a task that was deleted, and the Jobs and pods that go with it."""
        if name in self.tasks and self.tasks[name].metadata.uid == uid:
            del self.tasks[name]
            self.unfinished.discard(name)
            jobs = {j.name for j in self.jobs.values() if j.owner_uid == uid}
            self.jobs = {k: j for k, j in self.jobs.items() if k not in jobs}
            for pod in list(self.pods.get(name, {}).values()):
                if pod.job_name in jobs:
                    self.drop_pod(name, pod.uid)

    def put_pod(self, pod: pods.Pod) -> None:
        """Take a pod over unless what we have is newer."""
        known = self.pods.setdefault(pod.task, {})
        old = known.get(pod.uid)
        if old is None or old.version <= pod.version:
            first_seen = (old and old.running_seen_at) or pod.running_seen_at
            known[pod.uid] = dataclasses.replace(pod, running_seen_at=first_seen)

    def drop_pod(self, task: str, uid: str) -> None:
        """Forget a pod that was deleted."""
        known = self.pods.get(task, {})
        known.pop(uid, None)
        if not known:
            self.pods.pop(task, None)

    def type_of(self, task: v1alpha1.LongTask) -> v1alpha1.LongTaskTypeSpec | None:
        """Return the spec of the task's type, or None if it names none that is known."""
        found = self.types.get(task.spec.type or "")
        return found.spec if found else None

    def candidates(self, queue: str) -> Iterable[admission.Candidate]:
        """Return the unfinished tasks of a queue."""
        for name in self.unfinished:
            task = self.tasks[name]
            of, candidate = admission.candidate(task, self.type_of(task))
            if of == queue:
                yield candidate

    def may_start(self, queue: str, *, ignoring: str | None = None) -> list[str]:
        """Return the names of the tasks of a queue that may start now, the next one first.

        Args:
            queue: The queue's name.
            ignoring: A task whose own reservation does not count.
        """
        found = self.queues.get(queue)
        return admission.may_start(
            self.candidates(queue),
            found.spec if found else None,
            reserved=self.reserved - {ignoring} if ignoring else self.reserved,
        )

    def pod_of(self, task: v1alpha1.LongTask) -> pods.Pod | None:
        """Return the pod whose outcome counts for the task's last attempt, if there is one.

        That is the recorded pod, unless it was disrupted or is gone and the same Job made another.
        A Job's name holds the uid of its task: what is left of a task that had the name before, and
        was deleted, is never taken for this one's.
        """
        if not task.status.attempts:
            return None
        attempt = task.status.attempts[-1]
        known = self.pods.get(task.metadata.name, {})
        # By its uid alone: with its Job deleted and itself orphaned it has no owner any more.
        recorded = known.get(attempt.pod_uid or "")
        if recorded is not None and not recorded.is_disrupted:
            return recorded
        job = self.jobs.get(attempt.job_name)
        if job is not None and job.exists and job.owner_uid != task.metadata.uid:
            return recorded
        uid = attempt.job_uid or (job.uid if job and job.exists else None)
        ours = [
            pod
            for pod in known.values()
            if pod is recorded or (pod.job_name == attempt.job_name and uid in (None, pod.job_uid))
        ]
        # Two made within one second are told apart by what became of the first.
        return max(
            ours, key=lambda pod: (not pod.is_disrupted, pod.created_at, pod.version), default=None
        )

    def absorb_lists(
        self,
        lists: dict[str, tuple[int, list[dict[str, Any]]]],
        *,
        now: datetime,
    ) -> set[str]:
        """Take complete lists over; return the names of the tasks that something changed for.

        Args:
            lists: By kind (our plurals, `pods`, `jobs`) the list's version and its objects.
            now: When the lists were made.
        """
        touched: set[str] = set()
        at, raw_tasks = lists[names.LONGTASKS]
        listed = {raw["metadata"]["name"] for raw in raw_tasks}
        for raw in raw_tasks:
            task = parse(v1alpha1.LongTask, raw)
            if task is not None and self.put_task(task):
                touched.add(task.metadata.name)
        for name, task in list(self.tasks.items()):
            # What is newer than the list cannot be missed by it.
            if name not in listed and version(task) <= at:
                self.drop_task(name, task.metadata.uid)
                touched.add(name)
        at, raw_pods = lists["pods"]
        known = [pod for of_task in self.pods.values() for pod in of_task.values()]
        touched |= self._absorb_pods(known, (pods.Pod.parse(raw) for raw in raw_pods), at)
        jobs = {job.name: job for job in (pods.Job.parse(raw, now=now) for raw in lists["jobs"][1])}
        for name, job in self.jobs.items():
            # A Job that was made or read since the list was asked for is newer than it.
            if name not in jobs and job.checked_at > now:
                jobs[name] = job
        self.jobs = jobs
        self.types = _by_name(v1alpha1.LongTaskType, self.types, *lists[names.LONGTASKTYPES])
        self.queues = _by_name(v1alpha1.LongTaskQueue, self.queues, *lists[names.LONGTASKQUEUES])
        return touched

    def absorb_pods_of(self, task: str, listed: Iterable[pods.Pod], at: int) -> None:
        """Take the complete list of a task's pods over; `at` is the list's version."""
        self._absorb_pods(list(self.pods.get(task, {}).values()), listed, at)

    def _absorb_pods(
        self, before: Iterable[pods.Pod], listed: Iterable[pods.Pod], at: int
    ) -> set[str]:
        touched = set()
        known = {pod.uid: pod for pod in before}
        for pod in listed:
            old = known.pop(pod.uid, None)
            if old is None or old.version < pod.version:
                self.put_pod(pod)
                touched.add(pod.task)
        for pod in known.values():
            if pod.version <= at:
                self.drop_pod(pod.task, pod.uid)
                touched.add(pod.task)
        return touched


def version(resource: v1alpha1.Resource) -> int:
    """Return the resourceVersion as a number, by which versions of one object are ordered."""
    return int(resource.metadata.resource_version or 0)


Kind = TypeVar("Kind", v1alpha1.LongTask, v1alpha1.LongTaskType, v1alpha1.LongTaskQueue)


def parse(kind: type[Kind], raw: dict[str, Any]) -> Kind | None:
    """Return the resource, or None if it cannot be read: one bad object must not stop the rest."""
    try:
        return kind.model_validate(raw)
    except pydantic.ValidationError:
        meta = raw.get("metadata", {})
        _logger.exception("Cannot read", extra={"kind": kind.__name__, "object": meta.get("name")})
        return None


def _by_name(
    kind: type[Kind], known: dict[str, Kind], at: int, raws: Iterable[dict[str, Any]]
) -> dict[str, Kind]:
    # What a watch brought since the list was made stays.
    newer = {name: resource for name, resource in known.items() if version(resource) > at}
    parsed = (parse(kind, raw) for raw in raws)
    return {r.metadata.name: r for r in parsed if r is not None} | newer

"""Who may report for which task: the recorded pod of the running attempt, and nobody else."""

import collections
import dataclasses
import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

from longtask_api import errors, ports
from longtask_api.services import tasks
from longtask_crds import names, runner_contract, v1alpha1

K = TypeVar("K")
V = TypeVar("V")

_REVIEW_SECONDS = 10.0
_MOST_KEPT = 10_000
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


@dataclasses.dataclass(frozen=True)
class _Pod:
    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a pod was made for."""

    task: str
    task_uid: str
    attempt: int


class Reporters:
    """Knows the pods behind the tokens, and what they work on."""

    def __init__(
        self,
        cluster: ports.Cluster,
        service: tasks.TaskService,
        *,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._tasks = service
        self._namespace = namespace
        self._clock = clock
        self._reviews: collections.OrderedDict[bytes, tuple[float, _Pod]] = (
            collections.OrderedDict()
        )
        self._work: collections.OrderedDict[str, _Work] = collections.OrderedDict()

    async def task_of(self, token: str) -> v1alpha1.LongTask:
        """Return the task that the token's pod works on.

        Raises:
            Unauthenticated: The token is no report token of a pod of the tasks' namespace.
            Clash: The pod is not that of the task's running attempt.
        """
        pod = await self._pod_behind(token)
        work = self._work.get(pod.uid) or await self._learn(pod)
        task = await self._task(work.task)
        if not _is_current(task, work, pod):
            raise errors.Clash("The pod is not that of the task's running attempt.")
        return task

    async def _pod_behind(self, token: str) -> _Pod:
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        kept = self._reviews.get(digest)
        if kept is not None and now - kept[0] < _REVIEW_SECONDS:
            return kept[1]
        identity = await self._cluster.review_token(token, runner_contract.REPORT_AUDIENCE)
        # Without our audience in the answer it may be a token for the API server itself.
        if identity is None or runner_contract.REPORT_AUDIENCE not in identity.audiences:
            raise errors.Unauthenticated("The token is not for reports.")
        pod = _Pod(_only(identity.extra.get(_POD_NAME)), _only(identity.extra.get(_POD_UID)))
        of_namespace = identity.username.startswith(f"system:serviceaccount:{self._namespace}:")
        if not (of_namespace and pod.name and pod.uid):
            raise errors.Unauthenticated("The token is not bound to a pod of a task.")
        _keep(self._reviews, digest, (now, pod))
        return pod

    async def _learn(self, pod: _Pod) -> _Work:
        """Find out what a pod works on that reports for the first time."""
        for task in self._tasks.cache.values():
            last = _last_attempt(task)
            if last is not None and last.pod_uid == pod.uid:
                work = _Work(task.metadata.name, task.metadata.uid, last.number)
                break
        else:
            # It reports before the operator has recorded it: its Job vouches for it.
            work = await self._vouched(pod)
        _keep(self._work, pod.uid, work)
        return work

    async def _vouched(self, pod: _Pod) -> _Work:
        refused = errors.Clash("The pod does not belong to a task's running attempt.")
        try:
            meta = await self._cluster.get_pod(pod.name)
        except errors.NotFound as error:
            raise refused from error
        task = await self._task(meta.labels.get(names.TASK_LABEL, ""))
        last = _last_attempt(task)
        if meta.uid != pod.uid or last is None or last.pod_uid is not None:
            raise refused
        jobs = [o for o in meta.owner_references if o.kind == "Job" and o.name == last.job_name]
        if not any(last.job_uid in (None, job.uid) for job in jobs):
            raise refused
        return _Work(task.metadata.name, task.metadata.uid, last.number)

    async def _task(self, name: str) -> v1alpha1.LongTask:
        try:
            return await self._tasks.get(name)
        except errors.Missing as error:
            raise errors.Clash("The pod's task is gone.") from error


def _is_current(task: v1alpha1.LongTask, work: _Work, pod: _Pod) -> bool:
    last = _last_attempt(task)
    return (
        not task.is_finished
        and task.metadata.uid == work.task_uid
        and last is not None
        and last.number == work.attempt
        and last.pod_uid in (None, pod.uid)
        and last.finished_at is None
    )


def _last_attempt(task: v1alpha1.LongTask) -> v1alpha1.Attempt | None:
    return max(task.status.attempts or (), key=lambda attempt: attempt.number, default=None)


def _only(values: tuple[str, ...] | None) -> str:
    return values[0] if values and len(values) == 1 else ""


def _keep(kept: "collections.OrderedDict[K, V]", key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)

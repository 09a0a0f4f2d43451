"""The pods that are started ahead: what is known of them, who takes one, and one pass of one type.

Nothing is polled: a type that changes, a pod that is heard of, one that is taken, and a timer lead
to a pass, and beside them the list of everything each minute.
"""

import dataclasses
import logging
import secrets as random_bytes
from collections.abc import Awaitable, Callable, Iterable, Set
from datetime import datetime
from typing import NamedTuple

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import effective, names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import runs
from longtask_operator import cluster, metrics, mirror
from longtask_operator.rules import pod_spec, pods, warm
from longtask_operator.warm import nodes

_logger = logging.getLogger(__name__)

#: Looks whether a pod of a type may read all the Secrets that it names.
SecretsCheck = Callable[[ObjectKey, Iterable[str]], Awaitable[None]]


class Claim(NamedTuple):
    """An attempt of a program that is to be claimed."""

    task_uid: str
    run: str  #: the program's name; empty for that of a plain task
    attempt: int


class Pool:
    """Starts pods ahead, and hands them out to claims.

    Args:
        seen: What is known of types and tasks; takes over the Job of a pod that was taken.
        kubernetes: The cluster.
        installation: What the installation gives to tasks that say nothing.
        surroundings: What each Job gets alike.
        check_secrets: Raises Rejected where a Secret may not be read by pods.
        cordoned: Knows the nodes on which nothing is to wait.
        may_admit: Tells whether the lease is held: one operator keeps the pods.
        wake: Is told which types are to be looked at.
        counted: The numbers.
        clock: Tells the time, in UTC.
    """

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        *,
        installation: effective.Installation,
        surroundings: pod_spec.Surroundings,
        check_secrets: SecretsCheck,
        cordoned: nodes.Nodes,
        may_admit: Callable[[], bool],
        wake: Callable[[Iterable[ObjectKey]], None],
        counted: metrics.Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._installation = installation
        self._surroundings = surroundings
        self._check_secrets = check_secrets
        self._nodes = cordoned
        self._may_admit = may_admit
        self._wake = wake
        self._metrics = counted
        self._clock = clock
        self._jobs: dict[str, pods.Job] = {}  #: those that wait, by uid
        self._pods: dict[str, pods.Pod] = {}  #: their pods, by the Job's uid
        self._before: dict[ObjectKey, warm.Before] = {}
        self._failed: set[str] = set()  #: Jobs whose failure was counted
        self._strays: set[str] = set()  #: pods that somebody took, and that no claim named, lately
        #: Those that were taken for a claim and that it may not name yet.
        self._taken: dict[Claim, pods.Pod] = {}
        #: Jobs of pods that were taken, and that were no task's yet when all were listed.
        self._unadopted: Set[str] = frozenset()
        self._made: dict[ObjectKey, cluster.Raw] = {}  #: what Jobs of a type are made of
        seen.types.on_change(self._type_changed)
        cordoned.on_change(self.look)

    # --- what is heard ---

    def _type_changed(
        self, before: v1alpha1.LongTaskType | None, after: v1alpha1.LongTaskType | None
    ) -> None:
        known = after or before
        if before is not None and after is not None and _is_same(before, after):
            return  # its status was written
        if known is not None:
            self._made.pop(key_of(known), None)
        if known is None or (_keeps(before) is None and _keeps(after) is None):
            return
        # What failed may be mended.
        self._before.pop(key_of(known), None)
        self._nodes.want(any(map(_keeps, self._mirror.types.values())))
        self._wake([key_of(known)])

    def put_pod(self, pod: pods.Pod) -> None:
        """Take a pod over that waits; an older picture changes nothing."""
        known, job = self._pods.get(pod.job_uid), self._jobs.get(pod.job_uid)
        if known is not None and known.version > pod.version:
            return
        if pod.warm or job is not None:
            self._pods[pod.job_uid] = pod
            self._wake([_type_of(pod) if job is None else job.key.sibling(job.warm)])

    def drop_pod(self, pod: pods.Pod) -> None:
        """Take note that a pod was deleted: its Job makes no other, and is to go as well."""
        self._pods.pop(pod.job_uid, None)
        if pod.job_uid in self._jobs:
            self._pods[pod.job_uid] = dataclasses.replace(pod, is_deleting=True)
            self._wake([self._jobs[pod.job_uid].key.sibling(self._jobs[pod.job_uid].warm)])

    def was_taken(self, pod: pods.Pod) -> bool:
        """Hear that a pod is a task's now, whoever took it; tell whether it was news."""
        if pod.job_uid not in self._jobs:
            return False
        self._hand_over(self._jobs[pod.job_uid], pod)
        self._note_taken(_type_of(pod))
        return True

    def absorb(
        self, jobs: Iterable[pods.Job], listed: Iterable[pods.Pod], asked_at: datetime
    ) -> None:
        """Take the complete lists over of all that was started ahead, taken or not."""
        found = list(listed)
        taken = {pod.job_uid: pod for pod in found if not pod.is_nobodys}
        # One that was taken between the two lists is with the mirror, which knows it as a task's.
        waiting = {j.uid: j for j in jobs if not j.task_name and not self._is_taken(j)}
        for uid, job in self._jobs.items():
            if uid not in waiting and job.checked_at > asked_at:
                waiting[uid] = job
        self._jobs = {uid: job for uid, job in waiting.items() if uid not in taken}
        self._pods = {
            pod.job_uid: pod for pod in found if pod.is_nobodys and pod.job_uid in self._jobs
        }
        self._failed &= self._jobs.keys()
        self._unadopted = taken.keys() & waiting.keys()
        for uid in self._unadopted:
            self._hand_over(waiting[uid], taken[uid])

    def _is_taken(self, job: pods.Job) -> bool:
        known = self._mirror.job(job.key)
        return known is not None and known.uid == job.uid and bool(known.task_name)

    def look(self) -> None:
        """Have each type looked at for which there may be something to do."""
        keep = {key_of(known) for known in self._mirror.types.values() if known.spec.warm}
        self._wake(keep | {job.key.sibling(job.warm) for job in self._jobs.values()})

    # --- what tasks want ---

    def keeps(self, key: ObjectKey) -> bool:
        """Tell whether pods of a type are started ahead."""
        return _keeps(self._mirror.types.get(key)) is not None

    async def take(
        self, key: ObjectKey, claim: Claim, labels: dict[str, str], limits: effective.Limits
    ) -> pods.Pod | None:
        """Take a pod that waits, for ever, for a claim that is to name it; None if none waits.

        A claim that was not written, for somebody wrote first, gets the same one again.

        Args:
            key: The type.
            claim: What is to be claimed.
            labels: What the pod is found by from then on.
            limits: How long it may take.

        Raises:
            ClusterError: It is not known whether one was taken.
        """
        while claim not in self._taken and (unit := self._next(key)) is not None:
            taken = await self._try(*unit, labels, limits)
            if taken is not None:
                self._taken[claim] = taken
        return self._taken.get(claim)

    def _next(self, key: ObjectKey) -> tuple[pods.Job, pods.Pod] | None:
        """Return one that waits, and do not offer it again; None if there is none."""
        task_type = self._mirror.types.get(key)
        if task_type is None:
            return None
        template = warm.template_of(self._manifest(task_type))
        idle = [u for u in self._units(key) if u.is_idle and u.job.template == template]
        # The oldest: it would be replaced first.
        idle.sort(key=lambda unit: (unit.job.created_at or self._clock(), unit.job.name))
        for unit in idle[:1]:
            if unit.pod is not None:
                self._forget(unit.job.uid)
                return unit.job, unit.pod
        return None

    async def _try(
        self, job: pods.Job, pod: pods.Pod, labels: dict[str, str], limits: effective.Limits
    ) -> pods.Pod | None:
        """Take a pod; return it as it is then, or None if another was faster."""
        try:
            patch = warm.taking(pod, labels, limits, now=self._clock())
            taken = await self._cluster.change_pod(pod, patch)
        except (errors.Rejected, errors.NotFound, errors.Conflict):
            # Somebody has it, or it is gone: the watch brings what became of it.
            self._wake([_type_of(pod)])
            return None
        except errors.ClusterError:
            # If it was taken, the next try finds that out.
            self._jobs[job.uid], self._pods[job.uid] = job, pod
            raise
        self._hand_over(job, taken)
        self._note_taken(_type_of(pod))
        return taken

    # --- one pass of one type ---

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Do what there is to do for a type; return after how many seconds to look again.

        Raises:
            ClusterError: It was not done, or not known to be done.
        """
        units = self._units(key)
        self._metrics.warm_idle.labels(key.name).set(sum(unit.is_idle for unit in units))
        if not self._may_admit():
            return None  # the list that is made when the lease is got leads here again
        task_type = self._mirror.types.get(key)
        made = None if task_type is None else self._manifest(task_type)
        self._count_failures(key, units)
        planned = warm.plan(
            _keeps(task_type),
            warm.template_of(made) if made else "",
            units,
            before=self._before.get(key, warm.Before()),
            now=self._clock(),
        )
        for unit in planned.recycle:
            await self._recycle(unit)
        if made is not None:
            for _ in range(planned.start):
                if not await self._start(key, made):
                    return warm.FIRST_PAUSE.total_seconds()
        if planned.look_at is None:
            return None
        return max(0.0, (planned.look_at - self._clock()).total_seconds())

    async def recycle_strays(self) -> None:
        """Delete the Jobs of pods that were taken and that no claim names, a list ago and now.

        A crash lies between the two writes, or a claim that came too late; or the task was deleted
        before the Job was its own.
        """
        strays = {
            pod.uid: pod
            for pod in self._mirror.taken_pods()
            if not pod.is_over or pod.job_uid in self._unadopted
            if not pod.is_deleting and not self._mirror.is_recorded(pod)
        }
        # Those that were just taken may yet be named.
        young = strays.keys() - self._strays
        self._taken = {claim: pod for claim, pod in self._taken.items() if pod.uid in young}
        for uid in strays.keys() - young if self._may_admit() else ():
            pod = strays[uid]
            if not await self._is_recorded_live(pod):
                job = await self._cluster.get_job(pod.task.sibling(pod.job_name), now=self._clock())
                if job.exists and job.uid == pod.job_uid:
                    await self._cluster.delete_job(job)
        self._strays = set(strays)

    async def _is_recorded_live(self, pod: pods.Pod) -> bool:
        try:
            return runs.names_pod(await self._cluster.get_task(pod.task), pod.uid)
        except errors.NotFound:
            return False

    async def _start(self, key: ObjectKey, made: cluster.Raw) -> bool:
        """Start one more; tell whether it was."""
        meta = made["metadata"] | {"name": _new_name(key.name)}
        now = self._clock()
        try:
            await self._check_secrets(key, self._secrets_of(key))
            job = await self._cluster.create_job({**made, "metadata": meta}, now=now)
        except errors.NoRight:
            raise
        except (errors.Rejected, errors.Forbidden) as error:
            _logger.warning("Could not start ahead", extra={"type": key.name, "cause": str(error)})
            self._note_failure(key)
            return False
        self._jobs[job.uid] = job
        return True

    async def _recycle(self, unit: warm.Unit) -> None:
        pod = unit.pod
        if pod is not None and pod.warm and not pod.is_over and not pod.is_deleting:
            try:
                await self._cluster.change_pod(pod, warm.dropping(pod))
            except (errors.Rejected, errors.Conflict):
                # Somebody has just taken it: it is theirs.
                self._forget(unit.job.uid)
                return
            except errors.NotFound:
                pass
        await self._cluster.delete_job(unit.job)
        self._forget(unit.job.uid)

    def _units(self, key: ObjectKey) -> list[warm.Unit]:
        task_type = self._mirror.types.get(key)
        stays = warm.tolerates_cordons(task_type.spec.placement if task_type else None)
        leaving = frozenset() if stays else self._nodes.cordoned
        return [
            warm.Unit(job, pod, is_leaving=pod is not None and pod.node in leaving)
            for job in self._jobs.values()
            if job.key.sibling(job.warm) == key
            for pod in (self._pods.get(job.uid),)
        ]

    def _manifest(self, task_type: v1alpha1.LongTaskType) -> cluster.Raw:
        """Return what a Job of it is made of; each claim asks."""
        key = key_of(task_type)
        if key not in self._made:
            made = warm.manifest(task_type, self._installation, self._surroundings)
            self._made[key] = made
        return self._made[key]

    def _secrets_of(self, key: ObjectKey) -> Iterable[str]:
        task_type = self._mirror.types.get(key)
        return () if task_type is None else warm.spec_of(task_type, self._installation).secrets

    def _hand_over(self, job: pods.Job, pod: pods.Pod) -> None:
        """Let the mirror know the Job of a pod that is a task's now."""
        self._forget(job.uid)
        # Lists that were asked for before do not know it.
        known = dataclasses.replace(job, task_name=pod.task.name, checked_at=self._clock())
        self._mirror.put_job(known)
        self._mirror.put_pod(pod)

    def _forget(self, job_uid: str) -> None:
        self._jobs.pop(job_uid, None)
        self._pods.pop(job_uid, None)

    def _note_taken(self, key: ObjectKey) -> None:
        before = self._before.get(key, warm.Before())
        # One that was taken has waited as it should.
        self._before[key] = warm.Before(max(self._clock(), before.taken_at or self._clock()))
        self._wake([key])

    def _count_failures(self, key: ObjectKey, units: Iterable[warm.Unit]) -> None:
        for unit in units:
            if unit.has_failed and unit.job.uid not in self._failed:
                self._failed.add(unit.job.uid)
                self._note_failure(key)

    def _note_failure(self, key: ObjectKey) -> None:
        before = self._before.get(key, warm.Before())
        self._before[key] = dataclasses.replace(
            before, failed_at=self._clock(), failures=before.failures + 1
        )


def _is_same(before: v1alpha1.LongTaskType, after: v1alpha1.LongTaskType) -> bool:
    """Tell whether two states of a type say the same of its pods."""
    meta, other = before.metadata, after.metadata
    return (meta.uid, meta.generation) == (other.uid, other.generation)


def _keeps(task_type: v1alpha1.LongTaskType | None) -> v1alpha1.Warm | None:
    return task_type.spec.warm if task_type else None


def _type_of(pod: pods.Pod) -> ObjectKey:
    return pod.task.sibling(pod.warm)


def _new_name(type_name: str) -> str:
    return f"{type_name[:41]}-warm-{names.letters(random_bytes.token_bytes(5))}"

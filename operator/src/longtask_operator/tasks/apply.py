"""Carry out an effect: one at a time, safe to repeat after a crash; it returns the facts."""

import dataclasses
from collections.abc import Awaitable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from longtask_adapters.kube import errors, secrets
from longtask_adapters.kube.cache import key_of
from longtask_adapters.kube.connection import Connection
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import runs
from longtask_operator import cluster, mirror
from longtask_operator.rules import decisions, job_manifest, pod_spec, pods, status
from longtask_operator.tasks import courier, fetch

#: A Job is made only this soon after its claim was seen live, or the claim is read again: what
#: another operator did meanwhile nobody may have told us. Others leave it to us for longer.
_CLAIM_FRESH = timedelta(seconds=5)


class _Claim(NamedTuple):
    """A claimed task as it was seen live, whole, and when."""

    task: v1alpha1.LongTask
    seen_at: datetime | None  #: None: whose claim it is was not sure

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether it was made just now, by a clock that may have been set back."""
        return self.seen_at is not None and timedelta() <= now - self.seen_at <= _CLAIM_FRESH


class Applier:
    """Does what was decided."""

    def __init__(
        self,
        seen: mirror.Mirror,
        connection: Connection,
        kubernetes: cluster.Cluster,
        callbacks: courier.Courier,
        fetched: fetch.Fetcher,
        surroundings: pod_spec.Surroundings,
    ) -> None:
        self._mirror = seen
        self._connection = connection
        self._cluster = kubernetes
        self._callbacks = callbacks
        self._fetched = fetched
        self._surroundings = surroundings
        #: By the task's uid, then by the Job's name: what still needs its Job.
        self._claims: dict[str, dict[str, _Claim]] = {}
        seen.tasks.on_change(self._task_changed)

    def _task_changed(
        self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None
    ) -> None:
        claims = self._claims.get(before.metadata.uid) if before is not None else None
        if before is None or claims is None:
            return
        is_same = after is not None and after.metadata.uid == before.metadata.uid
        wanted = _jobs_wanted(after) if after is not None and is_same else set()
        for job_name in claims.keys() - wanted:
            del claims[job_name]
        if not claims:
            del self._claims[before.metadata.uid]

    def note_claims(
        self, before: v1alpha1.LongTask, after: v1alpha1.LongTask, *, now: datetime | None
    ) -> None:
        """Remember what a write of ours claimed, if it claimed something.

        Args:
            before: The task as it was.
            after: It as it is stored now, whole.
            now: When it was written; None if it is not sure that we did so.
        """
        for job_name in _jobs_wanted(after) - _jobs_wanted(before):
            self._note_claim(after, job_name, now)

    def has_claim(self, task: v1alpha1.LongTask, job_name: str) -> bool:
        """Tell whether a claim was seen live here, and no Job of that name since."""
        return job_name in self._claims.get(task.metadata.uid, ())

    def _note_claim(self, task: v1alpha1.LongTask, job_name: str, now: datetime | None) -> None:
        if self._is_there(task):
            self._claims.setdefault(task.metadata.uid, {})[job_name] = _Claim(task, now)

    def _claim_of(self, world: decisions.World) -> _Claim | None:
        return self._claims.get(world.task.metadata.uid, {}).get(world.job_name)

    async def apply(
        self, world: decisions.World, effect: decisions.Effect, *, now: datetime
    ) -> status.Delivered | status.Kept | None:
        """Carry out an effect; return what it brought that is to be recorded, if it did by now."""
        match effect:
            case decisions.CreateJob(attempt):
                await self._create_job(world, attempt, now)
            case decisions.CheckJob(job_name):
                await self._check_job(key_of(world.task).sibling(job_name), now)
            case decisions.CheckPod(pod):
                cause = await self._cluster.why_no_start(pod)
                self._mirror.note_events(pod, cause, read_at=now)
            case decisions.StopPod(pod):
                await self._cluster.stop_pod(pod)
                self._mirror.put_pod(dataclasses.replace(pod, is_stopping=True))
            case decisions.AdoptPod(pod):
                await self._cluster.adopt_pod(pod, job_manifest.owner_reference(world.task))
                self._mirror.put_pod(dataclasses.replace(pod, is_orphan=False))
            case decisions.AdoptJob(job):
                await self._adopt_job(world, job, now)
            case decisions.LimitPod(pod, seconds):
                await self._cluster.limit_pod(pod, seconds)
                self._mirror.put_pod(dataclasses.replace(pod, deadline=seconds))
            case decisions.DeleteJob(job):
                deleted = dataclasses.replace(job, is_deleting=True)
                await self._settle(self._cluster.delete_job(job), deleted, now)
            case decisions.ReleaseJob(job):
                released = dataclasses.replace(job, is_released=True)
                await self._settle(self._cluster.release_job(job), released, now)
            case decisions.Keep(recipe):
                return status.Kept(effect, await self._fetched.keep(world.task, recipe))
            case decisions.SendCallback(entry):
                return self._callbacks.deliver(world.task, entry)
            case unexpected:
                assert_never(unexpected)
        return None

    async def sweep(self, task: ObjectKey, *, now: datetime) -> None:
        """Delete the Jobs of a task that is gone, where nobody else does.

        Garbage collection does so while a Job names its owner, and `--cascade=orphan` takes that
        away. One that was started ahead names its type until it becomes the task's.
        """
        for job in self._mirror.orphans_of(task):
            # Not on the word of a picture: the task may just not have been heard of.
            if not job.is_deleting and not await self._cluster.is_there(task):
                deleted = dataclasses.replace(job, is_deleting=True)
                await self._settle(self._cluster.delete_job(job), deleted, now)

    async def _create_job(self, world: decisions.World, attempt: int, now: datetime) -> None:
        uid = world.task.metadata.uid
        claim = self._claim_of(world)
        if claim is None or not claim.is_fresh(now):
            fresh = await self._cluster.get_task(key_of(world.task))
            self._mirror.tasks.put(fresh)
            if fresh.metadata.uid != uid or not _is_as_seen(fresh, world):
                return  # it went on meanwhile: decide again
            self._note_claim(fresh, world.job_name, now)
            claim = self._claim_of(world)
            if claim is None:
                return  # deleted meanwhile
        manifest = job_manifest.build(
            # A pipeline that has its place is kept whole, and its program's input is filled in.
            world.task if world.run else claim.task,
            world.spec,
            attempt=attempt,
            surroundings=self._surroundings,
            run=world.run,
            files=world.files,
        )
        key = key_of(world.task).sibling(world.job_name)
        try:
            await self.check_secrets(key, world.spec.secrets)
            job = await self._cluster.create_job(manifest, now=now)
        except errors.AlreadyExists:
            job = await self._cluster.get_job(key, now=now)
        except errors.Unavailable:
            # It may have been made, and be gone again with its task: the claim is read once more.
            self._note_claim(claim.task, world.job_name, None)
            raise
        except errors.NoRight:
            raise  # ours, and no fault of the task's
        except (errors.Rejected, errors.Forbidden) as error:
            job = _refused(key, str(error), now)
        self._mirror.put_job(job)
        if job.exists:
            self._claims.get(uid, {}).pop(world.job_name, None)

    async def _adopt_job(self, world: decisions.World, job: pods.Job, now: datetime) -> None:
        """Have a Job that was started ahead belong to the task."""
        owner = job_manifest.owner_reference(world.task) | {"blockOwnerDeletion": True}
        attempt = (world.task.status.attempts or [])[-1].number
        labels = job_manifest.labels_of(world.task, world.queue, attempt, world.run)
        try:
            meta = {"labels": labels, "ownerReferences": [owner]}
            adopted = await self._cluster.adopt_job(job, meta, now=now)
        except (errors.NotFound, errors.Conflict):
            adopted = await self._cluster.get_job(job.key, now=now)
        self._mirror.put_job(adopted)

    async def check_secrets(self, pod_key: ObjectKey, wanted: Iterable[str]) -> None:
        """Let only labelled Secrets into a pod of that namespace, or a task could read any."""
        for name in sorted(wanted):
            try:
                secret = await secrets.read(self._connection, pod_key.sibling(name))
                labelled = secret.labels.get(names.ENV_SECRET_LABEL) == "true"
            except errors.NotFound:
                labelled = False
            if not labelled:
                # The same words for both: nobody is to learn here which Secrets there are.
                raise errors.Rejected(
                    f'there is no Secret {name} with the label {names.ENV_SECRET_LABEL}: "true"'
                )

    async def _settle(self, write: Awaitable[None], after: pods.Job, now: datetime) -> None:
        try:
            await write
        except errors.Conflict:
            # Another Job has the name by now: without a look the same would be tried for ever.
            after = await self._cluster.get_job(after.key, now=now)
        self._mirror.put_job(after)

    async def _check_job(self, key: ObjectKey, now: datetime) -> None:
        job = await self._cluster.get_job(key, now=now)
        if job.exists and not job.is_finished:
            known = self._mirror.job(key)
            looks = known.looks if known is not None and known.uid == job.uid else 0
            why = await self._cluster.why_no_pod(job)
            if self._mirror.job(key) is not known:
                return  # a list that came meanwhile is newer
            job = dataclasses.replace(job, refusal=why, looks=looks + 1)
        self._mirror.put_job(job)

    def _is_there(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether it was not deleted meanwhile: nobody would tell us so again."""
        known = self._mirror.tasks.get(key_of(task))
        return known is not None and known.metadata.uid == task.metadata.uid


def _jobs_wanted(task: v1alpha1.LongTask) -> set[str]:
    """Return the names of the Jobs of what was claimed, and of which no Job was heard yet."""
    return {
        run.job_name
        for run in runs.of(task)
        if not run.is_over and run.last.finished_at is None and run.last.job_uid is None
    }


def _is_as_seen(fresh: v1alpha1.LongTask, world: decisions.World) -> bool:
    """Tell whether nothing was changed since: not where its program is, nor what is wanted."""
    status = runs.as_task(fresh, world.run).status if world.run else fresh.status
    wanted, seen = fresh.metadata.generation, world.task.metadata.generation
    return status == world.task.status and wanted == seen


def _refused(key: ObjectKey, message: str, now: datetime) -> pods.Job:
    message = f"the Job was refused: {message}"[: names.MESSAGE_MAX]
    return pods.Job(key.namespace, key.name, checked_at=now, exists=False, refusal=message)

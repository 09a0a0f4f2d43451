"""Carry out a decision: at most one effect, and safe to repeat after a crash."""

import dataclasses
import time
from collections.abc import Awaitable
from datetime import datetime

from longtask_crds import delivery, events, names, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator import (
    callbacks,
    cluster,
    decision,
    errors,
    job_manifest,
    keys,
    mirror,
    pods,
    status,
)

#: A Job is made only this soon after its claim was seen live, or the claim is read again.
_CLAIM_FRESH_SECONDS = 30.0


class Applier:
    """Does what was decided."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        sender: callbacks.Sender,
        key_ring: keys.KeyRing,
        surroundings: job_manifest.Surroundings,
        schedule: tuple[int, ...],
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._sender = sender
        self._keys = key_ring
        self._surroundings = surroundings
        self._schedule = schedule
        self._claims: dict[tuple[str, int], float] = {}

    def note_claim(self, task: v1alpha1.LongTask) -> None:
        """Remember that the task's claim was just seen live."""
        self._claims[task.metadata.uid, task.status.attempt or 0] = time.monotonic()

    async def apply(
        self, world: decision.World, decided: decision.Decision, *, now: datetime
    ) -> status.Delivered | None:
        """Carry out a decision; return what became of a callback, if it sent one."""
        match decided:
            case decision.CreateJob(attempt):
                await self._create_job(world, attempt, now)
            case decision.CheckJob(job_name):
                await self._check_job(job_name, now)
            case decision.StopPod(pod):
                await self._cluster.stop_pod(pod)
                self._mirror.put_pod(dataclasses.replace(pod, is_stopping=True))
            case decision.DeleteJob(job):
                deleted = dataclasses.replace(job, is_deleting=True)
                await self._settle(self._cluster.delete_job(job), deleted, now)
            case decision.ReleaseJob(job):
                released = dataclasses.replace(job, is_released=True)
                await self._settle(self._cluster.release_job(job), released, now)
            case decision.SendCallback(entry):
                return await self._send(world.task, entry, now)
            case _:
                pass
        return None

    async def _create_job(self, world: decision.World, attempt: int, now: datetime) -> None:
        task = world.task
        claim = (task.metadata.uid, attempt)
        if time.monotonic() - self._claims.get(claim, float("-inf")) > _CLAIM_FRESH_SECONDS:
            fresh = await self._cluster.get_task(task.metadata.name)
            self._mirror.put_task(fresh)
            if fresh.metadata.uid != task.metadata.uid or fresh.status != task.status:
                return  # it went on meanwhile: decide again
            self.note_claim(fresh)
        manifest = job_manifest.build(
            task, world.spec, attempt=attempt, surroundings=self._surroundings
        )
        name = manifest["metadata"]["name"]
        try:
            await self._check_env_secrets(world)
            job = await self._cluster.create_job(manifest, now=now)
        except errors.AlreadyExists:
            job = await self._cluster.get_job(name, now=now)
        except errors.Rejected as error:
            job = _refused(name, str(error), now)
        self._mirror.jobs[name] = job
        self._claims.pop(claim, None)

    async def _check_env_secrets(self, world: decision.World) -> None:
        """Let only labelled Secrets into the environment, or a task could read any."""
        for name in {v.secret_ref.name for v in world.spec.env if v.secret_ref is not None}:
            try:
                secret = await self._cluster.get_secret(name)
            except errors.NotFound as error:
                raise errors.Rejected(f"there is no Secret {name}") from error
            if secret.labels.get(names.ENV_SECRET_LABEL) != "true":
                raise errors.Rejected(
                    f'the Secret {name} has no label {names.ENV_SECRET_LABEL}: "true"'
                )

    async def _settle(self, write: Awaitable[None], after: pods.Job, now: datetime) -> None:
        try:
            await write
        except errors.Conflict:
            # Another Job has the name by now: without a look the same would be tried for ever.
            after = await self._cluster.get_job(after.name, now=now)
        self._mirror.jobs[after.name] = after

    async def _check_job(self, job_name: str, now: datetime) -> None:
        job = await self._cluster.get_job(job_name, now=now)
        if job.exists and not job.is_finished:
            refusal = await self._cluster.why_no_pod(job)
            job = dataclasses.replace(job, refusal=refusal)
        self._mirror.jobs[job_name] = job

    async def _send(
        self, task: v1alpha1.LongTask, entry: v1alpha1.CallbackStatus, now: datetime
    ) -> status.Delivered:
        to = task.spec.callback
        if to is None:
            raise ValueError("an outbox entry without a callback")
        try:
            signing = await self._keys.keys_for(task, now=now)
        except keys.KeyUnavailable:
            made = delivery.Try(at=now, problem=delivery.Problem.SECRET_UNUSABLE)
        else:
            made = await self._sender.send(
                to.url,
                webhook_id=entry.id,
                body=events.body(task, entry.event),
                keys=signing,
                headers=to.headers or {},
            )
        after, reason = delivery.after(entry, made, schedule=self._schedule)
        if made.problem is delivery.Problem.SECRET_UNUSABLE:
            reason = Reason.SECRET_UNUSABLE
        return status.Delivered(after, reason)


def _refused(name: str, message: str, now: datetime) -> pods.Job:
    message = f"the Job was refused: {message}"[: names.MESSAGE_MAX]
    return pods.Job(name=name, checked_at=now, exists=False, refusal=message)

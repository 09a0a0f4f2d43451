"""Give what a write claims the pods that wait for it: they are taken before they are named."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from longtask_adapters.kube.cache import key_of
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import inputs, runs
from longtask_operator import mirror
from longtask_operator.rules import decisions, job_manifest, pods, status, warm
from longtask_operator.tasks import fetch, news, observe
from longtask_operator.warm import pool

T = TypeVar("T")

#: So long a write waits for what the steps that it claims take of results, in seconds.
_PATIENCE = 2.0


@dataclasses.dataclass(frozen=True)
class _Claimed:
    """A program of which an attempt is to be claimed, and whose type keeps warm pods."""

    run: str  #: its name; empty for that of a plain task
    attempt: int
    type: ObjectKey
    before: v1alpha1.LongTask  #: its task, or it as if it were one, as it was
    world: decisions.World  #: what is known of it


class Claims:
    """Says of each program that a write claims how it begins."""

    def __init__(
        self,
        seen: mirror.Mirror,
        observer: observe.Observer,
        fetched: fetch.Fetcher,
        ahead: pool.Pool,
    ) -> None:
        self._mirror = seen
        self._observer = observer
        self._fetched = fetched
        self._patience = _PATIENCE
        self._ahead = ahead

    async def provided(
        self, world: decisions.World, after: v1alpha1.LongTaskStatus
    ) -> v1alpha1.LongTaskStatus:
        """Return a status that is to be written, with the pods that what it claims has taken.

        All take theirs at the same time; those for whom none waits begin cold.

        Args:
            world: What is known of the task.
            after: The status, which may claim nothing.

        Raises:
            ClusterError: It is not known which pods were taken: nothing may be written.
        """
        task = world.task.model_copy(update={"status": after})
        claimed = [one for one in news.of(world.task, task).attempts if one.is_claimed]
        found = [
            _Claimed(one.run, one.attempt.number, kind, before, world)
            for one in claimed
            if (kind := self._type_of(before := _program(world.task, one.run))) is not None
        ]
        if world.task.spec.steps and found:
            found = await self._observed(task, found, world.parts)
        # What can never run needs no pod.
        able = [one for one in found if one.world.refusal is None or not one.run]
        begun = await together([self._begin(one) for one in able])
        for one, (start, pod) in zip(able, begun, strict=True):
            after = status.with_start(after, one.run, start, pod)
        return after

    def _type_of(self, program: v1alpha1.LongTask) -> ObjectKey | None:
        """Return the type of a program if that keeps pods waiting."""
        key = key_of(program).sibling(program.spec.type or "")
        return key if program.spec.type and self._ahead.keeps(key) else None

    async def _observed(
        self, task: v1alpha1.LongTask, found: Sequence[_Claimed], parts: inputs.Parts
    ) -> list[_Claimed]:
        """Return the programs of a pipeline with what is known of them once they are claimed.

        What they take from a step that has just ended may have to be fetched: their inputs are
        judged before a pod is taken.
        """
        seen = [self._with_world(task, one, parts) for one in found]
        if all(one.world.is_input_known for one in seen):
            return seen
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                parts = (await self._fetched.parts_for(task)).known
        return [self._with_world(task, one, parts) for one in found]

    def _with_world(self, task: v1alpha1.LongTask, one: _Claimed, parts: inputs.Parts) -> _Claimed:
        run, task_type = runs.named(task, one.run), self._mirror.types.get(one.type)
        if run is None or task_type is None:
            raise LookupError("it was there a moment ago")
        types = {one.type.name: task_type.spec}
        seen = self._observer.of_run(task, run, None, types, parts)
        return dataclasses.replace(one, world=seen)

    async def _begin(self, one: _Claimed) -> tuple[v1alpha1.Start, pods.Pod | None]:
        """Return how a program begins: with a pod, or why without."""
        attempts, seen = one.before.status.attempts, one.world
        hindrance = warm.hindrance(
            one.before.spec,
            attempts[-1] if attempts else None,
            takes_files=bool(seen.files),
            is_input_known=seen.is_input_known,
        )
        if hindrance is not None:
            return hindrance, None
        labels = job_manifest.labels_of(seen.task, seen.queue, one.attempt, one.run)
        claim = pool.Claim(seen.task.metadata.uid, one.run, one.attempt)
        pod = await self._ahead.take(one.type, claim, labels, seen.spec.limits)
        return v1alpha1.Start.NONE_IDLE if pod is None else v1alpha1.Start.WARM, pod


def _program(task: v1alpha1.LongTask, run: str) -> v1alpha1.LongTask:
    return runs.as_task(task, run) if run else task


async def together(errands: Sequence[Awaitable[T]]) -> list[T]:
    """Return what errands bring that are run at the same time; each is seen to its end.

    Raises:
        BaseException: What one of them raised.
    """
    if len(errands) < 2:
        return [await one for one in errands]
    done = await asyncio.gather(*errands, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
    return [one for one in done if not isinstance(one, BaseException)]

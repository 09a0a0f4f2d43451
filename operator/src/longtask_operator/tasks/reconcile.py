"""Move one task one step closer to its spec: observe, decide, apply, write the status once."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import assert_never

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_operator import cluster, metrics, mirror
from longtask_operator.rules import decide, decisions, status
from longtask_operator.tasks import announce, apply, claims, observe

#: What keeps one task from its start keeps all others too.
_NOBODYS_FAULT = (errors.Unavailable, errors.TooManyRequests, errors.NoRight)


class Reconciler:
    """Every wake-up leads here; the work queue sees to it that a task has one pass at a time."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        observer: observe.Observer,
        applier: apply.Applier,
        announcer: announce.Announcer,
        counted: metrics.Metrics,
        clock: Callable[[], datetime],
        claimed: claims.Claims,
    ) -> None:
        self._claims = claimed
        self._mirror = seen
        self._cluster = kubernetes
        self._observer = observer
        self._applier = applier
        self._announcer = announcer
        self._metrics = counted
        self._clock = clock
        self._in_doubt: set[ObjectKey] = set()  #: claims of which no answer came
        self._held_back: dict[ObjectKey, set[str]] = {}  #: programs for which something went wrong

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Do the next step for a task; return after how many seconds to look again, or None.

        Raises:
            ClusterError: The step was not done, or not known to be done.
        """
        self._mirror.tell_time(self._clock())
        await self._clear_up(key)
        self._mirror.index.release(key)
        try:
            with self._metrics.pass_time.time():
                return await self._look(key)
        except Exception as error:
            self._metrics.pass_errors.labels(_kind(error)).inc()
            if not isinstance(error, _NOBODYS_FAULT):
                # While the work queue lets it rest, the next one in line has its turn.
                self._mirror.hold_back(key)
            raise

    async def _clear_up(self, key: ObjectKey) -> None:
        """Learn what became of a claim before anybody else may have its place."""
        if key in self._in_doubt:
            if (task := self._mirror.tasks.get(key)) is not None:
                await self._refresh(task)
                if (found := self._mirror.tasks.get(key)) is not None:
                    self._applier.note_claims(task, found, now=None)
            self._in_doubt.discard(key)

    async def _look(self, key: ObjectKey) -> float | None:
        task = self._mirror.tasks.get(key)
        if task is None or task.is_finished:
            self._held_back.pop(key, None)
        if task is None:
            await self._applier.sweep(key, now=self._clock())
            return None
        try:
            return await self._step(task)
        except errors.Conflict:
            # Somebody wrote first, mostly a progress report: look again at what is there now.
            self._metrics.conflicts.inc()
            await self._refresh(task)
            return 0.0
        except errors.NotFound:
            await self._refresh(task)
            if self._mirror.tasks.get(key) is not None:
                raise
            return None  # deleted meanwhile

    async def _step(self, task: v1alpha1.LongTask) -> float | None:
        world = await self._observed(task)
        decided = decide.decide(world, now=self._clock())
        match decisions.needs_proof(decided, world):
            case None:
                return await self._carry_out(world, decided)
            case decisions.Proof.TASK:
                # Nobody else gets the place meanwhile.
                with self._reserved(key_of(task)):
                    task = await self._cluster.get_task(key_of(task))
                    self._mirror.tasks.put(task)
                    return await self._decide_and_carry_out(task, is_live=True)
            case decisions.Proof.JOB_AND_PODS:
                subject = decided
                if isinstance(subject, decisions.Keep):
                    subject = subject.of_run or subject
                about = subject.world if isinstance(subject, decisions.OfRun) else world
                await self._look_at_the_attempt(about.task)
                return await self._decide_and_carry_out(task)
            case unexpected:
                assert_never(unexpected)

    async def _decide_and_carry_out(
        self, task: v1alpha1.LongTask, *, is_live: bool = False
    ) -> float | None:
        world = await self._observed(task, is_live=is_live)
        return await self._carry_out(world, decide.decide(world, now=self._clock()))

    async def _observed(self, task: v1alpha1.LongTask, *, is_live: bool = False) -> decisions.World:
        world = await self._observer.observe(task, is_live=is_live)
        held = self._held_back.get(key_of(task))
        return dataclasses.replace(world, held_back=frozenset(held)) if held else world

    @contextlib.contextmanager
    def _reserved(self, key: ObjectKey) -> Iterator[None]:
        self._mirror.index.reserve(key)
        try:
            yield
        except errors.Unavailable:
            # It may be claimed: the place is kept until the next pass has looked.
            self._in_doubt.add(key)
            raise
        except BaseException:
            self._mirror.index.release(key)  # who goes on instead is for `reconcile` to say
            raise
        self._mirror.release(key)

    async def _look_at_the_attempt(self, task: v1alpha1.LongTask) -> None:
        """Take over what the API server says now of the last attempt's Job and pods."""
        key = key_of(task)
        attempt = (task.status.attempts or [])[-1]
        job = await self._cluster.get_job(key.sibling(attempt.job_name), now=self._clock())
        self._mirror.put_job(job)
        # After the Job: of one that has finished, the pod is there by now, or was removed.
        version, found = await self._cluster.pods_of(key)
        self._mirror.absorb_pods_of(key, found, version)

    async def _carry_out(self, world: decisions.World, decided: decisions.Decision) -> float | None:
        if isinstance(decided, decisions.Wait):
            if decided.until is None:
                return None
            self._mirror.note_timer(key_of(world.task))
            return max(0.0, (decided.until - self._clock()).total_seconds())
        news: status.News | None
        about, step = (
            (decided.world, decided.decided)
            if isinstance(decided, decisions.OfRun)
            else (world, decided)
        )
        if isinstance(step, decisions.Write):
            news = decided if isinstance(decided, decisions.OfRun) else step
        else:
            news = await self._apply(key_of(world.task), about, step)
        self._metrics.steps.labels(type(step).__name__).inc()
        written = None if news is None else await self._record(world, news)
        if written is not None:
            self._mirror.tasks.put(written)
            self._applier.note_claims(world.task, written, now=self._clock())
            await self._announcer.announce(world.task, written, now=self._clock())
            if isinstance(decided, decisions.Enqueue) and self._mirror.is_settled(
                key_of(world.task)
            ):
                return None  # of ten thousand who wait, each is spared a look
        return 0.0

    async def _apply(
        self, key: ObjectKey, about: decisions.World, step: decisions.Effect
    ) -> status.Delivered | status.Kept | None:
        """Carry out an effect; one that fails for a program comes after those of its siblings."""
        try:
            news = await self._applier.apply(about, step, now=self._clock())
        except Exception:
            if about.run:
                self._held_back.setdefault(key, set()).add(about.run)
            raise
        self._held_back.get(key, set()).discard(about.run)
        return news

    async def _record(self, world: decisions.World, news: status.News) -> v1alpha1.LongTask | None:
        """Write the news, unless the status says so already, and return what was stored."""
        after = status.next_status(
            world.task, news, queue=world.queue, now=self._clock(), parts=world.parts
        )
        if after == world.task.status:
            return None
        after = await self._claims.provided(world, after)
        return await self._cluster.write_status(world.task, after)

    async def _refresh(self, task: v1alpha1.LongTask) -> None:
        key = key_of(task)
        try:
            self._mirror.tasks.put(await self._cluster.get_task(key))
        except errors.NotFound:
            self._mirror.tasks.remove(key, task.metadata.uid)


def _kind(error: Exception) -> str:
    """Return what names an error in the metrics."""
    return type(error).__name__ if isinstance(error, errors.ClusterError) else "Unforeseen"

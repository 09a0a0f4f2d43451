"""Move one task one step closer to its spec: observe, decide, apply, write the status once."""

import logging
from collections.abc import Callable
from datetime import datetime

from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import ConditionType, Reason
from longtask_crds.v1alpha1.conditions import find
from longtask_operator import apply, cluster, decision, errors, metrics, mirror, observe, status

_logger = logging.getLogger(__name__)


class Reconciler:
    """Every wake-up leads here; the work queue sees to it that a task has one pass at a time."""

    def __init__(
        self,
        seen: mirror.Mirror,
        kubernetes: cluster.Cluster,
        observer: observe.Observer,
        applier: apply.Applier,
        clock: Callable[[], datetime],
    ) -> None:
        self._mirror = seen
        self._cluster = kubernetes
        self._observer = observer
        self._applier = applier
        self._clock = clock
        #: Called with the names of tasks that may start because this one made room.
        self.wake: Callable[[str], None] = lambda _name: None

    async def reconcile(self, name: str) -> float | None:
        """Do the next step for a task; return after how many seconds to look again, or None.

        Raises:
            ClusterError: The step was not done, or not known to be done.
        """
        task = self._mirror.tasks.get(name)
        if task is None:
            return None
        try:
            return await self._step(task)
        except errors.Conflict:
            # Somebody wrote first, mostly a progress report: look again at what is there now.
            metrics.CONFLICTS.inc()
            await self._refresh(task)
            return 0.0
        except errors.NotFound:
            await self._refresh(task)
            if name in self._mirror.tasks:
                raise
            return None  # deleted meanwhile

    async def _step(self, task: v1alpha1.LongTask) -> float | None:
        world = await self._observer.observe(task)
        decided = decision.decide(world, now=self._clock())
        if isinstance(decided, decision.Claim):
            return await self._claim(task)
        if (
            isinstance(decided, decision.Finish)
            and task.status.attempts
            and decided.outcome.exit_code is None
        ):
            # Its program said nothing: the mirror may just not have heard it.
            await self._look(task)
            world = await self._observer.observe(task)
            decided = decision.decide(world, now=self._clock())
        return await self._carry_out(world, decided)

    async def _look(self, task: v1alpha1.LongTask) -> None:
        """Take over what the API server says now of the last attempt's Job and pods."""
        attempt = (task.status.attempts or [])[-1]
        job = await self._cluster.get_job(attempt.job_name, now=self._clock())
        self._mirror.jobs[job.name] = job
        # After the Job: of one that has finished, the pod is there by now, or was removed.
        at, found = await self._cluster.pods_of(task)
        self._mirror.absorb_pods_of(task.metadata.name, found, at)

    async def _claim(self, task: v1alpha1.LongTask) -> float | None:
        """Claim on what the API server says now, never on the mirror's word."""
        name = task.metadata.name
        self._mirror.reserved.add(name)
        try:
            task = await self._cluster.get_task(name)
            self._mirror.put_task(task)
            world = await self._observer.observe(task)
            return await self._carry_out(world, decision.decide(world, now=self._clock()))
        finally:
            self._mirror.reserved.discard(name)

    async def _carry_out(self, world: decision.World, decided: decision.Decision) -> float | None:
        if isinstance(decided, decision.Wait):
            if decided.until is None:
                return None
            return max(0.0, (decided.until - self._clock()).total_seconds())
        task = world.task
        delivered = await self._applier.apply(world, decided, now=self._clock())
        metrics.STEPS.labels(type(decided).__name__).inc()
        written = await self._record(world, decided, delivered)
        if written is not None:
            self._mirror.put_task(written)
            if isinstance(decided, decision.Claim):
                self._applier.note_claim(written)
            await self._announce(task, written, world.spec.queue)
        return 0.0

    async def _record(
        self,
        world: decision.World,
        decided: decision.Decision,
        delivered: status.Delivered | None,
    ) -> v1alpha1.LongTask | None:
        """Write what the decision leads to, if it changes anything, and return what was stored."""
        task, queue = world.task, world.spec.queue
        while True:
            after = status.next_status(task, decided, delivered, queue=queue, now=self._clock())
            if after == task.status:
                return None
            try:
                return await self._cluster.write_status(task, after)
            except errors.Conflict:
                if delivered is None:
                    raise
                # What was sent was sent: it is recorded on top of whatever came between.
                metrics.CONFLICTS.inc()
                task = await self._cluster.get_task(task.metadata.name)
                self._mirror.put_task(task)
                same = task.metadata.uid == world.task.metadata.uid
                if not same or task.status.callback != world.task.status.callback:
                    return None  # this try, or a later one, stands there already

    async def _announce(
        self, before: v1alpha1.LongTask, after: v1alpha1.LongTask, queue: str
    ) -> None:
        """Tell those who are concerned: other tasks, the log, the metrics, and people in need."""
        name = after.metadata.name
        if after.is_finished and not before.is_finished:
            phase = after.status.phase
            metrics.FINISHED.labels(str(phase)).inc()
            _logger.info("Finished", extra={"task": name, "phase": phase})
            for other in self._mirror.may_start(queue):
                self.wake(other)
        for kind, bad, reason in (
            (ConditionType.STALLED, v1alpha1.ConditionStatus.TRUE, "Stalled"),
            (ConditionType.CALLBACK_DELIVERED, v1alpha1.ConditionStatus.FALSE, "CallbackFailed"),
        ):
            old = find(before.status.conditions, kind)
            new = find(after.status.conditions, kind)
            if new is None or new.status is not bad or new.reason == Reason.DELIVERING:
                continue
            if old is None or (old.status, old.reason) != (new.status, new.reason):
                try:
                    await self._cluster.warn(after, reason, f"{new.reason}: {new.message}")
                except errors.ClusterError as error:
                    _logger.warning(
                        "Could not post an Event", extra={"task": name, "cause": str(error)}
                    )

    async def _refresh(self, task: v1alpha1.LongTask) -> None:
        name, uid = task.metadata.name, task.metadata.uid
        try:
            self._mirror.put_task(await self._cluster.get_task(name))
        except errors.NotFound:
            self._mirror.drop_task(name, uid)

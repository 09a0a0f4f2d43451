"""Move one schedule to what its spec says: gather, decide, act, until there is nothing to do."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, assert_never

from longtask_adapters.kube import errors
from longtask_adapters.kube.cache import key_of
from longtask_crds import acceptance, address_guard, effective, json_values, names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import inputs
from longtask_crds.schedule import checks, runs
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions
from longtask_operator import cluster, metrics, mirror, results
from longtask_operator.rules import schedules
from longtask_operator.schedules import roster

_logger = logging.getLogger(__name__)

#: A task is made only this soon after its claim was seen live, or the schedule is read again.
_CLAIM_FRESH_SECONDS = 30.0
#: More than one pass ever takes: ten runs to make, ten to let go, and what is written between.
_MOST_STEPS = 60


class Reconciler:
    """Every wake-up of a schedule leads here; each has one pass at a time."""

    def __init__(
        self,
        seen: mirror.Mirror,
        known: roster.Roster,
        kubernetes: cluster.Cluster,
        kept: results.Results,
        installation: effective.Installation,
        guard: address_guard.Guard,
        counted: metrics.Metrics,
        clock: Callable[[], datetime],
        wake: Callable[[Iterable[ObjectKey]], None],
    ) -> None:
        """Work on the schedules of the mirror.

        Args:
            seen: What was seen of them, of their runs and types.
            known: Which runs there are.
            kubernetes: Where it is read and written.
            kept: Has the results that are not in the resources.
            installation: What the installation gives to tasks, and what none may exceed.
            guard: Where callbacks may go.
            counted: The numbers.
            clock: Tells the time, in UTC.
            wake: Is told which tasks may have something to do.
        """
        self._mirror = seen
        self._roster = known
        self._cluster = kubernetes
        self._results = kept
        self._installation = installation
        self._guard = guard
        self._metrics = counted
        self._clock = clock
        self._wake = wake
        self._fresh: dict[str, float] = {}  #: by uid: when its status was seen live, monotonic
        self._waits: dict[ObjectKey, datetime | None] = {}  #: until when there is nothing to do
        seen.schedules.on_change(self._schedule_changed)

    def to_look_at(self) -> list[ObjectKey]:
        """Return the schedules for which there may be something to do though nothing changed.

        Those that nobody looked at since the start, and those whose time has come without the work
        queue's saying so: its timers do not know of a wall clock that is set forward.
        """
        now = self._clock()
        return [
            key
            for key in map(key_of, self._mirror.schedules.values())
            if key not in self._waits or ((at := self._waits[key]) is not None and at <= now)
        ]

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Do all there is to do for a schedule; return after how many seconds to look again.

        Raises:
            ClusterError: Something was not done, or not known to be done.
        """
        self._waits.pop(key, None)
        try:
            return await self._look(key)
        except Exception as error:
            known = isinstance(error, errors.ClusterError)
            self._metrics.schedule_errors.labels(
                type(error).__name__ if known else "Unforeseen"
            ).inc()
            raise

    def _schedule_changed(
        self,
        before: v1alpha1.LongTaskSchedule | None,
        after: v1alpha1.LongTaskSchedule | None,
    ) -> None:
        if before is not None:
            # What no watch has told, the next resync looks at.
            self._waits.pop(key_of(before), None)
            if after is None or after.metadata.uid != before.metadata.uid:
                self._fresh.pop(before.metadata.uid, None)

    async def _look(self, key: ObjectKey) -> float | None:
        gone, refused = set[str](), dict[str, str]()
        for _ in range(_MOST_STEPS):
            schedule = self._mirror.schedules.get(key)
            if schedule is None:
                return None
            world = await self._observed(schedule, gone, refused)
            decided = schedules.decide(world, now=self._clock())
            if isinstance(decided, schedules.Wait):
                self._waits[key] = decided.until
                if decided.until is None:
                    return None
                return max(0.0, (decided.until - self._clock()).total_seconds())
            try:
                await self._carry_out(world, decided, gone, refused)
            except errors.Conflict:
                # Somebody wrote first: look at what is there now.
                self._metrics.conflicts.inc()
                await self._refresh(schedule)
            except errors.NotFound:
                await self._refresh(schedule)
        return 0.0

    async def _observed(
        self, schedule: v1alpha1.LongTaskSchedule, gone: set[str], refused: Mapping[str, str]
    ) -> schedules.World:
        violations = checks.findings(
            schedule,
            await self._types_of(schedule),
            self._installation,
            self._guard,
            now=self._clock(),
        )
        brought = {}
        # Also while no run can start: from what one brings that ends then, the next ones go on.
        if _takes_last_result(schedule):
            for name in schedule.status.active or ():
                task = self._mirror.tasks.get(key_of(schedule).sibling(name))
                if task is not None and task.status.result is not None:
                    brought[name] = task.status.result
        return schedules.World(
            schedule=schedule,
            runs=self._roster.of(schedule),
            violations=tuple(violations),
            gone=frozenset(gone),
            refused=refused,
            results=brought,
        )

    async def _types_of(
        self, schedule: v1alpha1.LongTaskSchedule
    ) -> dict[str, v1alpha1.LongTaskTypeSpec]:
        """Return the specs of the types that it names; one made just before is read live."""
        known = {}
        for name in acceptance.types_of(schedule.spec.task_template.spec):
            key = key_of(schedule).sibling(name)
            found = self._mirror.types.get(key)
            if found is None:
                try:
                    found = await self._cluster.get_type(key)
                except errors.NotFound:
                    continue
                self._mirror.types.put(found)
            known[name] = found.spec
        return known

    async def _carry_out(
        self,
        world: schedules.World,
        decided: schedules.Decision,
        gone: set[str],
        refused: dict[str, str],
    ) -> None:
        schedule = world.schedule
        match decided:
            case schedules.Write():
                self._took(await self._cluster.write_schedule(schedule, decided.status))
                await self._announce(schedule, decided)
            case schedules.Make(run):
                await self._make(schedule, run, refused)
            case schedules.Find(name):
                try:
                    task = await self._cluster.get_task(key_of(schedule).sibling(name))
                except errors.NotFound:
                    gone.add(name)
                    return
                self._took_task(task)
                if roster.owner_of(task) != schedule.metadata.uid:
                    gone.add(name)
            case schedules.Unask(annotation):
                self._mirror.schedules.put(
                    await self._cluster.annotate_schedule(
                        schedule, names.RUN_AT_ANNOTATION, annotation
                    )
                )
            case schedules.Cancel(run):
                await self._change(schedule, run, cancel=True)
            case schedules.Fade(run, ttl):
                await self._change(schedule, run, ttlSecondsAfterFinished=ttl)
            case schedules.Wait():
                pass
            case unexpected:
                assert_never(unexpected)

    async def _change(
        self, schedule: v1alpha1.LongTaskSchedule, run: schedules.Seen, **spec: bool | int
    ) -> None:
        key = key_of(schedule).sibling(run.name)
        try:
            self._took_task(await self._cluster.change_task(key, run.uid, **spec))
        except (errors.NotFound, errors.Conflict):
            self._mirror.tasks.remove(key, run.uid)  # deleted meanwhile

    async def _make(
        self,
        schedule: v1alpha1.LongTaskSchedule,
        run: v1alpha1.ScheduledRun,
        refused: dict[str, str],
    ) -> None:
        seen_at = self._fresh.get(schedule.metadata.uid)
        if seen_at is None or time.monotonic() - seen_at > _CLAIM_FRESH_SECONDS:
            await self._refresh(schedule)
            return  # it may have gone on meanwhile: decide again
        manifest = runs.task_of(
            schedule,
            run.scheduled_at,
            number=run.number,
            last_result=await self._last_result(schedule),
        )
        try:
            task = await self._cluster.create_task(manifest)
            _logger.info("Started a run", extra={"run": run.name, "number": run.number})
        except errors.AlreadyExists:
            task = await self._cluster.get_task(key_of(schedule).sibling(run.name))
            if roster.owner_of(task) != schedule.metadata.uid:
                refused[run.name] = "another task has that name"
        except errors.NoRight:
            raise  # ours, and no fault of the schedule's
        except (errors.Rejected, errors.Forbidden) as error:
            refused[run.name] = f"refused: {error}"
            return
        self._took_task(task)

    async def _last_result(self, schedule: v1alpha1.LongTaskSchedule) -> Any:
        """Return what the last run brought that succeeded; None if that is not there any more."""
        result = schedule.status.last_result
        if result is None or not runs.takes_last_result(schedule.spec.task_template.spec):
            return None
        if result.ref is None:
            return result.value
        key = inputs.PartKey(result.ref.task_uid or "", result.ref.sha256, json_values.pointer())
        part = await self._results.part(key)
        if part.flaw is not None:
            _logger.warning("The last result is not to be had", extra={"cause": part.flaw})
        return part.value

    async def _refresh(self, schedule: v1alpha1.LongTaskSchedule) -> None:
        key = key_of(schedule)
        try:
            self._took(await self._cluster.get_schedule(key))
        except errors.NotFound:
            self._mirror.schedules.remove(key, schedule.metadata.uid)

    def _took_task(self, task: v1alpha1.LongTask) -> None:
        """Take a task over that was seen live just now.

        The watch tells of it nothing new after that, so whoever works on tasks is told here.
        """
        self._mirror.tasks.put(task)
        self._wake([key_of(task)])

    def _took(self, schedule: v1alpha1.LongTaskSchedule) -> None:
        """Take a schedule over that was seen live just now."""
        self._mirror.schedules.put(schedule)
        self._fresh[schedule.metadata.uid] = time.monotonic()

    async def _announce(
        self, schedule: v1alpha1.LongTaskSchedule, written: schedules.Write
    ) -> None:
        """Tell those who are concerned. Nothing depends on whether it was heard."""
        now = self._clock()
        for at in written.due:
            self._metrics.run_delay.observe(max(0.0, (now - at).total_seconds()))
        self._metrics.runs.labels("due").inc(len(written.due))
        self._metrics.runs.labels("asked").inc(len(written.asked))
        passed_over = (written.status.skipped or 0) - (schedule.status.skipped or 0)
        self._metrics.skipped.inc(max(0, passed_over))
        if passed_over > 0:
            _logger.info("Passed over", extra={"times": passed_over})
        before = conditions.find(schedule.status.conditions, ConditionType.SUSPENDED)
        after = conditions.find(written.status.conditions, ConditionType.SUSPENDED)
        if after is None or after.reason != Reason.MAX_FAILURES:
            return
        if before is not None and before.reason == Reason.MAX_FAILURES:
            return
        self._metrics.suspended.inc()
        reason = v1alpha1.EventReason.SUSPENDED
        told = f"{after.reason}: {after.message}"
        try:
            await self._cluster.warn(schedule, reason, told, now=now)
        except errors.ClusterError as error:
            _logger.warning("Could not post an Event", extra={"cause": str(error)})


def _takes_last_result(schedule: v1alpha1.LongTaskSchedule) -> bool:
    try:
        return runs.takes_last_result(schedule.spec.task_template.spec)
    except RecursionError:  # it is refused, and never was any other
        return False

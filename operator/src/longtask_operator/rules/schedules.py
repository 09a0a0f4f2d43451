"""One schedule: from what there is to what is done next. Pure.

The order of writes is what keeps a time from having two runs. A run is claimed first, by one
guarded write that lists it and moves `lastScheduleTime` on; then its task is made, whose name is
the time; then its uid is recorded. What is listed without a uid is made, by whoever comes after a
crash; what has one never is again.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from longtask_crds import names, v1alpha1
from longtask_crds.acceptance import Violation
from longtask_crds.schedule import due, runs
from longtask_crds.schedule.times import Times
from longtask_crds.v1alpha1 import (
    ConditionStatus,
    ConditionType,
    Phase,
    Reason,
    conditions,
)
from longtask_crds.v1alpha1.conditions import Change

#: So long a run stays that the history limits no longer keep: the API archives it meanwhile, and
#: an operator that was stopped right before it would make a run finds it there.
_FADING = timedelta(seconds=60)
#: Clocks differ by less. A reset of a later time is a slip, or nobody could reset until then.
_AHEAD = timedelta(minutes=1)
_LISTED = 20
_SUCCEEDED, _OTHERS = 3, 1  #: history limits where the spec says none


@dataclasses.dataclass(frozen=True)
class Seen:
    """A task that the schedule owns, as it was seen last."""

    name: str
    uid: str
    scheduled_at: datetime
    number: int
    is_over: bool = False
    phase: Phase | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    ttl: int | None = None
    is_cancelled: bool = False

    @classmethod
    def of(cls, task: v1alpha1.LongTask) -> "Seen | None":
        """Return what counts of a task; None if its name is no run's."""
        scheduled_at = runs.time_of(task.metadata.name)
        if scheduled_at is None:
            return None
        number = task.metadata.annotations.get(names.RUN_NUMBER_ANNOTATION, "")
        return cls(
            name=task.metadata.name,
            uid=task.metadata.uid,
            scheduled_at=scheduled_at,
            number=int(number) if number.isdecimal() and len(number) < 10 else 0,
            is_over=task.is_finished,
            phase=task.phase if task.is_finished else None,
            started_at=task.status.started_at,
            finished_at=task.status.finished_at,
            error=runs.error_of(task),
            ttl=task.spec.ttl_seconds_after_finished,
            is_cancelled=bool(task.spec.cancel),
        )


@dataclasses.dataclass(frozen=True)
class World:
    """All that is known of a schedule."""

    schedule: v1alpha1.LongTaskSchedule
    runs: Mapping[str, Seen] = dataclasses.field(default_factory=dict)  #: by name
    violations: tuple[Violation, ...] = ()  #: what keeps it from ever starting a run
    gone: frozenset[str] = frozenset()  #: runs that were looked for, and are not there
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)  #: why it cannot be made
    #: What runs brought that have ended, where the template asks for it.
    results: Mapping[str, v1alpha1.Result] = dataclasses.field(default_factory=dict)


# --- what is done next ---


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing, until then."""

    until: datetime | None = None


@dataclasses.dataclass(frozen=True)
class Find:
    """Look whether a run is there: it should be, and was not heard of."""

    name: str


@dataclasses.dataclass(frozen=True)
class Make:
    """Make the task of a run that was claimed."""

    run: v1alpha1.ScheduledRun


@dataclasses.dataclass(frozen=True)
class Write:
    """Write the status."""

    status: v1alpha1.LongTaskScheduleStatus
    due: tuple[datetime, ...] = ()  #: times whose runs this claims because they are due
    asked: tuple[datetime, ...] = ()  #: likewise, because somebody asks for them


@dataclasses.dataclass(frozen=True)
class Unask:
    """Leave of the annotation what is still to be started."""

    annotation: str | None


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Cancel a run for the one that is due."""

    run: Seen


@dataclasses.dataclass(frozen=True)
class Fade:
    """Let a run go that the history limits no longer keep."""

    run: Seen
    ttl: int


Decision = Wait | Find | Make | Write | Unask | Cancel | Fade


def decide(world: World, *, now: datetime) -> Decision:
    """Return the next thing to do for a schedule."""
    schedule, status = world.schedule, world.schedule.status
    if schedule.metadata.deletion_timestamp is not None:
        return Wait()
    for name in _going_on(status):
        entry = _entry(status, name)
        if name in world.runs or name in world.gone or name in world.refused:
            continue
        # Of one that is listed without a uid nobody knows whether it was made: making it tells.
        return Make(entry) if entry is not None and entry.uid is None else Find(name)
    decided = _next_status(world, now)
    if decided.status != status:
        return decided
    if not world.violations:
        return _after_the_status(world, now)
    return Wait()


def _after_the_status(world: World, now: datetime) -> Decision:
    schedule = world.schedule
    wanted = runs.asking(set(runs.asked(schedule)) - _known(world))
    if wanted != schedule.metadata.annotations.get(names.RUN_AT_ANNOTATION):
        return Unask(wanted)
    now_due = due.of(schedule, now, known=_known(world))
    if now_due.replaces:
        for name in schedule.status.active or ():
            run = world.runs.get(name)
            if run is not None and not run.is_cancelled:
                return Cancel(run)
    for run in _forgotten(world):
        return Fade(run, int(_FADING.total_seconds()))
    return Wait(now_due.at)


def _forgotten(world: World) -> Iterator[Seen]:
    """Yield the runs that the history limits no longer keep, and that nobody has let go yet."""
    spec, active = world.schedule.spec, set(_going_on(world.schedule.status))
    ended = sorted(
        (run for run in world.runs.values() if run.is_over and run.name not in active),
        key=lambda run: run.scheduled_at,
        reverse=True,
    )
    for are_good, given, usual in (
        (True, spec.successful_jobs_history_limit, _SUCCEEDED),
        (False, spec.failed_jobs_history_limit, _OTHERS),
    ):
        kept = usual if given is None else given
        alike = [run for run in ended if (run.phase is Phase.SUCCEEDED) is are_good]
        for run in alike[kept:]:
            if run.ttl is None or run.ttl > _FADING.total_seconds():
                yield run


# --- the status ---


def _next_status(world: World, now: datetime) -> Write:
    """Return the status as it should be, and the runs that it claims."""
    schedule = world.schedule
    status = _reset(schedule, _recorded(world, _recovered(world, now)), now)
    status = status.model_copy(
        update={
            "observed_generation": schedule.metadata.generation,
            "times_hash": due.hash_of(schedule),
        }
    )
    if world.violations:
        refused = status.model_copy(update={"next_runs": None, "message": None})
        return Write(_judged(schedule, refused, world, None, now))
    # By the hash that it had until now: so a change of it is seen.
    then = status.model_copy(update={"times_hash": schedule.status.times_hash})
    found = due.of(_with(schedule, then), now, known=_known(world))
    decided = status.model_copy(update={"last_schedule_time": found.decided})
    claimed = _claimed(schedule, decided, (*found.start, *found.asked))
    after = claimed.model_copy(
        update={
            "next_runs": list(found.next) or None,
            "pending": list(found.pending) or None,
            "skipped": (status.skipped or 0) + found.skipped or status.skipped,
            "message": _message(schedule, found, now),
        }
    )
    return Write(_judged(schedule, after, world, found, now), found.start, found.asked)


def _judged(
    schedule: v1alpha1.LongTaskSchedule,
    status: v1alpha1.LongTaskScheduleStatus,
    world: World,
    found: due.Due | None,
    now: datetime,
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with its conditions."""
    accepted = Change(ConditionType.ACCEPTED, ConditionStatus.TRUE, Reason.VALID)
    if world.violations:
        accepted = Change(
            ConditionType.ACCEPTED,
            ConditionStatus.FALSE,
            world.violations[0].reason,
            _told(world.violations),
        )
    why = due.suspended_by(_with(schedule, status))
    has_ended = found is not None and not found.next and not found.pending
    if why is None and has_ended and not status.active:
        why = Reason.ENDED
    suspended = Change(
        ConditionType.SUSPENDED,
        ConditionStatus.FALSE if why is None else ConditionStatus.TRUE,
        why or Reason.ACTIVE,
        f"{status.failures_in_a_row} runs failed in a row" if why is Reason.MAX_FAILURES else "",
    )
    found_before = status.conditions
    return status.model_copy(
        update={"conditions": conditions.changed(found_before, accepted, suspended, now=now)}
    )


def _message(schedule: v1alpha1.LongTaskSchedule, found: due.Due, now: datetime) -> str | None:
    """Return what it waits for, where that is not simply its next time."""
    if found.pending:
        what = "to be cancelled" if found.replaces else "to end"
        return f"{len(found.pending)} more to start: waits for the last run {what}"
    if found.decided is not None and found.decided > now + _AHEAD:
        return "a clock was ahead: all times up to lastScheduleTime are decided on"
    return None


def _claimed(
    schedule: v1alpha1.LongTaskSchedule,
    status: v1alpha1.LongTaskScheduleStatus,
    times: tuple[datetime, ...],
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with the runs of these times listed, to be made."""
    if not times:
        return status
    started = status.runs_started or 0
    new = [
        v1alpha1.ScheduledRun(
            name=names.run_name(schedule.metadata.name, at), number=number, scheduled_at=at
        )
        for number, at in enumerate(times, start=started + 1)
    ]
    active = [*(status.active or ()), *(run.name for run in new)]
    update: dict[str, Any] = {
        "runs_started": started + len(new),
        "active": active,
        "active_count": len(active),
    }
    return _listed(schedule, status, new).model_copy(update=update)


def _listed(
    schedule: v1alpha1.LongTaskSchedule,
    status: v1alpha1.LongTaskScheduleStatus,
    new: list[v1alpha1.ScheduledRun],
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with these runs listed too, and what the list had to forget for them.

    Whatever was run of a time that is still to be decided on is listed, or it would be run once
    more. So such a run goes last, and where it must go its time is decided on.
    """
    times, decided = Times.of(schedule), status.last_schedule_time or schedule.metadata.created_at

    def comes(run: v1alpha1.ScheduledRun) -> datetime:
        at = run.scheduled_at
        return at if at > decided and at in times else decided

    listed = status.runs or []
    excess = max(0, len(listed) + len(new) - _LISTED)
    going = sorted(reversed(listed), key=comes)[:excess]
    kept = [run for run in listed if run not in going]
    status = status.model_copy(update={"runs": [*reversed(new), *kept]})
    if not going:
        return status
    latest, known = max(run.scheduled_at for run in going), _forgotten_up_to(status)
    update = {"forgotten_up_to": latest if known is None else max(latest, known)}
    if (coming := comes(going[-1])) > decided:
        update["last_schedule_time"] = coming
    return status.model_copy(update=update)


def _forgotten_up_to(status: v1alpha1.LongTaskScheduleStatus) -> datetime | None:
    """Return a time that no run is later than of those that are not listed."""
    if status.forgotten_up_to is None and (status.runs_started or 0) > len(status.runs or ()):
        return status.last_schedule_time  # the status was lost: nobody knows of which times
    return status.forgotten_up_to


def _recorded(
    world: World, status: v1alpha1.LongTaskScheduleStatus
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with what became of the runs that go on by it."""
    going_on = _going_on(status)
    listed = [_as_seen(world, run) for run in status.runs or ()]
    ended = [_as_seen(world, _bare(world, name)) for name in going_on if name in world.runs]
    ended += [run for run in listed if run.name in going_on and run.name not in world.runs]
    over = {run.name for run in ended if _is_over(run)}
    over.update(name for name in going_on if name in world.gone and name not in world.refused)
    active = [name for name in going_on if name not in over]
    update: dict[str, Any] = {
        "runs": listed or status.runs,
        "active": active or None,
        "active_count": len(active),
    }
    failures = status.failures_in_a_row or 0
    for run in sorted(
        (run for run in ended if run.name in over),
        key=lambda run: run.finished_at or run.scheduled_at,
    ):
        match run.phase:
            case Phase.SUCCEEDED:
                failures = 0
                update |= _success(world, status, run)
            case Phase.CANCELLED:
                pass
            case _:
                failures += run.error != runs.DELETED
    return status.model_copy(update=update | {"failures_in_a_row": failures})


def _success(
    world: World, status: v1alpha1.LongTaskScheduleStatus, run: v1alpha1.ScheduledRun
) -> dict[str, Any]:
    latest = status.last_successful_time
    if run.finished_at is None or (latest is not None and run.finished_at < latest):
        return {}
    result = world.results.get(run.name)
    if result is not None and result.ref is not None and result.ref.task_uid is None:
        ref = result.ref.model_copy(update={"task_uid": run.uid})
        result = result.model_copy(update={"ref": ref})
    return {"last_successful_time": run.finished_at, "last_result": result}


def _as_seen(world: World, run: v1alpha1.ScheduledRun) -> v1alpha1.ScheduledRun:
    """Return an entry with what was seen of its task."""
    if _is_over(run):
        return run
    seen = world.runs.get(run.name)
    if seen is None and run.name in world.refused:
        return run.model_copy(update={"error": runs.brief(world.refused[run.name])})
    if seen is None:
        return run.model_copy(update={"error": runs.DELETED}) if run.name in world.gone else run
    if not seen.is_over:
        return run if run.uid == seen.uid else run.model_copy(update={"uid": seen.uid})
    seconds = None
    if seen.started_at is not None and seen.finished_at is not None:
        seconds = (seen.finished_at - seen.started_at).total_seconds()
    return run.model_copy(
        update={
            "uid": seen.uid,
            "started_at": seen.started_at,
            "finished_at": seen.finished_at,
            "phase": seen.phase,
            "seconds": seconds,
            "error": seen.error,
        }
    )


def _bare(world: World, name: str) -> v1alpha1.ScheduledRun:
    """Return the entry of a run that may not be listed any more."""
    seen = world.runs[name]
    return v1alpha1.ScheduledRun(name=name, number=seen.number, scheduled_at=seen.scheduled_at)


def _recovered(world: World, now: datetime) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status; one that was lost is made again of the runs that there are."""
    status = world.schedule.status
    if status.observed_generation is not None or not world.runs:
        return status
    known = sorted(world.runs.values(), key=lambda run: (run.number, run.scheduled_at))
    listed = [_as_seen(world, _bare(world, run.name)) for run in reversed(known)]
    active = [run.name for run in known if not run.is_over]
    past = [run.scheduled_at for run in known if run.scheduled_at <= now]
    return status.model_copy(
        update={
            "last_schedule_time": max(past, default=None),
            "runs_started": max(run.number for run in known),
            "runs": listed[:_LISTED],
            "active": active or None,
            "active_count": len(active),
        }
    )


def _reset(
    schedule: v1alpha1.LongTaskSchedule,
    status: v1alpha1.LongTaskScheduleStatus,
    now: datetime,
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with its failures forgotten, if somebody asks for that."""
    text = schedule.metadata.annotations.get(names.RESET_ANNOTATION, "")
    when, _, who = text.partition(" ")
    at = runs.read_time(when)
    if at is None or at > now + _AHEAD or (status.reset_at is not None and at <= status.reset_at):
        return status
    reset = {"failures_in_a_row": 0, "reset_at": at, "reset_by": who.strip()[:253] or None}
    return _fallen(status.model_copy(update=reset), now.replace(microsecond=0))


def _fallen(
    status: v1alpha1.LongTaskScheduleStatus, until: datetime
) -> v1alpha1.LongTaskScheduleStatus:
    """Return the status with what is later undecided: a clock may have been ahead.

    It falls no lower than to what the list of runs has forgotten: of no later time there is a run
    that is not listed.
    """
    known = _forgotten_up_to(status)
    until = until if known is None else max(until, known)
    if status.last_schedule_time is None or status.last_schedule_time <= until:
        return status
    pending = [at for at in status.pending or () if at <= until]
    return status.model_copy(update={"last_schedule_time": until, "pending": pending or None})


def _with(
    schedule: v1alpha1.LongTaskSchedule, status: v1alpha1.LongTaskScheduleStatus
) -> v1alpha1.LongTaskSchedule:
    return schedule.model_copy(update={"status": status})


def _known(world: World) -> set[datetime]:
    """Return the times that have a run, listed or not."""
    listed = (run.scheduled_at for run in world.schedule.status.runs or ())
    return {*listed, *(run.scheduled_at for run in world.runs.values())}


def _going_on(status: v1alpha1.LongTaskScheduleStatus) -> list[str]:
    """Return the names of the runs that have not ended by the status, the oldest first."""
    unended = [run.name for run in reversed(status.runs or ()) if not _is_over(run)]
    return list(dict.fromkeys((*(status.active or ()), *unended)))


def _entry(status: v1alpha1.LongTaskScheduleStatus, name: str) -> v1alpha1.ScheduledRun | None:
    return next((run for run in status.runs or () if run.name == name), None)


def _is_over(run: v1alpha1.ScheduledRun) -> bool:
    return run.phase is not None or run.error is not None


def _told(violations: tuple[Violation, ...]) -> str:
    told = "; ".join(f"spec{one.pointer.replace('/', '.')}: {one.message}" for one in violations)
    return told[: names.MESSAGE_MAX]

"""Schedules and their runs, as far as their resources and those of the runs tell."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from longtask_client import models
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import runs
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Reason, conditions


class Brought(NamedTuple):
    """What a run brought, or else where that is read."""

    value: v1alpha1.Json = None
    url: str | None = None


def schedule(
    found: v1alpha1.LongTaskSchedule,
    *,
    prefix: str = "",
    next_runs: Sequence[datetime] | None = None,
    task_of: Callable[[str], v1alpha1.LongTask | None] = lambda _: None,
) -> models.ScheduleView:
    """Return the schedule.

    Args:
        found: The resource.
        prefix: The path under which the API is published: links begin with it.
        next_runs: The next times, where its status does not say them yet.
        task_of: Returns the task of a run by its name, as far as it is known: the status says of
            a run that goes on that it does, and no more.
    """
    meta, status = found.metadata, found.status
    accepted = _accepted(found)
    refused = accepted if accepted and accepted.status is ConditionStatus.FALSE else None
    return models.ScheduleView(
        **dict(found.spec),
        name=meta.name,
        namespace=meta.namespace,
        owner=meta.labels.get(names.OWNER_LABEL),
        owner_name=meta.annotations.get(names.OWNER_NAME_ANNOTATION),
        created_at=meta.created_at,
        next_runs=list(status.next_runs or () if next_runs is None else next_runs),
        last_schedule_time=status.last_schedule_time,
        last_successful_time=status.last_successful_time,
        active=list(status.active or ()),
        runs_started=status.runs_started or 0,
        failures_in_a_row=status.failures_in_a_row or 0,
        skipped=status.skipped or 0,
        suspended=is_suspended(found),
        reason=_reason(found, refused),
        message=_message(found, refused),
        reset_by=status.reset_by,
        reset_at=status.reset_at,
        runs=[_recorded(run, task_of(run.name), prefix) for run in status.runs or ()],
        links=links(meta.name, prefix),
    )


def is_seen(found: v1alpha1.LongTaskSchedule) -> bool:
    """Tell whether the operator has seen the spec as it is: else its status speaks of another."""
    return found.status.observed_generation == found.metadata.generation


def is_suspended(found: v1alpha1.LongTaskSchedule) -> bool:
    """Tell whether the schedule starts no runs."""
    suspended = _suspended(found)
    by_status = suspended is not None and suspended.status is ConditionStatus.TRUE
    return bool(found.spec.suspend) or by_status


def run(task: v1alpha1.LongTask, *, prefix: str = "") -> models.ScheduleRun:
    """Return a run of a schedule, of which there is the task."""
    meta, status = task.metadata, task.status
    return models.ScheduleRun(
        id=meta.name,
        number=_number(meta.annotations.get(names.RUN_NUMBER_ANNOTATION)),
        scheduled_at=scheduled_at(task),
        phase=task.phase,
        started_at=status.started_at,
        finished_at=status.finished_at,
        seconds=_seconds(status.started_at, status.finished_at),
        error=runs.error_of(task),
        links=links_of_run(meta.name, prefix),
    )


def scheduled_at(task: v1alpha1.LongTask) -> datetime | None:
    """Return the time that a task is the run of; None if it does not say one."""
    try:
        said = datetime.fromisoformat(task.metadata.annotations[names.SCHEDULED_AT_ANNOTATION])
    except (KeyError, ValueError):
        return None  # somebody else wrote it
    return None if said.tzinfo is None else said


def status(found: v1alpha1.LongTaskSchedule, data: Brought) -> models.ScheduleStatus:
    """Return how the schedule's last run went.

    Args:
        found: The resource.
        data: What the last run that succeeded brought.
    """
    last = runs.last_ended(found.status)
    return models.ScheduleStatus(
        id=found.metadata.name,
        execution_time=last.seconds if last else None,
        last_execute_time=(last.started_at or last.scheduled_at) if last else None,
        last_execution_data=data.value,
        last_execution_data_url=data.url,
        last_execution_error=last.error if last else None,
        # One that could not even be made has no phase of its own.
        last_execution_status=(last.phase or v1alpha1.Phase.FAILED) if last else None,
    )


def datum(task: v1alpha1.LongTask, data: Brought) -> models.ScheduleDatum:
    """Return what a run brought."""
    return models.ScheduleDatum(
        id=task.metadata.name,
        scheduled_at=scheduled_at(task),
        finished_at=task.status.finished_at,
        data=data.value,
        data_url=data.url,
    )


def run_asked(schedule: str, at: datetime, *, prefix: str = "") -> models.RunAsked:
    """Return a run that a schedule was asked for."""
    name = names.run_name(schedule, at)
    return models.RunAsked(id=name, scheduled_at=at, links=links_of_run(name, prefix))


def refusal(found: v1alpha1.LongTaskSchedule) -> str | None:
    """Return why the schedule can start no run, asked for or not; None if it can."""
    accepted = _accepted(found)
    if accepted is None or accepted.status is not ConditionStatus.FALSE:
        return None
    return f"The schedule can start no run: {accepted.message}"


def links(name: str, prefix: str) -> dict[str, str]:
    """Return the paths of what belongs to a schedule."""
    own = f"{prefix}/api/v1/schedules/{name}"
    parts = {part: f"{own}/{part}" for part in ("runs", "status", "data")}
    verbs = ("pause", "resume", "trigger", "reset-attempts", "backfill")
    return {"self": own} | parts | {verb: f"{own}:{verb}" for verb in verbs}


def links_of_run(task: str, prefix: str) -> dict[str, str]:
    """Return the paths of the task that a run is."""
    own = f"{prefix}/api/v1/tasks/{quote(task, safe='')}"
    return {"self": own, "result": f"{own}/result", "logs": f"{own}/logs"}


def _accepted(found: v1alpha1.LongTaskSchedule) -> v1alpha1.Condition | None:
    """Return whether the spec is accepted, as far as that speaks of the spec as it is."""
    if not is_seen(found):
        return None
    return conditions.find(found.status.conditions, ConditionType.ACCEPTED)


def _suspended(found: v1alpha1.LongTaskSchedule) -> v1alpha1.Condition | None:
    """Return whether it is suspended by what has happened; what was asked for, the spec says."""
    condition = conditions.find(found.status.conditions, ConditionType.SUSPENDED)
    return None if condition is None or condition.reason == Reason.AS_ASKED else condition


def _reason(found: v1alpha1.LongTaskSchedule, refused: v1alpha1.Condition | None) -> str | None:
    if refused is not None:
        return refused.reason
    if found.spec.suspend:
        return Reason.AS_ASKED
    suspended = _suspended(found)
    return suspended.reason if suspended else None


def _message(found: v1alpha1.LongTaskSchedule, refused: v1alpha1.Condition | None) -> str | None:
    suspended = _suspended(found)
    told: tuple[str | None, ...] = (
        refused.message if refused else None,
        found.status.message,
        suspended.message if suspended else None,
    )
    return next(filter(None, told), None)


def _recorded(
    entry: v1alpha1.ScheduledRun, task: v1alpha1.LongTask | None, prefix: str
) -> models.ScheduleRun:
    """Return a run as its schedule remembers it, or its task as it is while it goes on."""
    if entry.phase is None and task is not None and task.metadata.uid == entry.uid:
        return run(task, prefix=prefix)
    return models.ScheduleRun(
        id=entry.name,
        number=entry.number,
        scheduled_at=entry.scheduled_at,
        phase=entry.phase,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        seconds=entry.seconds,
        error=entry.error,
        links=links_of_run(entry.name, prefix),
    )


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None

"""Schedules and their runs."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, PlainSerializer, StringConstraints, WithJsonSchema

from longtask_crds import effective, names, v1alpha1

ScheduleName = Annotated[
    str,
    StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=names.SCHEDULE_NAME_MAX),
]


#: Of any type, as in the resource: what is wrong with it is told in its own words.
_Crons = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "maxLength": 256},
                {"type": "array", "items": {"type": "string", "maxLength": 256}, "maxItems": 10},
                {"type": "null"},
            ]
        }
    ),
]


class ScheduleOrder(v1alpha1.LongTaskScheduleSpec):
    """A schedule to make: the fields of a LongTaskSchedule's spec, and its name."""

    model_config = ConfigDict(extra="forbid")

    name: ScheduleName
    """The schedule's name: it begins the names of its runs."""

    schedule: _Crons = None
    """A cron expression with five fields or a name like @daily, or a list of up to ten of them.
    Exactly one of schedule and intervalSeconds."""


class ScheduleChange(v1alpha1.LongTaskScheduleSpec):
    """What is changed of a schedule, as a JSON Merge Patch: what is absent stays, null goes."""

    model_config = ConfigDict(extra="forbid")

    schedule: _Crons = None
    """When to start runs, in cron's words."""

    task_template: v1alpha1.Json = None
    """What is changed of the tasks that are created; a part of it will do."""


class ScheduleRun(v1alpha1.Model):
    """A run of a schedule: one task."""

    id: str
    """The task's id."""

    number: int | None
    """Which run of the schedule it is; the first is 1."""

    scheduled_at: datetime | None
    """The time that it is the run of."""

    phase: v1alpha1.Phase | None
    """Where it stands, or how it ended; null while there is no task, or none any more."""

    started_at: datetime | None
    """When its program started."""

    finished_at: datetime | None
    """When it ended."""

    seconds: float | None
    """How long it ran, from its start to its end."""

    error: str | None
    """Why it failed or never ran, if it did not succeed."""

    links: dict[str, str]
    """Paths of the task, its result and its log."""


def _as_shown(template: v1alpha1.TaskTemplate) -> v1alpha1.TaskTemplate:
    """Return a template, without its inputs if one is too deep for an answer: it has no runs."""
    spec = template.spec
    if not any(effective.too_deep(spec)):
        return template
    steps = [one.model_copy(update={"input": None, "for_each": None}) for one in spec.steps or ()]
    bare = {"input": None, "output": None, "steps": steps or None}
    return template.model_copy(update={"spec": spec.model_copy(update=bare)})


class ScheduleView(v1alpha1.LongTaskScheduleSpec):
    """A schedule as the API shows it: its name, its spec, what it has done and does next."""

    name: str
    """The schedule's name."""

    namespace: str
    """The namespace of the resource."""

    schedule: _Crons = None
    """The cron expressions; null if it goes by intervalSeconds."""

    task_template: Annotated[
        v1alpha1.TaskTemplate,
        AfterValidator(_as_shown),
        # A spec has some thirty fields, and says a few of them.
        PlainSerializer(v1alpha1.Model.to_json, return_type=dict[str, Any]),
    ]
    """The tasks that are created."""

    owner: str | None
    """Whose it is, and whose its runs are."""

    owner_name: str | None
    """What people call them, where that is something else."""

    created_at: datetime
    """When it was made."""

    next_runs: list[datetime]
    """The next times, three at most; none while it is suspended or has ended."""

    last_schedule_time: datetime | None
    """The latest time that was decided on, whether a run was started or skipped."""

    last_successful_time: datetime | None
    """When a run last succeeded."""

    active: list[str]
    """The ids of the runs that have not ended."""

    runs_started: int
    """How many runs there were in all."""

    failures_in_a_row: int
    """How many runs have failed since one succeeded, or since the count was reset."""

    skipped: int
    """How many times were passed over."""

    suspended: bool
    """Whether it starts no runs."""

    reason: str | None
    """Why it starts runs or does not, as one word; null until the operator has seen it."""

    message: str | None
    """What it waits for, or why it does nothing, in one sentence."""

    reset_by: str | None
    """Who reset the failures last."""

    reset_at: datetime | None
    """When the failures were reset last."""

    runs: list[ScheduleRun]
    """The last twenty runs, the newest first."""

    links: dict[str, str]
    """Paths of what belongs to the schedule."""


class SchedulePage(v1alpha1.Model):
    """One page of the schedules."""

    items: list[ScheduleView]
    """The schedules, by name."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""


class ScheduleRunPage(v1alpha1.Model):
    """One page of a schedule's runs."""

    items: list[ScheduleRun]
    """The runs, live and archived, the newest first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""

    incomplete: str | None = None
    """What is missing although it fits, and why; null when nothing is."""


class ScheduleStatus(v1alpha1.Model):
    """What a poller of a periodic task wants: how the last run that has ended went."""

    id: str
    """The schedule's name."""

    execution_time: float | None
    """How many seconds the last run took; null if none has ended, or it never began."""

    last_execute_time: datetime | None
    """When the last run began; of one that never did, the time that it was due."""

    last_execution_data: v1alpha1.Json
    """What the last run that succeeded brought, up to 64 KiB; null if none has."""

    last_execution_data_url: str | None
    """Where that is read if it is larger, or no JSON; else null."""

    last_execution_error: str | None
    """Why the last run failed; null if it succeeded."""

    last_execution_status: v1alpha1.Phase | None
    """How the last run ended; null if none has."""


class ScheduleDatum(v1alpha1.Model):
    """What a run of a schedule brought."""

    id: str
    """The run's id."""

    scheduled_at: datetime | None
    """The time that it is the run of."""

    finished_at: datetime | None
    """When it ended."""

    data: v1alpha1.Json
    """What it brought, up to 64 KiB."""

    data_url: str | None
    """Where that is read if it is larger, or no JSON; else null."""


class ScheduleDataPage(v1alpha1.Model):
    """One page of what a schedule's runs brought."""

    items: list[ScheduleDatum]
    """What each run brought that succeeded, the newest first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""

    incomplete: str | None = None
    """What is missing although it fits, and why; null when nothing is."""


class RunAsked(v1alpha1.Model):
    """A run that a schedule was asked for. Its task is there a moment later."""

    id: str
    """The id that its task has."""

    scheduled_at: datetime
    """The time that it is the run of."""

    links: dict[str, str]
    """Paths of the task, its result and its log."""


class RunsAsked(v1alpha1.Model):
    """Runs that a schedule was asked for."""

    items: list[RunAsked]
    """The runs, the oldest first; none if no time is due in that range."""

"""LongTaskSchedule: creates tasks by cron or interval."""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.conditions import Condition
from longtask_crds.v1alpha1.fields import Model, Seconds, Time
from longtask_crds.v1alpha1.longtask import LongTaskSpec
from longtask_crds.v1alpha1.metadata import Resource


class ConcurrencyPolicy(enum.StrEnum):
    """What to do when a run is due while the last one still goes on."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class TaskTemplate(Model):
    """The tasks that a schedule creates."""

    labels: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=20)]
        | None
    ) = None
    """Labels of each task."""

    spec: LongTaskSpec
    """The spec of each task."""


class LongTaskScheduleSpec(Model):
    """When to create which task. Schedules are not yet acted upon."""

    schedule: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    """A cron expression with five fields. Exactly one of schedule and intervalSeconds."""

    interval_seconds: Seconds | None = None
    """Seconds from one run to the next. Exactly one of schedule and intervalSeconds."""

    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = None
    """The time zone of the cron expression, by its IANA name; UTC when absent."""

    suspend: bool | None = None
    """While true, no run is started."""

    concurrency_policy: ConcurrencyPolicy | None = None
    """What to do when a run is due while the last one still goes on; Allow when absent."""

    starting_deadline_seconds: Seconds | None = None
    """How late a missed run may still be started; no limit when absent."""

    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many succeeded runs are kept; 3 when absent."""

    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many failed runs are kept; 1 when absent."""

    task_template: TaskTemplate
    """The tasks that are created."""


class LongTaskScheduleStatus(Model):
    """What the schedule has done. Not yet written."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    last_schedule_time: Time | None = None
    """When a run was last due and started."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Conditions of the schedule."""


class LongTaskSchedule(Resource):
    """Creates tasks by cron or interval."""

    kind: str = "LongTaskSchedule"
    spec: LongTaskScheduleSpec

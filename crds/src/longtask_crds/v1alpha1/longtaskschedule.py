"""LongTaskSchedule: creates tasks by cron or interval, and remembers its runs."""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.conditions import Condition
from longtask_crds.v1alpha1.fields import (
    Count,
    GivenTime,
    Json,
    Message,
    Model,
    Seconds,
    Time,
    Word,
)
from longtask_crds.v1alpha1.longtask import LongTaskSpec
from longtask_crds.v1alpha1.longtask_status import Phase, Result
from longtask_crds.v1alpha1.metadata import Resource


class ConcurrencyPolicy(enum.StrEnum):
    """What to do when a run is due while the last one still goes on."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class MisfirePolicy(enum.StrEnum):
    """What becomes of the times that fell due while nobody could start a run."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Misfire(Model):
    """What becomes of the times that fell due while nobody could start a run."""

    policy: MisfirePolicy | None = None
    """skip: none of them is made up for; latest: the last one is; all: each of the last `max` is,
    unless concurrencyPolicy is Replace. latest when absent."""

    max: Annotated[int, Field(ge=1, le=10)] | None = None
    """With all: how many are made up for at most; 10 when absent."""


class TaskTemplate(Model):
    """The tasks that a schedule creates."""

    labels: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=20)]
        | None
    ) = None
    """Labels of each task."""

    spec: LongTaskSpec
    """The spec of each task. In its input `{"$from": "run#/scheduledTime"}` stands for a fact of
    the run: scheduledTime, number, or lastResult, with a pointer into it."""


class LongTaskScheduleSpec(Model):
    """When to create which task."""

    # No structural schema knows a text or a list, so anything may stand here: see `crons`.
    schedule: Json = None
    """A cron expression with five fields or a name like @daily, or a list of up to ten of them.
    Exactly one of schedule and intervalSeconds."""

    interval_seconds: Annotated[int, Field(ge=5, le=31_622_400)] | None = None
    """Seconds from one run to the next, from 5, counted from startTime or else from when the
    schedule was made. Exactly one of schedule and intervalSeconds."""

    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The time zone of the cron expressions, by its IANA name; UTC when absent."""

    start_time: GivenTime | None = None
    """No run is due before this."""

    end_time: GivenTime | None = None
    """No run is due after this."""

    suspend: bool | None = None
    """While true, no run is started, and none is made up for later."""

    concurrency_policy: ConcurrencyPolicy | None = None
    """What to do when a run is due while the last one still goes on: Allow runs both, Forbid skips
    the new one, Replace cancels the old one. Forbid when absent."""

    starting_deadline_seconds: Seconds | None = None
    """How late a run may still be started; no limit when absent."""

    jitter_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Each run is started up to so many seconds late, by a share that its time alone decides."""

    misfire: Misfire | None = None
    """What becomes of the times that fell due while nobody could start a run."""

    max_failures: Annotated[int, Field(ge=1, le=1000)] | None = None
    """After so many failed runs in a row no further one is started until the count is reset; no
    limit when absent."""

    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many succeeded runs are kept, beside those in the archive; 3 when absent."""

    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many failed and cancelled runs are kept, beside those in the archive; 1 when absent."""

    task_template: TaskTemplate
    """The tasks that are created."""


class ScheduledRun(Model):
    """A run of the schedule: one task."""

    name: Word
    """The task's name: the schedule's, and its time as `names.run_name` writes it."""

    number: Count
    """Which run of the schedule it is; the first is 1."""

    scheduled_at: Time
    """The time that it is the run of."""

    uid: Word | None = None
    """The task's uid, once it was made: from then on it is not made again."""

    started_at: Time | None = None
    """When its program started."""

    finished_at: Time | None = None
    """When it ended."""

    phase: Phase | None = None
    """How it ended; absent while it has not, and if it was deleted or never made."""

    seconds: Annotated[float, Field(ge=0)] | None = None
    """How long it ran, from its start to its end."""

    error: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Why it failed or never ran, if it did not succeed."""


class LongTaskScheduleStatus(Model):
    """What the schedule has done, and does next."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    next_runs: Annotated[list[Time], Field(max_length=3)] | None = None
    """The next three times; none while it is suspended or has ended."""

    last_schedule_time: Time | None = None
    """The latest time that was decided on, whether a run was started or skipped: no earlier one
    comes again."""

    forgotten_up_to: Time | None = None
    """The latest time of a run that runs no longer lists: lastScheduleTime falls no lower, also
    where somebody resets."""

    last_successful_time: Time | None = None
    """When a run last succeeded."""

    last_result: Result | None = None
    """What that run brought, if the template asks for it."""

    active: Annotated[list[Word], Field(max_length=100)] | None = None
    """The runs that have not ended."""

    active_count: Count | None = None
    """How many they are."""

    pending: Annotated[list[Time], Field(max_length=10)] | None = None
    """Times whose runs are started one after the other, as soon as no run goes on."""

    times_hash: Word | None = None
    """What lastScheduleTime was decided by: a hash of the fields of the spec that name times.
    Where it changes, only what is named for later counts."""

    runs_started: Count | None = None
    """How many runs there were in all: the number of the last one."""

    failures_in_a_row: Count | None = None
    """How many runs have failed since one succeeded, or since the count was reset."""

    skipped: Count | None = None
    """How many times were passed over since the schedule was made, at most 1000 at once: while it
    was suspended, because they came too late, or because the last run still went on."""

    runs: Annotated[list[ScheduledRun], Field(max_length=20)] | None = None
    """The last twenty runs, the newest first. One of a time that is still to come, since a clock
    was ahead, stays until it has."""

    reset_by: Annotated[str, StringConstraints(max_length=253)] | None = None
    """Who reset the failures last."""

    reset_at: Time | None = None
    """When the failures were reset last."""

    message: Message | None = None
    """What it waits for, or why it does nothing, in one sentence."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Accepted and Suspended."""


class LongTaskSchedule(Resource):
    """Creates tasks by cron or interval."""

    kind: str = "LongTaskSchedule"
    spec: LongTaskScheduleSpec
    status: LongTaskScheduleStatus = Field(default_factory=LongTaskScheduleStatus)

    @property
    def crons(self) -> tuple[str, ...]:
        """Return its cron expressions, unread; none if it goes by interval, or says none."""
        given = self.spec.schedule
        found = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        return tuple(one for one in found if isinstance(one, str))

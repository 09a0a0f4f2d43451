"""Where a task stands."""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.conditions import Condition, ConditionStatus, ConditionType, find
from longtask_crds.v1alpha1.fields import (
    Brief,
    Count,
    Json,
    Label,
    Message,
    Model,
    Percent,
    StepName,
    Time,
    Word,
)
from longtask_crds.v1alpha1.notification import CallbackStatus


class Phase(enum.StrEnum):
    """Where a task stands, for people. Programs read the conditions."""

    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing comes after it."""
        return self in {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}


class Start(enum.StrEnum):
    """How an attempt of a type that keeps warm pods began: warm, or why it did not."""

    WARM = "Warm"  #: its pod was started ahead
    NONE_IDLE = "NoneIdle"  #: no pod waited just then
    OWN_RESOURCES = "OwnResources"  #: the task asks for other resources than its type gives
    WARM_LOST = "WarmLost"  #: the attempt before lost its warm pod
    TAKES_FILES = "TakesFiles"  #: a step takes whole results as files, fetched before its start
    INPUT_AWAY = "InputAway"  #: what a step takes could not be read just then


class Attempt(Model):
    """One start of the program: one Job."""

    number: Annotated[int, Field(ge=1)]
    """1 for the first."""

    job_name: Word
    """The Job's name."""

    job_uid: Word | None = None
    """The Job's uid, once it is known to be this attempt's."""

    pod_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    """The pod whose outcome counts."""

    pod_uid: Word | None = None
    """That pod's uid."""

    node: Annotated[str, StringConstraints(max_length=253)] | None = None
    """The node it ran on."""

    claimed_at: Time | None = None
    """When the attempt was recorded, before its Job was made."""

    started_at: Time | None = None
    """When the container started."""

    finished_at: Time | None = None
    """When the attempt ended."""

    reported_at: Time | None = None
    """When its program said how it ends, if that decided: its container ended later."""

    exit_code: int | None = None
    """The program's exit code."""

    reason: Word | None = None
    """How it ended, as one word."""

    message: Message | None = None
    """How it ended, for people."""

    start: Start | None = None
    """Of a type that keeps warm pods: Warm, or why it was started cold."""


class Progress(Model):
    """What the program last said of itself."""

    percent: Percent | None = None
    """How much of the work is done. It does not fall within an attempt."""

    message: Message | None = None
    """What it is doing."""

    checkpoint: Json = None
    """What a further attempt can go on from: any JSON up to 16 KiB."""

    updated_at: Time | None = None
    """When the program was last heard; if it says nothing new, up to 20 s earlier than that."""


class MediaType(enum.StrEnum):
    """What a result is made of."""

    JSON = "application/json"
    TEXT = "text/plain"  #: in UTF-8
    BYTES = "application/octet-stream"


class ResultRef(Model):
    """A result that is kept outside the resource, and read by the API's `GET …/result`."""

    size: Count
    """Its size in bytes."""

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    """Its SHA-256 sum, in hex."""

    media_type: MediaType | None = None
    """What it is: application/json, also when absent; text/plain for text in UTF-8 that is no JSON;
    application/octet-stream for anything else."""

    task_uid: Word | None = None
    """The uid of the task that brought it, where that is another one."""


class Result(Model):
    """What the program brought: a value, or a reference to a larger one."""

    value: Json = None
    """The result itself: any JSON up to 4095 bytes."""

    media_type: MediaType | None = None
    """text/plain if the program wrote no JSON: the value is its text, as a string."""

    ref: ResultRef | None = None
    """Where a larger result is kept."""


class Report(Model):
    """How a program said that it ends, just before it did."""

    attempt: Annotated[int, Field(ge=1)]
    """The attempt's number."""

    pod_name: Annotated[str, StringConstraints(max_length=253)]
    """The pod that said so."""

    pod_uid: Word
    """That pod's uid."""

    exit_code: Annotated[int, Field(ge=0, le=255)]
    """The exit code that it is about to end with."""

    result: Result | None = None
    """What it brings, with exit code 0."""

    message: Message | None = None
    """Its last words, with any other."""

    reported_at: Time
    """When it said so."""


class Contradiction(Model):
    """A program that said how it ends, and whose container then ended otherwise."""

    step: Annotated[str, StringConstraints(max_length=80)] | None = None
    """Of a pipeline: which of its programs, as `STEP` or `STEP.INDEX`."""

    attempt: Annotated[int, Field(ge=1)]
    """The attempt's number."""

    exit_code: int
    """The exit code that its container ended with."""

    reason: Word | None = None
    """The kubelet's word for that end, as `OOMKilled`."""


class StepPhase(enum.StrEnum):
    """Where a step of a pipeline stands."""

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing comes after it."""
        return self in {
            StepPhase.SUCCEEDED,
            StepPhase.FAILED,
            StepPhase.CANCELLED,
            StepPhase.SKIPPED,
        }


class RunStatus(Model):
    """Where a program of a pipeline stands: its current attempt, and how many came before it."""

    phase: StepPhase | None = None
    """Where it stands."""

    attempt: Count | None = None
    """The number of the last attempt: 1 for the first."""

    disruptions: Count | None = None
    """How many attempts cost nothing, as in the status of a task."""

    retry_at: Time | None = None
    """When the next attempt begins."""

    begun_at: Time | None = None
    """When the first attempt was recorded."""

    job_name: Word | None = None
    """The Job of the last attempt."""

    job_uid: Word | None = None
    """The Job's uid, once it is known to be this attempt's."""

    pod_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    """The pod whose outcome counts."""

    pod_uid: Word | None = None
    """That pod's uid."""

    node: Annotated[str, StringConstraints(max_length=253)] | None = None
    """The node it ran on."""

    claimed_at: Time | None = None
    """When the attempt was recorded, before its Job was made."""

    started_at: Time | None = None
    """When the container of the last attempt started."""

    finished_at: Time | None = None
    """When the last attempt ended."""

    reported_at: Time | None = None
    """When its program said how it ends, if that decided: its container ended later."""

    exit_code: int | None = None
    """The program's exit code."""

    reason: Word | None = None
    """Why it stands so, as one word."""

    message: Brief | None = None
    """Why, for people."""

    waiting: Message | None = None
    """Why it does not go on, where the cause is its own."""

    stalled: Word | None = None
    """Why it cannot go on without help, as one word."""

    progress: Progress | None = None
    """What the program last said of itself."""

    result: Result | None = None
    """What it brought."""

    report: Report | None = None
    """How its program said that it ends, until that is taken for the end of its attempt."""

    start_ordinal: Count | None = None
    """Which of the pipeline's events its start was: 1 for the first."""

    end_ordinal: Count | None = None
    """Which of the pipeline's events its end was, or that it is tried again."""

    start: Start | None = None
    """Of a type that keeps warm pods: how the last attempt began, Warm, or why it was started
    cold."""

    @property
    def is_over(self) -> bool:
        """Tell whether nothing comes after where it stands."""
        return self.phase is not None and self.phase.is_terminal


class ChildStatus(RunStatus):
    """Where the work on one item of a step's `forEach` stands."""

    index: Annotated[int, Field(ge=0, le=99)]
    """The item's place in the list: 0 for the first."""


class StepStatus(RunStatus):
    """Where one step of a pipeline stands."""

    name: StepName
    """The step's name."""

    items: Annotated[int, Field(ge=0, le=100)] | None = None
    """With `forEach`: how many items there are."""

    succeeded: Count | None = None
    """With `forEach`: how many of them succeeded."""

    failed: Count | None = None
    """With `forEach`: how many of them failed."""

    children: (
        Annotated[
            list[ChildStatus],
            Field(
                max_length=100,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["index"],
                },
            ),
        ]
        | None
    ) = None
    """With `forEach`: where each item stands that was begun; only their numbers are kept where that
    would make the resource too large."""

    reused: bool | None = None
    """The result is that of the task which this one does again from where it failed."""


class Outcome(Model):
    """How the steps of a pipeline ended that are not marked `finally`, or how they are ending."""

    phase: Phase
    """Succeeded, Failed or Cancelled."""

    reason: Word
    """Why, as one word."""

    message: Message | None = None
    """Why, for people."""

    step: StepName | None = None
    """The step that failed."""


class LongTaskStatus(Model):
    """Where the task stands. The operator writes it; progress and reports come from the runner."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    phase: Phase | None = None
    """Where it stands, for people: derived from the conditions."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """The truth: Accepted, Finished, Succeeded, CallbackDelivered, Stalled."""

    queue: Label | None = None
    """The queue that the task waits in or came through."""

    queued_at: Time | None = None
    """When it entered the queue."""

    started_at: Time | None = None
    """When the first attempt's container started."""

    finished_at: Time | None = None
    """When it ended."""

    attempt: Count | None = None
    """The number of the last attempt. It may exceed maxAttempts by those that cost nothing. Of a
    pipeline 1, once it has its place: its steps have attempts of their own."""

    disruptions: Count | None = None
    """How many attempts cost nothing because their pod was evicted, preempted, drained, deleted
    or lost with its node. After three of them the next one fails the task."""

    retry_at: Time | None = None
    """When the next attempt joins the queue."""

    attempts: Annotated[list[Attempt], Field(max_length=10)] | None = None
    """The last ten attempts."""

    progress: Progress | None = None
    """What the program last said of itself."""

    result: Result | None = None
    """What the program brought."""

    report: Report | None = None
    """How the program said that it ends, until that is taken for the end of its attempt."""

    contradictions: Annotated[list[Contradiction], Field(max_length=10)] | None = None
    """The last ten programs that said how they end, and whose containers then ended otherwise: what
    they said stands."""

    step: Annotated[str, StringConstraints(max_length=80)] | None = None
    """Of a pipeline: how far it is, as `3/6 convert`."""

    steps: (
        Annotated[
            list[StepStatus],
            Field(
                max_length=50,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            ),
        ]
        | None
    ) = None
    """Where each step stands, once the task has its place."""

    outcome: Outcome | None = None
    """Of a pipeline: how its steps ended, or why they are being ended; those marked `finally` come
    after it."""

    start_ordinal: Count | None = None
    """Of a pipeline: which of its events its start was."""

    ordinal: Count | None = None
    """Of a pipeline: how many events it has had since it has its place."""

    callback: CallbackStatus | None = None
    """The delivery of the last event."""

    waiting: Message | None = None
    """Why it cannot start, where the cause is its own."""

    def is_true(self, kind: ConditionType) -> bool:
        """Tell whether the condition of that type is there and True."""
        found = find(self.conditions, kind)
        return found is not None and found.status is ConditionStatus.TRUE

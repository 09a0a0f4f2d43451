"""The kinds of group `longtask.dev/v1alpha1`: the one source of the contract.

From these models come the CRDs (`generate`), the REST models and the operator's types. A docstring
under a field is its description everywhere: in `kubectl explain` and in OpenAPI. No field has a
default that a LongTaskType may set: the API server would write it into each object, and the type's
own would never win. `effective` says what holds where a field is absent.
"""

import enum
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from longtask_crds import names


class Model(BaseModel):
    """A part of a resource: frozen, camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        # A newer API server may know fields that this version does not.
        extra="ignore",
    )

    def to_json(self) -> dict[str, Any]:
        """Return it as the API server stores it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _whole_seconds(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)


Time = Annotated[
    datetime,
    AfterValidator(_whole_seconds),
    PlainSerializer(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant in UTC with whole seconds, as Kubernetes writes it."""

Json = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value."""

TaskName = Annotated[
    str, StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=names.TASK_NAME_MAX)
]
Label = Annotated[str, StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=63)]
SecretName = Annotated[str, StringConstraints(pattern=names.DNS_SUBDOMAIN_PATTERN, max_length=253)]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128),
]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
Message = Annotated[str, StringConstraints(max_length=names.MESSAGE_MAX)]
Word = Annotated[str, StringConstraints(max_length=128)]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
Quantity = Annotated[
    str,
    # `cpu: 1` is a number in YAML, and everybody writes it so.
    BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=20),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
            "minimum": 0,  # of a number: the pattern speaks of strings only
        }
    ),
]
"""An amount of a resource, such as `250m` or `64Mi`."""


class ResourceAmounts(Model):
    """Amounts of the three resources that a task may ask for."""

    cpu: Quantity | None = None
    """Processor time: `500m` is half a core."""

    memory: Quantity | None = None
    """Memory, for example `256Mi`."""

    ephemeral_storage: Quantity | None = Field(default=None, alias="ephemeral-storage")
    """Disk space of the container's writable files, for example `1Gi`."""


class Resources(Model):
    """What the container gets at least, and what it may use at most."""

    requests: ResourceAmounts | None = None
    """What is set aside for the container; the scheduler counts this."""

    limits: ResourceAmounts | None = None
    """What the container may use at most; more memory than this ends it."""


class SecretKeyRef(Model):
    """One key of a Secret in the task's namespace."""

    name: SecretName
    """The Secret's name."""

    key: SecretKey
    """The key inside the Secret."""


class EnvVar(Model):
    """One environment variable: a value, or a key of a Secret."""

    name: EnvName
    """The variable's name. Names that begin with LONGTASK_ are reserved."""

    value: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """The value, as it is: nothing in it is expanded."""

    secret_ref: SecretKeyRef | None = None
    """Where the value comes from. The Secret must carry the label longtask.dev/env: "true"."""


Argument = Annotated[str, StringConstraints(max_length=16_384)]


class TypeContainer(Model):
    """The container of a type; without an image it is the installed runner image."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """The image. Without one it is the installed runner image."""

    command: Annotated[list[Argument], Field(max_length=64)] | None = None
    """The program in place of the image's entry point."""

    args: Annotated[list[Argument], Field(max_length=256)] | None = None
    """The program's arguments."""

    env: Annotated[list[EnvVar], Field(max_length=64)] | None = None
    """Environment variables; values may come from Secrets."""


class Container(TypeContainer):
    """Any image with a program in it."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    """The image."""


class Retry(Model):
    """When and how often to try again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    """How often the program may be started in all; 1 when absent. This version starts it once."""

    backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """The pause before the second attempt, doubled for each further one; 10 when absent. Not yet
    acted upon."""

    max_backoff_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """The longest pause between two attempts; 360 when absent. Not yet acted upon."""


class Timeouts(Model):
    """How long each part may take, in seconds."""

    queue_seconds: Seconds | None = None
    """The longest wait in the queue; no limit when absent. Not yet acted upon."""

    start_seconds: Seconds | None = None
    """The longest time from the start of an attempt until its container runs; 600 when absent."""

    run_seconds: Seconds | None = None
    """The longest time that a pod may run, the pull of its image included; 86400 when absent."""

    total_seconds: Seconds | None = None
    """The longest time from creation to the end; no limit when absent. Not yet acted upon."""

    heartbeat_seconds: Seconds | None = None
    """The longest silence between two progress reports; no limit when absent. Not yet acted
    upon."""


class CallbackEvent(enum.StrEnum):
    """What a callback may report."""

    QUEUED = "queued"
    STARTED = "started"
    PROGRESS = "progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


URL_PATTERN = r"^https?://[^\s/?#@\\]+([/?][^\s#\\]*)?$"
Url = Annotated[str, StringConstraints(pattern=URL_PATTERN, max_length=2048)]


class Callback(Model):
    """Where to send what becomes of the task."""

    url: Url
    """The receiver: https, unless the installation allows http for that host; no user name, no
    fragment. Private addresses are refused unless the installation allows them."""

    secret_ref: SecretKeyRef | None = None
    """The signing key, `whsec_` and base64 of 24 to 64 bytes; the owner's own key when absent. The
    Secret must carry the label longtask.dev/callback: "true"."""

    events: (
        Annotated[list[CallbackEvent], Field(max_length=6, json_schema_extra={"uniqueItems": True})]
        | None
    ) = None
    """What to report; succeeded, failed and cancelled when absent. The events queued, started and
    progress are not yet acted upon."""

    headers: (
        Annotated[
            dict[str, Annotated[str, StringConstraints(pattern=r"^[\t -~]*$", max_length=1024)]],
            Field(max_length=20),
        ]
        | None
    ) = None
    """Further headers to send. Host, webhook-* and connection headers cannot be set."""


class Notify(Model):
    """Who gets an e-mail."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    """The address."""

    events: (
        Annotated[list[CallbackEvent], Field(max_length=6, json_schema_extra={"uniqueItems": True})]
        | None
    ) = None
    """What to report; succeeded, failed and cancelled when absent."""


class Step(Model):
    """One step of a pipeline."""

    name: Label
    """The step's name, unique in the task."""

    type: Label | None = None
    """The name of a LongTaskType. Exactly one of type and container."""

    container: Container | None = None
    """Any image. Exactly one of type and container."""

    input: Json = None
    """The step's input: any JSON. An object {"$from": "steps.NAME#/json/pointer"} stands for that
    part of an earlier step's result."""

    needs: Annotated[list[Label], Field(max_length=50)] | None = None
    """The steps that come before this one; the step above when absent."""

    retry: Retry | None = None
    """When and how often to try this step again."""

    timeouts: Timeouts | None = None
    """How long this step may take."""

    resources: Resources | None = None
    """What this step's container gets."""

    weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The step's share of the task's progress; 1 when absent."""

    finally_: bool | None = Field(default=None, alias="finally")
    """Run this step whatever became of the others."""


Priority = Annotated[int, Field(ge=0, le=100)]


class LongTaskSpec(Model):
    """What to run and how. Immutable, but for cancel, priority and ttlSecondsAfterFinished."""

    type: Label | None = None
    """The name of a LongTaskType. Exactly one of type, container and steps."""

    container: Container | None = None
    """Any image. Exactly one of type, container and steps."""

    steps: (
        Annotated[
            list[Step],
            Field(
                min_length=1,
                max_length=50,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            ),
        ]
        | None
    ) = None
    """A pipeline of linked steps. Exactly one of type, container and steps. Not yet acted upon: a
    task with steps is not accepted."""

    input: Json = None
    """The program's input: any JSON up to 64 KiB; {} when absent."""

    queue: Label | None = None
    """The name of a LongTaskQueue; the type's, or default, when absent."""

    priority: Priority | None = None
    """One point is one minute of head start in the queue; the type's, or 50, when absent."""

    resources: Resources | None = None
    """What the container gets, up to the installation's cap; the type's when absent."""

    retry: Retry | None = None
    """When and how often to try again; the type's when absent."""

    timeouts: Timeouts | None = None
    """How long each part may take; the type's when absent."""

    callback: Callback | None = None
    """Where to send what becomes of the task, signed."""

    notify: Annotated[list[Notify], Field(max_length=10)] | None = None
    """Who gets an e-mail. Not yet acted upon."""

    cancel: bool | None = None
    """Set it to true to cancel the task. There is no way back."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long the resource stays after its end. Not yet acted upon: it stays until somebody
    deletes it."""


class ConditionStatus(enum.StrEnum):
    """The three values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One `metav1.Condition`."""

    type: Word
    """Accepted, Finished, Succeeded, CallbackDelivered or Stalled."""

    status: ConditionStatus
    """True, False or Unknown."""

    reason: Word
    """Why, as one word that programs may rely on."""

    message: Message = ""
    """Why, for people."""

    last_transition_time: Time
    """When the status last changed."""

    observed_generation: int | None = None
    """The generation of the resource that this speaks of."""


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

    exit_code: int | None = None
    """The program's exit code."""

    reason: Word | None = None
    """How it ended, as one word."""

    message: Message | None = None
    """How it ended, for people."""


class Progress(Model):
    """What the program last said of itself."""

    percent: Percent | None = None
    """How much of the work is done."""

    message: Message | None = None
    """What it is doing."""

    checkpoint: Json = None
    """What a further attempt can go on from: any JSON up to 16 KiB. Not yet acted upon."""

    updated_at: Time | None = None
    """When it was said."""


class ResultRef(Model):
    """A result that is kept outside the resource. Not yet acted upon."""

    size: Count
    """Its size in bytes."""

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    """Its SHA-256 sum, in hex."""


class Result(Model):
    """What the program brought: a value, or a reference to a larger one."""

    value: Json = None
    """The result itself: any JSON up to 4095 bytes."""

    ref: ResultRef | None = None
    """Where a larger result is kept."""


class StepStatus(Model):
    """Where one step of a pipeline stands. Not yet acted upon."""

    name: Label
    """The step's name."""

    phase: Phase | None = None
    """Where it stands."""

    attempt: Count | None = None
    """The number of its last attempt."""

    progress: Progress | None = None
    """What it last said of itself."""

    result: Result | None = None
    """What it brought."""


class CallbackState(enum.StrEnum):
    """Where a delivery stands."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    EXHAUSTED = "Exhausted"


class CallbackStatus(Model):
    """The delivery of the last event: an outbox of one entry."""

    id: Word
    """The webhook-id: the same on every try."""

    event: CallbackEvent
    """What is reported."""

    state: CallbackState
    """Pending, Delivered or Exhausted."""

    tries: Count = 0
    """How often it was sent."""

    next_try_at: Time | None = None
    """When it is sent next."""

    last_code: int | None = None
    """The status code of the last answer."""

    last_error: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What went wrong on the last try, if no answer came."""

    delivered_at: Time | None = None
    """When it was accepted."""


class LongTaskStatus(Model):
    """Where the task stands. The operator writes it; progress comes from the runner."""

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
    """The number of the last attempt."""

    attempts: Annotated[list[Attempt], Field(max_length=10)] | None = None
    """The last ten attempts."""

    progress: Progress | None = None
    """What the program last said of itself."""

    result: Result | None = None
    """What the program brought."""

    steps: Annotated[list[StepStatus], Field(max_length=50)] | None = None
    """Where each step stands."""

    callback: CallbackStatus | None = None
    """The delivery of the last event."""

    waiting: Message | None = None
    """Why it cannot start, where the cause is its own."""

    def is_true(self, kind: str) -> bool:
        """Tell whether the condition of that type is there and True."""
        return any(c.type == kind and c.status is ConditionStatus.TRUE for c in self.conditions)


class OwnerReference(Model):
    """The part of `metav1.OwnerReference` that we read."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class ObjectMeta(Model):
    """The part of `metav1.ObjectMeta` that we read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Resource(Model):
    """A resource of ours, as the API server gives it."""

    api_version: str = names.API_VERSION
    kind: str
    metadata: ObjectMeta


class LongTask(Resource):
    """One task, and its whole story."""

    kind: str = "LongTask"
    spec: LongTaskSpec
    status: LongTaskStatus = Field(default_factory=LongTaskStatus)

    @property
    def is_finished(self) -> bool:
        """Tell whether the task has its outcome."""
        return self.status.is_true("Finished")


class LongTaskQueueSpec(Model):
    """How many tasks run at once."""

    max_running: Count | None = None
    """How many tasks of this queue may run at once; no limit when absent."""

    max_running_per_owner: Count | None = None
    """How many tasks of one owner may run at once; no limit when absent. Not yet acted upon."""

    paused: bool | None = None
    """While true, no task of this queue is started; those that run go on."""

    kueue_local_queue: Label | None = None
    """The Kueue LocalQueue that the Jobs are handed to. Not yet acted upon."""


class LongTaskQueueStatus(Model):
    """What the operator knows of the queue. Counts are made on reading, never stored."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Conditions of the queue. Not yet written."""


class LongTaskQueue(Resource):
    """How many tasks run at once, and in which order."""

    kind: str = "LongTaskQueue"
    spec: LongTaskQueueSpec = Field(default_factory=LongTaskQueueSpec)


class TypeDefaults(Model):
    """What a task of this type gets where it says nothing."""

    queue: Label | None = None
    """The queue."""

    priority: Priority | None = None
    """The priority."""

    resources: Resources | None = None
    """What the container gets."""

    retry: Retry | None = None
    """When and how often to try again."""

    timeouts: Timeouts | None = None
    """How long each part may take."""


class TypeSecurity(Model):
    """What images need that cannot run under the strictest rules as they are."""

    run_as_user: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """The numeric user; 65532 when absent. Never root."""

    writable_root: bool | None = None
    """Let the program write to the image's own folders."""


class Egress(enum.StrEnum):
    """Which network the pods of a type may reach."""

    NONE = "none"
    INTERNET = "internet"


class LongTaskTypeSpec(Model):
    """A named, reusable task."""

    description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """What the task does, for people."""

    container: TypeContainer | None = None
    """The container; the installed runner image when absent."""

    input_schema: Annotated[
        dict[str, Any] | None,
        WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ] = None
    """The JSON Schema that each input must fit; any input fits when absent."""

    defaults: TypeDefaults | None = None
    """What a task of this type gets where it says nothing."""

    security: TypeSecurity | None = None
    """What images need that cannot run under the strictest rules as they are."""

    egress: Egress | None = None
    """Which network the pods may reach, where network policies are enforced: none (DNS and the
    reporting port only), when absent, or internet."""


class LongTaskTypeStatus(Model):
    """What the operator knows of the type."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""

    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(default_factory=list)
    """Conditions of the type. Not yet written."""


class LongTaskType(Resource):
    """A named, reusable task: image, input's schema, defaults."""

    kind: str = "LongTaskType"
    spec: LongTaskTypeSpec = Field(default_factory=LongTaskTypeSpec)


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

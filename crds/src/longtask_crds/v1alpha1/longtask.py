"""LongTask: one task, and its whole story."""

from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds.v1alpha1.conditions import ConditionType
from longtask_crds.v1alpha1.fields import GivenTime, Json, Label, Model, Priority, StepName
from longtask_crds.v1alpha1.longtask_status import LongTaskStatus, Phase
from longtask_crds.v1alpha1.metadata import Resource
from longtask_crds.v1alpha1.notification import Callback, Notify
from longtask_crds.v1alpha1.workload import Container, Resources, Retry, Timeouts


class Step(Model):
    """One step of a pipeline."""

    name: StepName
    """The step's name, unique in the task."""

    type: Label | None = None
    """The name of a LongTaskType. Exactly one of type and container."""

    container: Container | None = None
    """Any image. Exactly one of type and container."""

    input: Json = None
    """The step's input: any JSON. In it {"$from": "SOURCE#/json/pointer"} stands for a part of what
    is known by then: of an earlier step's result (`steps.NAME`), of the task's own input (`input`),
    with `forEach` of the item (`item`), in a step marked `finally` of how the rest ended
    (`outcome`). {"$from": …, "default": …} says what stands there if that part is missing.
    {"$ref": "steps.NAME"} stands for the path of a file that holds the whole result, whatever its
    size."""

    needs: Annotated[list[StepName], Field(max_length=50)] | None = None
    """The steps that come before this one; the step above when absent. [] starts at once."""

    when: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """A condition in CEL; where it is false, the step is not taken. It sees the task's `input`, of
    each step before it `steps.NAME.phase` and `steps.NAME.result`, and in a step marked `finally`
    the `outcome`."""

    for_each: Json = None
    """A list, or {"$from": …} for one: the step is done once for each of its items, up to 100, and
    its result is the list of what they brought, in order. The item stands in the input as `item`,
    unless parts of it are taken by {"$from": "item#…"}."""

    max_parallel: Annotated[int, Field(ge=1, le=100)] | None = None
    """With `forEach`: how many of the items are worked on side by side; 4 when absent."""

    min_successful: Annotated[int, Field(ge=0, le=100)] | None = None
    """With `forEach`: how many of the items must succeed; all when absent. In the result null
    stands for what failed."""

    continue_on_failure: bool | None = None
    """Go on with the steps that come after this one even if it fails."""

    retry: Retry | None = None
    """When and how often to try this step again."""

    timeouts: Timeouts | None = None
    """How long this step may take: `queueSeconds` says nothing here, and `totalSeconds` counts from
    when its first attempt begins."""

    resources: Resources | None = None
    """What this step's container gets."""

    weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The step's share of the task's progress; 1 when absent."""

    finally_: bool | None = Field(default=None, alias="finally")
    """Run this step when the others are over, however they ended: also after a failure, a timeout
    or a cancellation."""


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
    """A pipeline of linked steps. Exactly one of type, container and steps."""

    max_parallel: Annotated[int, Field(ge=1, le=50)] | None = None
    """Of a pipeline: how many steps run side by side; 4 when absent."""

    output: Json = None
    """Of a pipeline: what the task's result is made of: any JSON, with {"$from": …} as in the
    inputs of steps. The result of the last step that is not marked `finally` when absent."""

    input: Json = None
    """The program's input: any JSON up to 64 KiB; {} when absent. Of a pipeline: what its steps
    take parts of."""

    queue: Label | None = None
    """The name of a LongTaskQueue; the type's, or default, when absent."""

    priority: Priority | None = None
    """One point is one minute of head start in the queue; the type's, or 50, when absent."""

    resources: Resources | None = None
    """What the container gets, up to the installation's cap; the type's when absent. Of a pipeline:
    of each step that says nothing."""

    retry: Retry | None = None
    """When and how often to try again; the type's when absent. Of a pipeline: each step that says
    nothing."""

    timeouts: Timeouts | None = None
    """How long each part may take; the type's when absent. Of a pipeline: `queueSeconds` and
    `totalSeconds` of the whole, the others of each step that says nothing."""

    callback: Callback | None = None
    """Where to send what becomes of the task, signed."""

    notify: Annotated[list[Notify], Field(max_length=10)] | None = None
    """Who gets an e-mail. The installation says which addresses it sends to; docs/notices.md."""

    not_before: GivenTime | None = None
    """When the task joins its queue, at most a year ahead; at once when absent or past."""

    cancel: bool | None = None
    """Set it to true to cancel the task. There is no way back."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long the resource stays after its end; when absent, 86400, or 604800 if it failed, unless
    the installation says otherwise. Then it is archived and deleted, but never before its callback
    is delivered, or for seven days after the last try if it was given up."""


class LongTask(Resource):
    """One task, and its whole story."""

    kind: str = "LongTask"
    spec: LongTaskSpec
    status: LongTaskStatus = Field(default_factory=LongTaskStatus)

    @property
    def phase(self) -> Phase:
        """Return where the task stands, for people."""
        return self.status.phase or Phase.PENDING

    @property
    def is_finished(self) -> bool:
        """Tell whether the task has its outcome."""
        return self.status.is_true(ConditionType.FINISHED)

"""LongTask: one task, and its whole story."""

from typing import Annotated

from pydantic import Field

from longtask_crds.v1alpha1.conditions import ConditionType
from longtask_crds.v1alpha1.fields import GivenTime, Json, Label, Model, Priority
from longtask_crds.v1alpha1.longtask_status import LongTaskStatus, Phase
from longtask_crds.v1alpha1.metadata import Resource
from longtask_crds.v1alpha1.notification import Callback, Notify
from longtask_crds.v1alpha1.workload import Container, Resources, Retry, Timeouts


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

    not_before: GivenTime | None = None
    """When the task joins its queue, at most a year ahead; at once when absent or past."""

    cancel: bool | None = None
    """Set it to true to cancel the task. There is no way back."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long the resource stays after its end; when absent, 86400, or 604800 if it failed, unless
    the installation says otherwise. Then it is archived and deleted, but never before its callback
    is delivered or given up."""


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

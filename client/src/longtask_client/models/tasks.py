"""Tasks: handed over, looked at, listed, followed, cancelled."""

import contextlib
import enum
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from longtask_client.models.common import Order
from longtask_client.models.service import Problem
from longtask_crds import events, v1alpha1

#: How many orders a batch may have.
BATCH_MAX_ITEMS: Final = 500


def _any_case(phase: Any) -> Any:
    with contextlib.suppress(AttributeError, ValueError):
        return v1alpha1.Phase(phase.capitalize())
    return phase


#: In capitals or not: one rule for the API and the command line.
GivenPhase = Annotated[v1alpha1.Phase, BeforeValidator(_any_case)]


class TaskOrder(v1alpha1.LongTaskSpec):
    """A task to run: the fields of a LongTask's spec, and what names it."""

    model_config = ConfigDict(extra="forbid")

    name: v1alpha1.TaskName | None = None
    """The task's name and id; made up when absent."""

    labels: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=20)]
        | None
    ) = None
    """Labels of one's own, to find the task by."""

    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """The same key with the same order again gives the same task. The header Idempotency-Key does
    the same and must not differ."""


class TaskChange(v1alpha1.Model):
    """What may be changed of a task that waits, as a JSON Merge Patch."""

    model_config = ConfigDict(extra="forbid", strict=True)

    priority: v1alpha1.Priority
    """Minutes of head start in the queue."""


class TaskState(v1alpha1.Model):
    """What a poller needs."""

    state: v1alpha1.Phase
    """Where the task stands."""

    percent: int | None
    """How much of the work is done."""


class EstimatedStart(v1alpha1.Model):
    """When a task that waits may start, if those ahead take as long as those before them took."""

    earliest: datetime
    """Not before; it may be past, then it is any time from now."""

    latest: datetime
    """Not after."""


class TaskView(v1alpha1.Model):
    """A task as the API shows it."""

    id: str
    """The task's id: the resource's name."""

    namespace: str
    """The namespace of the resource."""

    type: str | None
    """The LongTaskType's name; null for a task with a container of its own, and for a pipeline."""

    phase: v1alpha1.Phase
    """Where it stands, for people."""

    percent: int | None
    """How much of the work is done; 100 once it has succeeded."""

    message: str | None
    """What it is doing, or how it ended."""

    reason: str | None
    """Why it stands where it stands, as one word."""

    waiting: str | None
    """Why it does not start yet."""

    queue: str | None
    """The queue it waits in or came through."""

    queue_position: int | None
    """Its place in that queue: 1 is next; null when it does not wait."""

    estimated_start: EstimatedStart | None
    """When it may start, as far as the past of its queue tells; null where that tells nothing, and
    when it does not wait."""

    priority: int
    """Minutes of head start."""

    attempt: int
    """The number of the last attempt; 0 before the first."""

    attempts: list[v1alpha1.Attempt]
    """The last attempts."""

    disruptions: int = 0
    """How many attempts cost nothing because their pod was disrupted."""

    retry_at: datetime | None = None
    """When the next attempt joins the queue, while there is one to come."""

    step: str | None = None
    """Of a pipeline: how far it is, as `3/6 convert`."""

    steps: list[v1alpha1.StepStatus]
    """Of a pipeline: where each of its steps stands, once it has its place."""

    result: v1alpha1.Result | None
    """What the program brought; of a large result its size and sum only, as `ref`."""

    result_url: str | None
    """Where a result is read that is not here; null if it is here, or if there is none."""

    callback: v1alpha1.CallbackStatus | None
    """The delivery of the last event."""

    owner: str | None
    """Whose task it is."""

    owner_name: str | None = None
    """What people call them, where that is something else."""

    labels: dict[str, str]
    """Labels of the resource."""

    retry_of: str | None = None
    """The id of the task that this one does again; null for one of its own."""

    created_at: datetime
    """When it was handed over."""

    queued_at: datetime | None
    """When it entered its queue."""

    started_at: datetime | None
    """When its program first started."""

    finished_at: datetime | None
    """When it ended."""

    links: dict[str, str]
    """Paths of what belongs to it: self, state, result, logs, callbacks, cancel, retry; retryOf,
    if it is one."""


class TaskFilter(Order):
    """What tasks must be like to be listed; what is not given does not matter."""

    phases: tuple[GivenPhase, ...] = ()
    """In one of these phases."""

    queue: str | None = None
    """In this queue."""

    type: str | None = None
    """Of this type."""

    owner: str | None = None
    """Of this owner."""

    labels: dict[str, str] = Field(default_factory=dict)
    """With all of these labels."""

    search: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """With this text in the name or the message, in capitals or not."""

    since: v1alpha1.GivenTime | None = None
    """Made at this time or later."""

    until: v1alpha1.GivenTime | None = None
    """Made before this time."""

    archived: bool | None = None
    """Only those whose resources are gone, or only those whose are not."""

    def to_query(self) -> dict[str, Any]:
        """Return it as the parameters of a list, or of a stream of tasks."""
        said = self.to_json()
        phases, labels = said.pop("phases"), said.pop("labels")
        if self.archived is not None:
            said["archived"] = str(self.archived).lower()
        return {
            **said,
            "phase": phases,
            "label": [f"{key}={value}" for key, value in labels.items()],
        }


#: All tasks that there are to see.
EVERY: Final = TaskFilter()


class TaskProgress(v1alpha1.Model):
    """How far a task is: what a stream tells when nothing else has changed."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""

    phase: v1alpha1.Phase
    """Where it stands."""

    percent: int | None
    """How much of the work is done."""

    message: str | None
    """What the program is doing."""

    updated_at: v1alpha1.Time | None
    """When the program was last heard."""

    event: events.Event | None = None
    """The same as an event of the task, as a callback tells it; null if there is no percent."""


class TaskResult(v1alpha1.Model):
    """How a task ended, and what it brought: the last that its stream tells."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""

    phase: v1alpha1.Phase
    """How it ended."""

    reason: str | None
    """Why, as one word."""

    message: str | None
    """Why, for people."""

    result: v1alpha1.Result | None
    """What the program brought."""

    result_url: str | None = None
    """The path of the result if it is too large to be here."""


class TaskGone(v1alpha1.Model):
    """A task whose resource was deleted: by somebody, or because it is archived."""

    id: str
    """The task's id."""

    namespace: str
    """The namespace of the resource."""


class StreamReset(v1alpha1.Model):
    """What a stream of many tasks tells of what it cannot tell."""

    message: str
    """What is missing, for people."""


class TaskPage(v1alpha1.Model):
    """One page of a list."""

    items: list[TaskView]
    """The tasks."""

    next_cursor: str | None
    """What brings the next page; null on the last one. Where few tasks fit the filter, a page may
    be short or empty and not be the last."""

    incomplete: str | None = None
    """What is missing although it fits, and why; null when nothing is."""


class BatchItem(v1alpha1.Model):
    """What became of one order of a batch: a task, or a problem."""

    status: int
    """The status that the order alone would have been answered with: 202, or 200 for one that the
    same batch made before; else what went wrong."""

    task: TaskView | None = None
    """The task."""

    problem: "Problem | None" = None
    """Why there is none."""


class BatchAnswer(v1alpha1.Model):
    """What became of a batch."""

    items: list[BatchItem]
    """One for each order, at its place."""

    accepted: int
    """How many of them have a task."""


class CancelOrder(TaskFilter):
    """Which tasks to cancel: all that the fields fit together."""

    all: bool = False
    """Those that no other field is about: needed where none is given."""

    cursor: str | None = None
    """`nextCursor` of the answer before."""


class Cancellation(v1alpha1.Model):
    """Which tasks were asked to end."""

    count: int
    """How many."""

    items: list[str]
    """Their ids."""

    more: bool
    """Whether there may be more: ask again, with the cursor."""

    next_cursor: str | None
    """What goes on from there; null when all are done."""


class SortOrder(enum.StrEnum):
    """How a list of tasks is sorted."""

    NEWEST = "-createdAt"
    OLDEST = "createdAt"
    NEXT = "queuePosition"

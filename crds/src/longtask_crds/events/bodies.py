"""How a receiver is told what happened to a task: the body of a callback.

The bytes are derived from the stored resource alone, so that no restart can change them. An end is
told from the status, which is frozen by then; of an event before that the outbox keeps what it says
(`EventFacts`), for the task goes on while it is delivered.
"""

from datetime import UTC, datetime

from pydantic import Field

from longtask_crds import json_values, v1alpha1
from longtask_crds.events import formats, numbers
from longtask_crds.v1alpha1 import (
    MediaType,
    MessageFormat,
    Phase,
    StepPhase,
    TaskEvent,
    conditions,
)

#: Results of more bytes are told by where they are.
INLINE_LIMIT = 64 * 1024

#: Where a task stands when an event before its end tells of it.
_PHASES = {
    TaskEvent.QUEUED: Phase.QUEUED,
    TaskEvent.STARTED: Phase.RUNNING,
    TaskEvent.PROGRESS: Phase.RUNNING,
    TaskEvent.RETRYING: Phase.RETRYING,
}


class StepData(v1alpha1.Model):
    """Where a step of a pipeline stands."""

    name: str
    """The step's name."""

    phase: v1alpha1.StepPhase
    """Where it stands."""

    attempt: int
    """The number of its last attempt; 0 before the first."""

    reason: str | None
    """Why, as one word."""

    message: str | None
    """Why, for people."""

    items: int | None = None
    """With `forEach`: how many items there were, …"""

    succeeded: int | None = None
    """… how many of them succeeded, …"""

    failed: int | None = None
    """… and how many failed."""


class CallbackData(v1alpha1.Model):
    """The task that something happened to."""

    id: str
    """The task's id."""

    name: str
    """The resource's name: the same."""

    namespace: str
    """The namespace of the resource."""

    type: str | None
    """The LongTaskType's name."""

    phase: v1alpha1.Phase
    """Where it stands."""

    percent: int | None
    """How much of the work is done."""

    reason: str | None
    """Why, as one word; of a further attempt, why the one before failed."""

    message: str | None
    """Why, for people, or what the program is doing."""

    attempt: int
    """The number of the last attempt; 0 before the first."""

    queued_at: v1alpha1.Time | None
    """When it entered its queue."""

    started_at: v1alpha1.Time | None
    """When its program started."""

    finished_at: v1alpha1.Time | None
    """When it ended."""

    sequence: int
    """What sorts the events of a task, for callbacks come in any order: a later one has a higher
    number."""

    step: str | None = None
    """Of a pipeline: the step that failed, or that is tried again."""

    steps: list[StepData] | None = None
    """Of a pipeline, at its end: where each step stands."""

    result: v1alpha1.Json = None
    """What the program brought, if it succeeded: JSON, or text that is none as a string. Null if it
    is too large to be here, or is no text: then `resultUrl` is there."""

    result_url: str | None = None
    """Where the result is read if it is not here, with the API's token."""


class CallbackBody(v1alpha1.Model):
    """What is sent to `callback.url`."""

    type: str = Field(examples=["longtask.succeeded"])
    """The event: `longtask.` and queued, started, progress, retrying, succeeded, failed or
    cancelled; longtask.test is no task's."""

    timestamp: v1alpha1.Time | None
    """When it happened."""

    data: CallbackData
    """What happened to which task."""


def result_path(name: str) -> str:
    """Return the path of a task's result below where users reach the API."""
    return f"/api/v1/tasks/{name}/result"


def fetched(task: v1alpha1.LongTask, event: TaskEvent) -> v1alpha1.ResultRef | None:
    """Return what must be fetched before the event can be told; None if all of it is there."""
    result = task.status.result
    if event is not TaskEvent.SUCCEEDED or result is None or result.ref is None:
        return None
    is_small = result.ref.size <= INLINE_LIMIT
    return result.ref if is_small and result.ref.media_type is not MediaType.BYTES else None


def body(
    task: v1alpha1.LongTask,
    event: TaskEvent,
    *,
    webhook_id: str = "",
    form: v1alpha1.MessageFormat = MessageFormat.STANDARD,
    facts: v1alpha1.EventFacts | None = None,
    public_url: str = "",
    result: bytes | None = None,
) -> bytes:
    """Return the bytes to send: the same on every try.

    Args:
        task: The task.
        event: What is told of it.
        webhook_id: The event's id, for formats that have it inside.
        form: How it is told.
        facts: What is told of it, of an event that is no end; those of the outbox when absent.
        public_url: Where users reach the API.
        result: What `fetched` asked for; None if it asked for nothing, or if that is gone.
    """
    if event in numbers.TERMINAL.values():
        at, data = task.status.finished_at, _ended(task, event, public_url, result)
    else:
        if facts is None and task.status.callback is not None:
            facts = task.status.callback.facts
        if facts is None:
            raise ValueError("an event that is no end is kept with what it tells")
        at, data = facts.at, _under_way(task, event, facts)
    if form is MessageFormat.SLACK:
        return formats.for_people(_line(event, data))
    # Only a success has a result, and null is one: the field is there as soon as it is set.
    document = data.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = json_values.compact(document).encode()
    if event is TaskEvent.SUCCEEDED and result is not None:
        text = text.removesuffix(b"null}") + _as_json(task, result) + b"}"
    told = formats.Told(event, at, text)
    if form is MessageFormat.CLOUDEVENTS:
        return formats.cloud_event(
            told, webhook_id=webhook_id, namespace=data.namespace, subject=data.name
        )
    return formats.standard(told)


def trial_body(
    now: datetime, *, webhook_id: str = "", form: v1alpha1.MessageFormat = MessageFormat.STANDARD
) -> bytes:
    """Return the bytes of an event that tells of no task: a receiver is tried with them."""
    if form is MessageFormat.SLACK:
        return formats.for_people("This is a test.")
    told = formats.Told("test", now.astimezone(UTC).replace(microsecond=0), b"{}")
    if form is MessageFormat.CLOUDEVENTS:
        return formats.cloud_event(told, webhook_id=webhook_id, namespace="", subject="")
    return formats.standard(told)


def _line(event: TaskEvent, data: CallbackData) -> str:
    """Return what people are told."""
    what = f" ({data.type})" if data.type else ""
    step = f", step {data.step}" if data.step else ""
    done = f", {data.percent} %" if event is TaskEvent.PROGRESS and data.percent is not None else ""
    attempt = f", attempt {data.attempt}" if data.attempt > 1 else ""
    why = ": ".join(part for part in (data.reason, data.message) if part)
    return f"{data.name}{what}: {event}{step}{done}{attempt}{'. ' + why if why else ''}"


def _ended(
    task: v1alpha1.LongTask, event: TaskEvent, public_url: str, result: bytes | None
) -> CallbackData:
    status, meta = task.status, task.metadata
    succeeded = conditions.find(status.conditions, v1alpha1.ConditionType.SUCCEEDED)
    data = CallbackData(
        id=meta.name,
        name=meta.name,
        namespace=meta.namespace,
        type=task.spec.type,
        phase=status.phase or Phase.PENDING,
        percent=status.progress.percent if status.progress else None,
        reason=succeeded.reason if succeeded else None,
        message=succeeded.message if succeeded else None,
        attempt=status.attempt or 0,
        queued_at=status.queued_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        sequence=numbers.sequence(event, numbers.last_ordinal(status)),
    )
    if status.steps:
        failed = status.outcome.step if status.outcome else None
        data = data.model_copy(update={"step": failed, "steps": list(map(_step, status.steps))})
    if event is TaskEvent.SUCCEEDED:
        data = data.model_copy(update=_result_fields(task, public_url, result))
    return data


def _step(step: v1alpha1.StepStatus) -> StepData:
    told: dict[str, object] = {
        field: getattr(step, field)
        for field in ("items", "succeeded", "failed")
        if getattr(step, field) is not None
    }
    return StepData(
        name=step.name,
        phase=step.phase or StepPhase.PENDING,
        attempt=step.attempt or 0,
        reason=step.reason,
        message=step.message,
        **told,
    )


def _result_fields(
    task: v1alpha1.LongTask, public_url: str, content: bytes | None
) -> dict[str, object]:
    """Return the fields that tell a result; null stands for what was fetched."""
    result = task.status.result or v1alpha1.Result()
    if result.ref is None or content is not None:
        return {"result": result.value}
    return {
        "result": None,
        "result_url": public_url.rstrip("/") + result_path(task.metadata.name),
    }


def _as_json(task: v1alpha1.LongTask, content: bytes) -> bytes:
    """Return what was fetched as JSON: as it is, or its digits might not survive."""
    ref = task.status.result.ref if task.status.result else None
    if ref is not None and ref.media_type is MediaType.TEXT:
        return json_values.compact(content.decode()).encode()
    return content


def _under_way(
    task: v1alpha1.LongTask, event: TaskEvent, facts: v1alpha1.EventFacts
) -> CallbackData:
    meta = task.metadata
    data = CallbackData(
        id=meta.name,
        name=meta.name,
        namespace=meta.namespace,
        type=task.spec.type,
        phase=_PHASES[event],
        percent=facts.percent,
        reason=facts.reason,
        message=facts.message,
        attempt=facts.attempt,
        queued_at=task.status.queued_at,
        started_at=facts.started_at,
        finished_at=None,
        sequence=facts.sequence or numbers.sequence(event, facts.attempt, facts.percent),
    )
    return data if facts.step is None else data.model_copy(update={"step": facts.step})

"""What happened to a task, and how a receiver is told: the event, its id, its body.

The bytes are derived from the stored resource alone, so that no restart can change them.
"""

import uuid
from datetime import datetime

from pydantic import Field

from longtask_crds import json_values, v1alpha1
from longtask_crds.v1alpha1 import MediaType, TaskEvent, conditions

#: Results of more bytes are told by where they are.
INLINE_LIMIT = 64 * 1024

_TERMINAL = {
    v1alpha1.Phase.SUCCEEDED: TaskEvent.SUCCEEDED,
    v1alpha1.Phase.FAILED: TaskEvent.FAILED,
    v1alpha1.Phase.CANCELLED: TaskEvent.CANCELLED,
}
_SEQUENCE = {
    TaskEvent.QUEUED: 1,
    TaskEvent.STARTED: 2,
    TaskEvent.PROGRESS: 3,
    TaskEvent.SUCCEEDED: 4,
    TaskEvent.FAILED: 4,
    TaskEvent.CANCELLED: 4,
}


class CallbackData(v1alpha1.Model):
    """The task that ended."""

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

    reason: str | None
    """Why, as one word."""

    message: str | None
    """Why, for people."""

    attempt: int
    """The number of the last attempt."""

    queued_at: v1alpha1.Time | None
    """When it entered its queue."""

    started_at: v1alpha1.Time | None
    """When its program started."""

    finished_at: v1alpha1.Time | None
    """When it ended."""

    sequence: int
    """The rank of the event: callbacks come in any order."""

    result: v1alpha1.Json = None
    """What the program brought, if it succeeded: JSON, or text that is none as a string. Null if it
    is too large to be here, or is no text: then `resultUrl` is there."""

    result_url: str | None = None
    """Where the result is read if it is not here, with the API's token."""


class CallbackBody(v1alpha1.Model):
    """What is sent to `callback.url`."""

    type: str = Field(examples=["longtask.succeeded"])
    """The event: longtask.succeeded, longtask.failed or longtask.cancelled."""

    timestamp: v1alpha1.Time | None
    """When it happened."""

    data: CallbackData
    """What happened to which task."""


def terminal_event(phase: v1alpha1.Phase) -> TaskEvent:
    """Return the event that reports this end."""
    return _TERMINAL[phase]


def is_wanted(callback: v1alpha1.Callback, event: TaskEvent) -> bool:
    """Tell whether the receiver asked for this event; the three ends unless it says otherwise."""
    wanted = callback.events
    return event in (_TERMINAL.values() if wanted is None else wanted)


def webhook_id(task_uid: str, event: TaskEvent, attempt: int) -> str:
    """Return the delivery's id: the same for the same facts, whoever computes it, whenever."""
    return f"msg_{uuid.uuid5(uuid.UUID(task_uid), f'{event}/{attempt}')}"


def outbox(
    task: v1alpha1.LongTask, phase: v1alpha1.Phase, attempt: int, *, now: datetime
) -> v1alpha1.CallbackStatus | None:
    """Return the delivery of a task's end that is due now, or None if nobody asked for it.

    Args:
        task: The task.
        phase: How it ended.
        attempt: The number of its last attempt; 0 for none.
        now: When it is due.
    """
    event = terminal_event(phase)
    if task.spec.callback is None or not is_wanted(task.spec.callback, event):
        return None
    return v1alpha1.CallbackStatus(
        id=webhook_id(task.metadata.uid, event, attempt),
        event=event,
        state=v1alpha1.CallbackState.PENDING,
        next_try_at=now,
    )


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
    public_url: str = "",
    result: bytes | None = None,
) -> bytes:
    """Return the bytes to send: the same on every try.

    Args:
        task: The task.
        event: What is told of it.
        public_url: Where users reach the API.
        result: What `fetched` asked for; None if it asked for nothing, or if that is gone.
    """
    status, meta = task.status, task.metadata
    succeeded = conditions.find(status.conditions, v1alpha1.ConditionType.SUCCEEDED)
    data = CallbackData(
        id=meta.name,
        name=meta.name,
        namespace=meta.namespace,
        type=task.spec.type,
        phase=status.phase or v1alpha1.Phase.PENDING,
        reason=succeeded.reason if succeeded else None,
        message=succeeded.message if succeeded else None,
        attempt=status.attempt or 0,
        queued_at=status.queued_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        sequence=_SEQUENCE[event],
    )
    if event is TaskEvent.SUCCEEDED:
        data = data.model_copy(update=_result_fields(task, public_url, result))
    told = CallbackBody(type=f"longtask.{event}", timestamp=status.finished_at, data=data)
    # Only a success has a result, and null is one: the field is there as soon as it is set.
    document = told.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = json_values.compact(document).encode()
    if event is TaskEvent.SUCCEEDED and result is not None:
        return text.removesuffix(b"null}}") + _as_json(task, result) + b"}}"
    return text


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

"""What happened to a task, and how a receiver is told: the event, its id, its body.

The bytes are derived from the stored resource alone, so that no restart can change them. An end is
told from the status, which is frozen by then; of an event before that the outbox keeps what it says
(`EventFacts`), for the task goes on while it is delivered.
"""

import uuid
from datetime import UTC, datetime, timedelta

from pydantic import Field

from longtask_crds import delivery, json_values, v1alpha1
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import MediaType, Phase, Reason, StepPhase, TaskEvent, conditions

#: Results of more bytes are told by where they are.
INLINE_LIMIT = 64 * 1024

_TERMINAL = {
    Phase.SUCCEEDED: TaskEvent.SUCCEEDED,
    Phase.FAILED: TaskEvent.FAILED,
    Phase.CANCELLED: TaskEvent.CANCELLED,
}
#: Where a task stands when an event before its end tells of it.
_PHASES = {
    TaskEvent.QUEUED: Phase.QUEUED,
    TaskEvent.STARTED: Phase.RUNNING,
    TaskEvent.PROGRESS: Phase.RUNNING,
    TaskEvent.RETRYING: Phase.RETRYING,
}
#: A thousand numbers for each attempt, and in them the order in which events can come.
_SEQUENCE_OF_ATTEMPT = 1000
_SEQUENCE = {
    TaskEvent.QUEUED: 1,
    TaskEvent.STARTED: 2,
    TaskEvent.PROGRESS: 100,  #: and the percent
    TaskEvent.RETRYING: 300,
    TaskEvent.SUCCEEDED: 900,
    TaskEvent.FAILED: 900,
    TaskEvent.CANCELLED: 900,
}
#: Progress is told when another tenth of the work is done, and not more often than this.
_PROGRESS_TENTH = 10
_PROGRESS_PAUSE = timedelta(seconds=10)


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


def terminal_event(phase: v1alpha1.Phase) -> TaskEvent:
    """Return the event that reports this end."""
    return _TERMINAL[phase]


def is_wanted(callback: v1alpha1.Callback, event: TaskEvent) -> bool:
    """Tell whether the receiver asked for this event; the three ends unless it says otherwise."""
    wanted = callback.events
    return event in (_TERMINAL.values() if wanted is None else wanted)


def webhook_id(
    task_uid: str,
    event: TaskEvent,
    attempt: int,
    *,
    percent: int | None = None,
    step: str | None = None,
) -> str:
    """Return the delivery's id: the same for the same facts, whoever computes it, whenever."""
    facts = f"{event}/{attempt}" if step is None else f"{event}/{step}/{attempt}"
    facts = facts if percent is None else f"{facts}/{percent}"
    return f"msg_{uuid.uuid5(uuid.UUID(task_uid), facts)}"


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
    made = webhook_id(task.metadata.uid, event, attempt)
    return _entry(task, event, made, before=task.status.callback, now=now)


def on_the_way(
    task: v1alpha1.LongTask, after: v1alpha1.LongTaskStatus, *, now: datetime
) -> v1alpha1.CallbackStatus | None:
    """Return the delivery of what a new status tells before the task's end.

    It takes the place of one before it that is not delivered yet.

    Args:
        task: The task as it was.
        after: Its new status.
        now: When the delivery is due.

    Returns:
        None if nothing of it is news, or nobody asked for it.
    """
    callback = task.spec.callback
    event = None if callback is None else _event_of(task, after, now)
    if callback is None or event is None or not is_wanted(callback, event):
        return None
    facts = _facts(task, event, after, now)
    uid, percent = task.metadata.uid, facts.percent if event is TaskEvent.PROGRESS else None
    made = webhook_id(uid, event, facts.attempt, percent=percent, step=facts.step)
    return _entry(task, event, made, before=after.callback, now=now, facts=facts)


def progress_due_at(task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus) -> datetime | None:
    """Return from when on the progress of a program that runs is worth an event; None if it is not.

    Args:
        task: The task.
        status: Its status, or the one that it gets now.
    """
    wanted = task.spec.callback is not None and is_wanted(task.spec.callback, TaskEvent.PROGRESS)
    progress = status.progress
    if not wanted or status.phase is not Phase.RUNNING or progress is None:
        return None
    tenths = (progress.percent or 0) // _PROGRESS_TENTH
    entry = status.callback
    last = entry.facts if entry is not None and entry.event is TaskEvent.PROGRESS else None
    if last is None or last.attempt != status.attempt:
        return task.metadata.created_at if tenths else None
    return last.at + _PROGRESS_PAUSE if tenths > (last.percent or 0) // _PROGRESS_TENTH else None


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
    if event in _TERMINAL.values():
        at, data = task.status.finished_at, _ended(task, event, public_url, result)
    else:
        facts = task.status.callback.facts if task.status.callback is not None else None
        if facts is None:
            raise ValueError("an event that is no end is kept with what it tells")
        at, data = facts.at, _under_way(task, event, facts)
    told = CallbackBody(type=f"longtask.{event}", timestamp=at, data=data)
    # Only a success has a result, and null is one: the field is there as soon as it is set.
    document = told.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = json_values.compact(document).encode()
    if event is TaskEvent.SUCCEEDED and result is not None:
        return text.removesuffix(b"null}}") + _as_json(task, result) + b"}}"
    return text


def trial_body(now: datetime) -> bytes:
    """Return the bytes of an event that tells of no task: a receiver is tried with them."""
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json_values.compact({"type": "longtask.test", "timestamp": at, "data": {}}).encode()


def _entry(
    task: v1alpha1.LongTask,
    event: TaskEvent,
    made: str,
    *,
    before: v1alpha1.CallbackStatus | None,
    now: datetime,
    facts: v1alpha1.EventFacts | None = None,
) -> v1alpha1.CallbackStatus:
    return v1alpha1.CallbackStatus(
        id=made,
        event=event,
        state=v1alpha1.CallbackState.PENDING,
        next_try_at=now,
        facts=facts,
        # What was asked for before is no request to deliver this one again.
        redelivery=delivery.request_of(task),
        deliveries=before.deliveries if before is not None else None,
    )


def _event_of(
    task: v1alpha1.LongTask, after: v1alpha1.LongTaskStatus, now: datetime
) -> TaskEvent | None:
    """Return what a new status tells before the task's end, if it is news."""
    if after.phase is None or after.phase.is_terminal:
        return None
    before = task.status
    if _retried(before, after) is not None:
        return TaskEvent.RETRYING
    if after.phase is Phase.RETRYING and not _last_of(before).finished_at:
        return TaskEvent.RETRYING
    known, last = _last_of(before), _last_of(after)
    is_known = known.number == last.number and known.started_at is not None
    if after.phase is Phase.RUNNING and last.started_at is not None and not is_known:
        return TaskEvent.STARTED
    if after.steps and before.started_at is None and after.started_at is not None:
        return TaskEvent.STARTED
    if before.queued_at is None and after.queued_at is not None:
        return TaskEvent.QUEUED
    due = progress_due_at(task, after)
    return TaskEvent.PROGRESS if due is not None and now >= due else None


def _last_of(status: v1alpha1.LongTaskStatus) -> v1alpha1.Attempt:
    """Return the last attempt; before the first, one that nothing is known of."""
    return status.attempts[-1] if status.attempts else v1alpha1.Attempt(number=1, job_name="")


def _retried(before: v1alpha1.LongTaskStatus, after: v1alpha1.LongTaskStatus) -> str | None:
    """Return the name of a pipeline's program that is tried again since, or None."""
    for step in after.steps or ():
        for child in (step, *(step.children or ())):
            index = child.index if isinstance(child, v1alpha1.ChildStatus) else None
            name = runs.name_of(step.name, index)
            if (
                child.phase is StepPhase.RETRYING
                and runs.status_of(before, name).phase is not StepPhase.RETRYING
            ):
                return name
    return None


def _facts(
    task: v1alpha1.LongTask, event: TaskEvent, status: v1alpha1.LongTaskStatus, now: datetime
) -> v1alpha1.EventFacts:
    attempt, step = _last_of(status), None
    if event is TaskEvent.RETRYING and status.steps:
        step = _retried(task.status, status)
        attempt = runs.attempt_of(runs.status_of(status, step or "")) or attempt
    progress = status.progress or v1alpha1.Progress()
    match event:
        case TaskEvent.QUEUED:
            at = status.queued_at or now
            return v1alpha1.EventFacts(at=at, attempt=0, reason=Reason.QUEUED)
        case TaskEvent.RETRYING:
            told: dict[str, object] = {
                "at": now,
                "step": step,
                "reason": attempt.reason,
                "message": attempt.message,
            }
        case TaskEvent.PROGRESS:
            told = {
                "at": now,
                "percent": progress.percent,
                "reason": Reason.RUNNING,
                "message": progress.message,
            }
        case _:
            started = attempt.started_at or status.started_at
            told = {"at": started, "percent": progress.percent, "reason": Reason.RUNNING}
    number = attempt.number if step is not None else status.attempt or 0
    if status.steps:
        told["ordinal"] = _ordinal(status)
    return v1alpha1.EventFacts(attempt=number, started_at=status.started_at, **told)


def _ordinal(status: v1alpha1.LongTaskStatus) -> int:
    """Return the number of the attempt, or of a pipeline one that rises with each of its own."""
    again = sum(
        max((run.attempt or 1) - 1, 0)
        for step in status.steps or ()
        for run in (step, *(step.children or ()))
    )
    return (status.attempt or 0) + again


def _sequence(event: TaskEvent, attempt: int, percent: int | None) -> int:
    of_percent = percent or 0 if event is TaskEvent.PROGRESS else 0
    return attempt * _SEQUENCE_OF_ATTEMPT + _SEQUENCE[event] + of_percent


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
        sequence=_sequence(event, _ordinal(status), None),
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
        sequence=_sequence(event, facts.ordinal or facts.attempt, facts.percent),
    )
    return data if facts.step is None else data.model_copy(update={"step": facts.step})

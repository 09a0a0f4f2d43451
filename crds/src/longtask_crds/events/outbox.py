"""Which event of a task is delivered to its receiver now."""

from datetime import datetime, timedelta

from longtask_crds import delivery, v1alpha1
from longtask_crds.events import ledger, numbers
from longtask_crds.v1alpha1 import Phase, TaskEvent

#: Progress is told when another tenth of the work is done, and not more often than this.
_PROGRESS_TENTH = 10
_PROGRESS_PAUSE = timedelta(seconds=10)
#: What is told if one write brings several of them: the outbox has one entry.
_FIRST_OF_ALL = (TaskEvent.RETRYING, TaskEvent.STARTED, TaskEvent.QUEUED)


def is_wanted(
    asked: v1alpha1.Callback | v1alpha1.Notify, event: TaskEvent | ledger.StepEvent
) -> bool:
    """Tell whether the receiver asked for this event; the three ends unless it says otherwise."""
    wanted = asked.events
    return event in (numbers.TERMINAL.values() if wanted is None else wanted)


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
    event = numbers.terminal_event(phase)
    if task.spec.callback is None or not is_wanted(task.spec.callback, event):
        return None
    made = numbers.webhook_id(task.metadata.uid, event, attempt)
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
    if callback is None or after.phase is None or after.phase.is_terminal:
        return None
    told = _told(task, task.model_copy(update={"status": after}), now)
    if told is None or not is_wanted(callback, TaskEvent(told.type)):
        return None
    facts = facts_of(told, after)
    event = TaskEvent(told.type)
    return _entry(task, event, told.id, before=after.callback, now=now, facts=facts)


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


def _told(
    before: v1alpha1.LongTask, after: v1alpha1.LongTask, now: datetime
) -> ledger.Event | None:
    """Return what is to be told before the task's end, if it is news."""
    known = {event.id for event in ledger.of(before)}
    news = [event for event in ledger.of(after) if event.id not in known]
    for kind in _FIRST_OF_ALL:
        for event in news:
            if event.type is kind:
                return event
    due = progress_due_at(before, after.status)
    if due is None or now < due:
        return None
    said = ledger.progress(after)
    return None if said is None else said.model_copy(update={"at": now})


def facts_of(told: ledger.Event, status: v1alpha1.LongTaskStatus) -> v1alpha1.EventFacts:
    """Return what an event tells that is no end: the task goes on while it is delivered."""
    percent = told.percent
    if told.type is TaskEvent.STARTED and status.progress is not None:
        percent = status.progress.percent
    return v1alpha1.EventFacts(
        at=told.at,
        attempt=told.attempt,
        step=told.step,
        sequence=told.sequence,
        percent=percent,
        reason=told.reason,
        message=told.message,
        started_at=None if told.type is TaskEvent.QUEUED else status.started_at,
    )

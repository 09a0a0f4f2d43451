"""What has happened to a task, told from its resource alone.

Whoever tells of a task speaks from here: the callbacks, the streams of the API. Nothing is written
down as an event: each follows from facts that the status keeps for other reasons, so none is lost
by a crash and none is told twice under two names. What a status forgets (all but the last ten
attempts, all but the last of a step) is no longer among them.
"""

import enum
from collections.abc import Iterator
from datetime import datetime

from longtask_crds import v1alpha1
from longtask_crds.events import numbers
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import Reason, StepPhase, TaskEvent, conditions


class StepEvent(enum.StrEnum):
    """What may happen to a step of a pipeline, beside that it is tried again."""

    STARTED = "step.started"
    SUCCEEDED = "step.succeeded"
    FAILED = "step.failed"
    CANCELLED = "step.cancelled"
    SKIPPED = "step.skipped"


_ENDS = {
    StepPhase.SUCCEEDED: StepEvent.SUCCEEDED,
    StepPhase.FAILED: StepEvent.FAILED,
    StepPhase.CANCELLED: StepEvent.CANCELLED,
    StepPhase.SKIPPED: StepEvent.SKIPPED,
}


class Event(v1alpha1.Model):
    """Something that has happened to a task."""

    id: str
    """Its id: the `webhook-id` of the callback that tells the same."""

    type: TaskEvent | StepEvent
    """What it is."""

    sequence: int
    """What sorts the events of a task: a later one has a higher number."""

    at: v1alpha1.Time
    """When it happened, as the node or the API server saw it."""

    attempt: int
    """The number of the attempt that it speaks of; 0 before the first."""

    step: str | None = None
    """Of a pipeline: the step, or an item of one as `STEP.INDEX`."""

    reason: str | None = None
    """Why, as one word."""

    message: str | None = None
    """Why, for people."""

    percent: int | None = None
    """Of progress: how much of the work is done."""


def of(task: v1alpha1.LongTask) -> tuple[Event, ...]:
    """Return what has happened to the task, the first of it first: each with a higher number."""
    if not task.is_finished:
        task = task.model_copy(update={"status": _with_numbers(task.status)})
    found = [*_queued(task), *(_of_steps(task) if task.status.steps else _of_attempts(task))]
    return (*sorted(found, key=lambda event: event.sequence), *_ended(task))


def progress(task: v1alpha1.LongTask) -> Event | None:
    """Return how far the task is, numbered among its events; None if it says nothing.

    It is none of them: a resource keeps what was said last, and not what was said before.
    """
    status = _with_numbers(task.status)
    told = status.progress
    if told is None or told.percent is None or task.is_finished:
        return None
    attempt = status.attempt or 0
    return Event(
        id=numbers.webhook_id(task.metadata.uid, TaskEvent.PROGRESS, attempt, percent=told.percent),
        type=TaskEvent.PROGRESS,
        sequence=numbers.sequence(TaskEvent.PROGRESS, numbers.last_ordinal(status), told.percent),
        at=told.updated_at or task.metadata.created_at,
        attempt=attempt,
        reason=Reason.RUNNING,
        message=told.message,
        percent=told.percent,
    )


def numbered(
    before: v1alpha1.LongTaskStatus, after: v1alpha1.LongTaskStatus
) -> v1alpha1.LongTaskStatus:
    """Return the new status of a pipeline with numbers for what it tells and the old one does not.

    A plain task needs none: the number of the attempt says what came before it.

    Args:
        before: The status as it was.
        after: The one that takes its place.
    """
    return _numbered(_with_numbers(before), after) if after.steps else after


def _with_numbers(status: v1alpha1.LongTaskStatus) -> v1alpha1.LongTaskStatus:
    """Return the status with numbers for all it tells, if it is older than they are.

    So what happened before an upgrade is no news after it.
    """
    is_older = status.steps and status.ordinal is None
    return _numbered(status, status) if is_older else status


def _numbered(
    before: v1alpha1.LongTaskStatus, after: v1alpha1.LongTaskStatus
) -> v1alpha1.LongTaskStatus:
    known = {
        (step.name, index): run for step in before.steps or () for index, run in _with_items(step)
    }
    last = numbers.last_ordinal(before) if before.steps else 0
    start = before.start_ordinal if after.start_ordinal is None else after.start_ordinal
    if start is None and after.started_at is not None:
        last += 1
        start = last
    steps = []
    for step in after.steps or ():
        changed: dict[str, object] = {}
        values, last = _ordinals(step, known.get((step.name, None)), last)
        changed |= values
        if step.children:
            children = []
            for child in step.children:
                values, last = _ordinals(child, known.get((step.name, child.index)), last)
                children.append(child.model_copy(update=values) if values else child)
            changed["children"] = children
        steps.append(step.model_copy(update=changed) if changed else step)
    return after.model_copy(update={"steps": steps, "ordinal": last, "start_ordinal": start})


def _with_items(step: v1alpha1.StepStatus) -> Iterator[tuple[int | None, v1alpha1.RunStatus]]:
    yield None, step
    for child in step.children or ():
        yield child.index, child


def _ordinals(
    run: v1alpha1.RunStatus, known: v1alpha1.RunStatus | None, last: int
) -> tuple[dict[str, object], int]:
    """Return the numbers that differ from those that a program has, and the last one given."""
    same = known if known is not None and known.attempt == run.attempt else None
    start = same.start_ordinal if same is not None else None
    end = same.end_ordinal if same is not None and same.phase is run.phase else None
    if start is None and _started_at(run) is not None:
        last += 1
        start = last
    if end is None and _end_of(run) is not None:
        last += 1
        end = last
    values: dict[str, object] = {}
    if start != run.start_ordinal:
        values["start_ordinal"] = start
    if end != run.end_ordinal:
        values["end_ordinal"] = end
    return values, last


def _started_at(run: v1alpha1.RunStatus) -> datetime | None:
    """Return when a step started, if that is an event: of its items, too many start."""
    if isinstance(run, v1alpha1.ChildStatus):
        return None
    if isinstance(run, v1alpha1.StepStatus) and run.items is not None:
        return run.begun_at
    return run.started_at


def _end_of(run: v1alpha1.RunStatus) -> TaskEvent | StepEvent | None:
    """Return what the end of a program's attempt is, or None if it is no event (yet)."""
    if run.phase is StepPhase.RETRYING:
        return TaskEvent.RETRYING
    if run.phase is None or isinstance(run, v1alpha1.ChildStatus):
        return None
    return _ENDS.get(run.phase)


def _queued(task: v1alpha1.LongTask) -> Iterator[Event]:
    at = task.status.queued_at
    if at is not None:
        yield _event(task, TaskEvent.QUEUED, 0, at, reason=Reason.QUEUED)


def _of_attempts(task: v1alpha1.LongTask) -> Iterator[Event]:
    for attempt in task.status.attempts or ():
        number = attempt.number
        if attempt.started_at is not None:
            yield _event(task, TaskEvent.STARTED, number, attempt.started_at, reason=Reason.RUNNING)
        if attempt.finished_at is not None and not _is_the_end(task, attempt):
            told = {"reason": attempt.reason, "message": attempt.message}
            yield _event(task, TaskEvent.RETRYING, number, attempt.finished_at, **told)


def _is_the_end(task: v1alpha1.LongTask, attempt: v1alpha1.Attempt) -> bool:
    """Tell whether the end of this attempt was that of its task.

    A task may be ended while it waits for its next attempt: then the two have other reasons.
    """
    if not task.is_finished or attempt.number != task.status.attempt:
        return False
    verdict = _verdict(task)
    return verdict is None or (attempt.reason, attempt.message) == (
        verdict.reason,
        verdict.message or None,
    )


def _of_steps(task: v1alpha1.LongTask) -> Iterator[Event]:
    status = task.status
    if status.started_at is not None and status.start_ordinal is not None:
        sequence = numbers.sequence_of_ordinal(status.start_ordinal)
        made = _event(
            task, TaskEvent.STARTED, status.attempt or 0, status.started_at, reason=Reason.RUNNING
        )
        yield made.model_copy(update={"sequence": sequence})
    for step in status.steps or ():
        for index, run in _with_items(step):
            yield from _of_run(task, runs.name_of(step.name, index), run)


def _of_run(task: v1alpha1.LongTask, name: str, run: v1alpha1.RunStatus) -> Iterator[Event]:
    started_at, end = _started_at(run), _end_of(run)
    if started_at is not None and run.start_ordinal is not None:
        yield _of_step(task, name, run, StepEvent.STARTED, run.start_ordinal, started_at)
    if end is not None and run.end_ordinal is not None:
        at = run.finished_at or task.metadata.created_at
        made = _of_step(task, name, run, end, run.end_ordinal, at)
        yield made.model_copy(update={"reason": run.reason, "message": run.message})


def _of_step(
    task: v1alpha1.LongTask,
    name: str,
    run: v1alpha1.RunStatus,
    kind: TaskEvent | StepEvent,
    ordinal: int,
    at: datetime,
) -> Event:
    attempt = run.attempt or 0
    return Event(
        id=numbers.webhook_id(task.metadata.uid, kind, attempt, step=name),
        type=kind,
        sequence=numbers.sequence_of_ordinal(ordinal),
        at=at,
        attempt=attempt,
        step=name,
    )


def _ended(task: v1alpha1.LongTask) -> Iterator[Event]:
    status = task.status
    if status.phase is None or not status.phase.is_terminal or status.finished_at is None:
        return
    kind, verdict = numbers.terminal_event(status.phase), _verdict(task)
    yield Event(
        id=numbers.webhook_id(task.metadata.uid, kind, status.attempt or 0),
        type=kind,
        sequence=numbers.sequence(kind, numbers.last_ordinal(status)),
        at=status.finished_at,
        attempt=status.attempt or 0,
        step=status.outcome.step if status.outcome else None,
        reason=verdict.reason if verdict else None,
        message=(verdict.message or None) if verdict else None,
    )


def _verdict(task: v1alpha1.LongTask) -> v1alpha1.Condition | None:
    return conditions.find(task.status.conditions, v1alpha1.ConditionType.SUCCEEDED)


def _event(
    task: v1alpha1.LongTask,
    kind: TaskEvent,
    attempt: int,
    at: datetime,
    *,
    reason: str | None = None,
    message: str | None = None,
) -> Event:
    return Event(
        id=numbers.webhook_id(task.metadata.uid, kind, attempt),
        type=kind,
        sequence=numbers.sequence(kind, attempt),
        at=at,
        attempt=attempt,
        reason=reason,
        message=message,
    )

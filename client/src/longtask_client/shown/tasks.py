"""Tasks, as far as their resources alone tell: the API adds what it knows besides."""

from longtask_client import models
from longtask_crds import last_words, names, v1alpha1
from longtask_crds.effective import DEFAULT_PRIORITY
from longtask_crds.v1alpha1 import conditions


def percent_of(task: v1alpha1.LongTask) -> int | None:
    """Return how much is done: what the program said, or 100 after success."""
    if task.phase is v1alpha1.Phase.SUCCEEDED:
        return 100
    return task.status.progress.percent if task.status.progress else None


def message_of(task: v1alpha1.LongTask) -> str | None:
    """Return what the task is doing, or how it ended; None if it says nothing."""
    if task.phase.is_terminal:
        succeeded = conditions.find(task.status.conditions, v1alpha1.ConditionType.SUCCEEDED)
        return (succeeded.message or None) if succeeded else None
    if task.phase is v1alpha1.Phase.RUNNING and task.status.progress:
        return task.status.progress.message
    return None


def reason_of(task: v1alpha1.LongTask) -> str | None:
    """Return why the task stands as it does, in one word; None if nobody has looked at it."""
    succeeded = conditions.find(task.status.conditions, v1alpha1.ConditionType.SUCCEEDED)
    return succeeded.reason if succeeded else None


def view(task: v1alpha1.LongTask) -> models.TaskView:
    """Return the task, without links and its place in the queue."""
    meta, spec = task.metadata, task.spec
    status = last_words.with_contradictions(task.status)
    return models.TaskView(
        id=meta.name,
        namespace=meta.namespace,
        type=spec.type,
        phase=task.phase,
        percent=percent_of(task),
        message=message_of(task),
        reason=reason_of(task),
        waiting=status.waiting,
        queue=status.queue or spec.queue or names.DEFAULT_QUEUE,
        queue_position=None,
        estimated_start=None,
        priority=DEFAULT_PRIORITY if spec.priority is None else spec.priority,
        attempt=status.attempt or 0,
        attempts=list(status.attempts or []),
        disruptions=status.disruptions or 0,
        retry_at=status.retry_at,
        step=status.step,
        steps=list(status.steps or []),
        result=status.result,
        result_url=None,
        callback=status.callback,
        owner=meta.labels.get(names.OWNER_LABEL),
        owner_name=meta.annotations.get(names.OWNER_NAME_ANNOTATION),
        labels=meta.labels,
        retry_of=meta.annotations.get(names.RETRY_OF_ANNOTATION),
        created_at=meta.created_at,
        queued_at=status.queued_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        links={},
    )

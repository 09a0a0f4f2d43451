"""What happened to a task, in its order, as its own record tells it. Pure."""

from collections.abc import Iterator
from datetime import datetime

from longtask_client import models
from longtask_crds import v1alpha1


class Happening(v1alpha1.Model):
    """One thing that happened."""

    at: datetime
    """When."""

    event: str
    """What."""

    of: str | None = None
    """Of which attempt or step, if not of the whole."""

    message: str | None = None
    """What is known besides."""


def of(task: models.TaskView, *, since: datetime | None = None) -> list[Happening]:
    """Return what happened to a task, then or later, the first first."""
    found = (one for one in _all(task) if since is None or one.at >= since)
    # What happened in the same second stays in the order in which it can only have happened.
    return sorted(found, key=lambda one: one.at)


def _all(task: models.TaskView) -> Iterator[Happening]:
    yield Happening(at=task.created_at, event="Created")
    if task.queued_at is not None:
        yield Happening(at=task.queued_at, event="Queued", message=f"in queue {task.queue}")
    if task.steps:
        for step in task.steps:
            yield from _run(f"step {step.name}", step.started_at, step)
    for attempt in task.attempts:
        yield from _attempt(attempt)
    for sent in (task.callback.deliveries if task.callback else None) or ():
        answer = f"answered with {sent.code}" if sent.code is not None else sent.error
        yield Happening(at=sent.at, event="CalledBack", of=sent.event, message=answer)
    if task.finished_at is not None:
        why = ": ".join(filter(None, (task.reason, task.message)))
        yield Happening(at=task.finished_at, event=str(task.phase), message=why)


def _attempt(attempt: v1alpha1.Attempt) -> Iterator[Happening]:
    name = f"attempt {attempt.number}"
    if attempt.started_at is not None:
        where = f"on {attempt.node}" if attempt.node else None
        yield Happening(at=attempt.started_at, event="Started", of=name, message=where)
    if attempt.finished_at is not None:
        why = ": ".join(filter(None, (attempt.reason, attempt.message)))
        yield Happening(at=attempt.finished_at, event="Ended", of=name, message=why)


def _run(name: str, started_at: datetime | None, run: v1alpha1.RunStatus) -> Iterator[Happening]:
    if started_at is not None:
        yield Happening(at=started_at, event="Started", of=name)
    if run.finished_at is not None:
        why = ": ".join(filter(None, (run.reason, run.message)))
        yield Happening(at=run.finished_at, event=str(run.phase), of=name, message=why)

"""From a task to what a row of a list says of it. Pure."""

import dataclasses
from datetime import datetime

from longtask_api.ui import words
from longtask_api.ui.groups import Group, of_phase
from longtask_client import models, spans
from longtask_crds.v1alpha1 import Phase


@dataclasses.dataclass(frozen=True)
class Row:
    """What a list says of a task."""

    id: str
    group: Group
    phase: str
    kind: str
    percent: int | None
    place: str  #: in the queue, of one that waits
    note: str
    queue: str
    owner: str
    seconds: float  #: how long it runs, waits, or took
    since: datetime | None  #: from when on that grows; None if it does not


def row(task: models.TaskView, now: datetime) -> Row:
    """Return the row of a task."""
    group = of_phase(task.phase)
    begun = _begun(task, group)
    return Row(
        id=task.id,
        group=group,
        phase=task.phase if task.phase in (Phase.PENDING, Phase.STARTING) else group,
        kind=kind(task),
        percent=task.percent if group is not Group.WAITING else None,
        place=f"{words.ordinal(task.queue_position)} in line" if task.queue_position else "",
        note=note(task, now),
        queue=task.queue or "",
        owner=task.owner_name or task.owner or "",
        seconds=((task.finished_at or now) - begun).total_seconds(),
        since=None if group.is_over else begun,
    )


def kind(task: models.TaskView) -> str:
    """Return what a task is, in one word."""
    return task.type or ("pipeline" if task.steps or task.step else "container")


def note(task: models.TaskView, now: datetime) -> str:
    """Return what there is to say of where a task stands, in a few words."""
    match of_phase(task.phase):
        case Group.WAITING:
            start = spans.estimate(task.estimated_start, now)
            expected = f"starts {start.partition(',')[0]}" if start else None
            return "; ".join(filter(None, (task.waiting, expected)))
        case Group.RETRYING:
            again = spans.until(task.retry_at, now)
            told = f"attempt {task.attempt + 1} {again}" if again else task.waiting
            return ": ".join(filter(None, (told, _last_words(task))))
        case Group.RUNNING:
            step = f"step {task.step}" if task.step else None
            return ": ".join(filter(None, (step, task.message))) or task.waiting or ""
        case Group.FAILED:
            return ": ".join(filter(None, (task.reason, task.message)))
        case _:
            return task.message or ""


def _begun(task: models.TaskView, group: Group) -> datetime:
    """Return from when on the time counts that the row tells."""
    if group is Group.WAITING:
        return task.queued_at or task.created_at
    return task.started_at or task.queued_at or task.created_at


def _last_words(task: models.TaskView) -> str | None:
    last = task.attempts[-1] if task.attempts else None
    return None if last is None else last.message or last.reason

"""What a request to make or change a task comes to, and what the log and the audit say of it."""

import dataclasses

from longtask_adapters import logs
from longtask_api import deeds
from longtask_api.auth import callers
from longtask_client import models
from longtask_crds import v1alpha1


@dataclasses.dataclass(frozen=True)
class Written:
    """A task after a request to change it, and whether the request changed anything."""

    view: models.TaskView
    changed: bool


def note(task: v1alpha1.LongTask, **detail: str | int | bool | None) -> None:
    """Say for the audit what was done to the task."""
    deeds.to(task.metadata.name, task.metadata.uid, **detail)


def by(caller: callers.Caller, task: v1alpha1.LongTask) -> dict[str, object]:
    """Return what a line of the log says of a change: of what, and by whom."""
    return logs.of_task(task) | {"by": caller.name}

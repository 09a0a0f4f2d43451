"""Which tasks of a queue may start now: counted from live state at each decision. Pure."""

import dataclasses
from collections.abc import Iterable, Set

from longtask_crds import effective, queue_order, v1alpha1


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A task as its queue sees it."""

    task: v1alpha1.LongTask
    priority: int

    @property
    def waits(self) -> bool:
        """Tell whether it waits for a place: no attempt is claimed, and nothing ended it."""
        task = self.task
        return (
            not task.is_finished
            and not task.status.attempt
            and task.metadata.deletion_timestamp is None
        )

    @property
    def holds_a_place(self) -> bool:
        """Tell whether an attempt of it is claimed and has no outcome yet."""
        return bool(self.task.status.attempt) and not self.task.is_finished


def may_start(
    candidates: Iterable[Candidate],
    queue: v1alpha1.LongTaskQueueSpec | None,
    *,
    reserved: Set[str] = frozenset(),
) -> list[str]:
    """Return the names of the tasks that may start now, the next one first.

    Args:
        candidates: All tasks of the queue.
        queue: The queue; None if there is none of that name, and then nothing starts.
        reserved: Names of tasks whose claim is being written: they hold a place already.
    """
    if queue is None:
        return []
    running, waiting = 0, []
    for candidate in candidates:
        name = candidate.task.metadata.name
        if candidate.holds_a_place or name in reserved:
            running += 1
        elif candidate.waits:
            waiting.append(waiting_entry(candidate.task, candidate.priority))
    return queue_order.admissible(
        waiting, running=running, max_running=queue.max_running, paused=bool(queue.paused)
    )


def waiting_entry(task: v1alpha1.LongTask, priority: int) -> queue_order.Waiting:
    """Return the task's entry in its queue: it waits since it was created."""
    return queue_order.Waiting(task.metadata.name, task.metadata.created_at, priority)


def candidate(
    task: v1alpha1.LongTask, task_type: v1alpha1.LongTaskTypeSpec | None
) -> tuple[str, Candidate]:
    """Return a task's queue and its candidate, its type's defaults applied."""
    defaults = task_type.defaults if task_type else None
    priority = effective.priority_of(task.spec, defaults)
    return effective.queue_of(task.spec, defaults), Candidate(task, priority)

"""Who waits where: each waiting task's place in its queue, made on reading. No IO."""

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from longtask_crds import effective, queue_order, v1alpha1
from longtask_crds.v1alpha1 import conditions

Rank = tuple[datetime, datetime, str]


@dataclasses.dataclass(frozen=True)
class Place:
    """A waiting task's place, and what its queue is doing."""

    position: int  #: 1 is next
    queue: str
    running: int
    max_running: int | None
    paused: bool


def queue_of(task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]) -> str:
    """Return the queue that the task is in: the recorded one, or where it will go."""
    return task.status.queue or effective.queue_of(task.spec, _defaults(task, types))


def priority_of(task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]) -> int:
    """Return the task's minutes of head start."""
    return effective.priority_of(task.spec, _defaults(task, types))


def _defaults(
    task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]
) -> v1alpha1.TypeDefaults | None:
    task_type = types.get(task.spec.type) if task.spec.type else None
    return task_type.spec.defaults if task_type else None


def is_waiting(task: v1alpha1.LongTask) -> bool:
    """Tell whether the task has no attempt yet and may still get one."""
    accepted = conditions.find(task.status.conditions, v1alpha1.ConditionType.ACCEPTED)
    refused = accepted is not None and accepted.status is v1alpha1.ConditionStatus.FALSE
    return not task.is_finished and not task.status.attempt and not refused


def waiting_of(
    task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]
) -> queue_order.Waiting:
    """Return what the queue's order looks at."""
    since = task.status.queued_at or task.metadata.created_at
    return queue_order.Waiting(
        name=task.metadata.name, queued_at=since, priority=priority_of(task, types)
    )


class Board:
    """All places at once, kept up with each change: looking one up costs next to nothing."""

    def __init__(self) -> None:
        self._types: Mapping[str, v1alpha1.LongTaskType] = {}
        self._tasks: dict[str, v1alpha1.LongTask] = {}
        self._entries: dict[str, tuple[str, Rank | None]] = {}  # the queue; no rank: it runs
        self._waiting: dict[str, list[Rank]] = defaultdict(list)  # in the queue's order
        self._running: dict[str, int] = defaultdict(int)

    def update(self, name: str, task: v1alpha1.LongTask | None) -> None:
        """Take note of a task as it is now; None is one that is gone."""
        if (entry := self._entries.pop(name, None)) is not None:
            self._forget(*entry)
        if task is None or task.is_finished:
            self._tasks.pop(name, None)
            return
        self._tasks[name] = task
        queue = queue_of(task, self._types)
        if is_waiting(task):
            rank = queue_order.rank(waiting_of(task, self._types))
            bisect.insort(self._waiting[queue], rank)
            self._entries[name] = (queue, rank)
        elif task.status.attempt:
            self._running[queue] += 1
            self._entries[name] = (queue, None)

    def use_types(self, types: Mapping[str, v1alpha1.LongTaskType]) -> None:
        """Take other types: their defaults say where tasks go that say nothing."""
        self._types = types
        for name, task in list(self._tasks.items()):
            self.update(name, task)

    def place(self, name: str, queues: Mapping[str, v1alpha1.LongTaskQueue]) -> Place | None:
        """Return the place of the task, or None if it does not wait."""
        queue, rank = self._entries.get(name, ("", None))
        if rank is None:
            return None
        spec = queues[queue].spec if queue in queues else v1alpha1.LongTaskQueueSpec()
        return Place(
            position=bisect.bisect_left(self._waiting[queue], rank) + 1,
            queue=queue,
            running=self._running[queue],
            max_running=spec.max_running,
            paused=bool(spec.paused),
        )

    def _forget(self, queue: str, rank: Rank | None) -> None:
        if rank is None:
            self._running[queue] -= 1
        else:
            del self._waiting[queue][bisect.bisect_left(self._waiting[queue], rank)]


def sentence(place: Place) -> str:
    """Say why the task does not run yet."""
    if place.paused:
        return f"queue {place.queue} is paused"
    full = place.max_running is not None and place.running >= place.max_running
    busy = f", {place.running} of {place.max_running} running" if full else ""
    if place.position == 1:
        return f"next in queue {place.queue}{busy}"
    return f"{place.position - 1} ahead in queue {place.queue}{busy}"

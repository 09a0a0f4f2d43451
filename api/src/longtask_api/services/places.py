"""Who waits where: each waiting task's place in its queue, made on reading. Pure."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping

from longtask_crds import conditions, effective, queue_order, v1alpha1


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
    own, of_type = task.spec.priority, _defaults(task, types)
    if own is not None:
        return own
    if of_type is not None and of_type.priority is not None:
        return of_type.priority
    return effective.DEFAULT_PRIORITY


def _defaults(
    task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]
) -> v1alpha1.TypeDefaults | None:
    task_type = types.get(task.spec.type) if task.spec.type else None
    return task_type.spec.defaults if task_type else None


def is_waiting(task: v1alpha1.LongTask) -> bool:
    """Tell whether the task has no attempt yet and may still get one."""
    accepted = conditions.find(task.status.conditions, conditions.ConditionType.ACCEPTED)
    refused = accepted is not None and accepted.status is v1alpha1.ConditionStatus.FALSE
    return not task.is_finished and not task.status.attempt and not refused


def waiting_of(
    task: v1alpha1.LongTask, types: Mapping[str, v1alpha1.LongTaskType]
) -> queue_order.Waiting:
    """Return what the queue's order looks at."""
    since = task.status.queued_at or task.metadata.creation_timestamp
    assert since is not None, "the API server gives every resource its creationTimestamp"
    return queue_order.Waiting(
        name=task.metadata.name, queued_at=since, priority=priority_of(task, types)
    )


def places(
    tasks: Iterable[v1alpha1.LongTask],
    types: Mapping[str, v1alpha1.LongTaskType],
    queues: Mapping[str, v1alpha1.LongTaskQueue],
) -> dict[str, Place]:
    """Return the place of each waiting task, by its name."""
    waiting: dict[str, list[queue_order.Waiting]] = defaultdict(list)
    running: dict[str, int] = defaultdict(int)
    for task in tasks:
        if task.is_finished:
            continue
        if is_waiting(task):
            waiting[queue_of(task, types)].append(waiting_of(task, types))
        elif task.status.attempt:
            running[queue_of(task, types)] += 1
    found = {}
    for queue, those in waiting.items():
        spec = queues[queue].spec if queue in queues else v1alpha1.LongTaskQueueSpec()
        for position, name in enumerate(queue_order.in_order(those), start=1):
            found[name] = Place(
                position, queue, running[queue], spec.max_running, bool(spec.paused)
            )
    return found


def sentence(place: Place) -> str:
    """Say why the task does not run yet."""
    if place.paused:
        return f"queue {place.queue} is paused"
    full = place.max_running is not None and place.running >= place.max_running
    busy = f", {place.running} of {place.max_running} running" if full else ""
    if place.position == 1:
        return f"next in queue {place.queue}{busy}"
    return f"{place.position - 1} ahead in queue {place.queue}{busy}"

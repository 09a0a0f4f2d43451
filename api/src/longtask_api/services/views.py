"""From resources to what the API shows. Pure."""

from datetime import datetime
from urllib.parse import quote

from longtask_api.stores.catalogue import Record
from longtask_api.stores.lines import Line
from longtask_client import models
from longtask_client.shown import tasks as shown
from longtask_crds import events, names, queueing, v1alpha1


def state_view(task: v1alpha1.LongTask) -> models.TaskState:
    """Return what a poller needs."""
    return models.TaskState(state=task.phase, percent=shown.percent_of(task))


def task_view(
    task: v1alpha1.LongTask,
    *,
    place: queueing.Place | None,
    estimated: models.EstimatedStart | None,
    queue: str,
    priority: int,
    prefix: str,
) -> models.TaskView:
    """Return the whole task; `prefix` is the path under which the API is published."""
    meta, sent = task.metadata, task.status.callback
    return shown.view(task).model_copy(
        update={
            "waiting": _waiting(task, place, queue),
            "queue": queue,
            "queue_position": place.position if place else None,
            "estimated_start": estimated,
            "priority": priority,
            "result_url": _result_url(task, prefix),
            # Each try is shown with the others, at `callbacks`.
            "callback": sent and sent.model_copy(update={"deliveries": None}),
            "links": links(meta.name, prefix) | _origin(meta, prefix),
        }
    )


def result_view(task: v1alpha1.LongTask, *, prefix: str) -> models.TaskResult:
    """Return how the task ended; `prefix` is the path under which the API is published."""
    return models.TaskResult(
        id=task.metadata.name,
        namespace=task.metadata.namespace,
        phase=task.phase,
        reason=shown.reason_of(task),
        message=shown.message_of(task),
        result=task.status.result,
        result_url=_result_url(task, prefix),
    )


def _result_url(task: v1alpha1.LongTask, prefix: str) -> str | None:
    """Return the path of the task's result if it is too large to be shown with it."""
    is_elsewhere = task.status.result is not None and task.status.result.ref is not None
    return f"{prefix}{events.result_path(task.metadata.name)}" if is_elsewhere else None


def _origin(meta: v1alpha1.ObjectMeta, prefix: str) -> dict[str, str]:
    """Return the path of the task that this one does again, if it does."""
    origin = meta.annotations.get(names.RETRY_OF_ANNOTATION)
    return {"retryOf": f"{prefix}/api/v1/tasks/{quote(origin, safe='')}"} if origin else {}


def _waiting(task: v1alpha1.LongTask, place: queueing.Place | None, queue: str) -> str | None:
    """Say why the task does not run yet, as it is now: its status may be older."""
    if place is not None:
        return queueing.sentence(place)
    joins_at = None if task.status.attempts else queueing.deferred_until(task)
    if joins_at is not None and queueing.standing(task) is queueing.Standing.WAITING:
        return queueing.postponed(queue, joins_at)
    return task.status.waiting


def links(name: str, prefix: str) -> dict[str, str]:
    """Return the paths of what belongs to the task."""
    own = f"{prefix}/api/v1/tasks/{name}"
    return {
        "self": own,
        "state": f"{own}/state",
        "result": f"{own}/result",
        "logs": f"{own}/logs",
        "events": f"{own}/events",
        "callbacks": f"{own}/callbacks",
        "cancel": f"{own}:cancel",
        "retry": f"{own}:retry",
    }


def callback_log(task: v1alpha1.LongTask) -> models.CallbackLog:
    """Return how the task's last event is delivered, and each try."""
    entry = task.status.callback
    return models.CallbackLog(
        id=entry.id if entry else None,
        event=entry.event if entry else None,
        state=entry.state if entry else None,
        tries=entry.tries if entry else 0,
        next_try_at=entry.next_try_at if entry else None,
        delivered_at=entry.delivered_at if entry else None,
        items=list(entry.deliveries or ()) if entry else [],
    )


def type_view(task_type: v1alpha1.LongTaskType) -> models.TypeView:
    """Return the type."""
    spec = task_type.spec
    return models.TypeView(
        name=task_type.metadata.name,
        description=spec.description,
        input_schema=spec.input_schema,
        defaults=spec.defaults,
    )


def queue_view(queue: v1alpha1.LongTaskQueue, line: Line, *, prefix: str) -> models.QueueView:
    """Return the queue; `prefix` is the path under which the API is published."""
    name, spec = queue.metadata.name, queue.spec
    own = f"{prefix}/api/v1/queues/{name}"
    return models.QueueView(
        name=name,
        max_running=spec.max_running,
        max_running_per_owner=spec.max_running_per_owner,
        paused=bool(spec.paused),
        running=line.running,
        waiting=line.waiting,
        oldest_queued_at=line.oldest_queued_at,
        starts_per_minute=line.starts_per_minute,
        links={
            "self": own,
            "tasks": f"{prefix}/api/v1/tasks?queue={name}",
            "pause": f"{own}:pause",
            "resume": f"{own}:resume",
        },
    )


def queued_task(
    task: Record, *, position: int, queued_at: datetime, priority: int, prefix: str
) -> models.QueuedTask:
    """Return a task that waits; `prefix` is the path under which the API is published."""
    return models.QueuedTask(
        id=task.key.name,
        type=task.type,
        owner=task.owner,
        priority=priority,
        position=position,
        queued_at=queued_at,
        links=links(task.key.name, prefix),
    )

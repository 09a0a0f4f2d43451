"""Builders of resources as the API server stores them: for tests of any part."""

from datetime import UTC, datetime
from typing import Any, TypeVar

from longtask_crds import names, v1alpha1

NAMESPACE = "longtasks"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TASK_UID = "7b1c4a52-7a5e-4a0c-9d8e-5f0d6c1b2a30"

R = TypeVar("R", bound=v1alpha1.Resource)


def a_task(name: str = "report", *, uid: str = TASK_UID, **spec: Any) -> v1alpha1.LongTask:
    """Return a task as it is stored at first; the keywords are its spec's fields."""
    return v1alpha1.LongTask.model_validate(
        {
            "metadata": _meta(name, uid) | {"resourceVersion": "1", "generation": 1},
            "spec": spec or {"container": {"image": "busybox"}},
            "status": {"phase": "Pending"},
        }
    )


def with_status(task: v1alpha1.LongTask, **status: Any) -> v1alpha1.LongTask:
    """Return the task with fields of its status set."""
    return task.model_copy(update={"status": task.status.model_copy(update=status)})


def with_meta(resource: R, **meta: Any) -> R:
    """Return the resource with fields of its metadata set."""
    return resource.model_copy(update={"metadata": resource.metadata.model_copy(update=meta)})


def an_attempt(number: int = 1, **values: Any) -> v1alpha1.Attempt:
    """Return an attempt of `a_task` that was claimed now."""
    name = names.job_name("report", TASK_UID, attempt=number)
    return v1alpha1.Attempt(**({"number": number, "job_name": name, "claimed_at": NOW} | values))


def a_condition(
    kind: v1alpha1.ConditionType,
    status: v1alpha1.ConditionStatus = v1alpha1.ConditionStatus.TRUE,
    reason: v1alpha1.Reason = v1alpha1.Reason.COMPLETED,
    message: str = "",
) -> v1alpha1.Condition:
    """Return a condition that took its status now."""
    return v1alpha1.Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time=NOW
    )


#: What every task has that is over.
FINISHED = a_condition(v1alpha1.ConditionType.FINISHED)


def a_queue(name: str = names.DEFAULT_QUEUE, **spec: Any) -> v1alpha1.LongTaskQueue:
    """Return a queue; the keywords are its spec's fields."""
    meta = _meta(name, f"queue-{name}")
    return v1alpha1.LongTaskQueue.model_validate({"metadata": meta, "spec": spec})


def a_schedule(name: str = "nightly", **spec: Any) -> v1alpha1.LongTaskSchedule:
    """Return a schedule as it is stored at first; the keywords are its spec's fields."""
    meta = _meta(name, f"schedule-{name}") | {"resourceVersion": "1", "generation": 1}
    template = {"taskTemplate": {"spec": {"container": {"image": "busybox"}}}}
    return v1alpha1.LongTaskSchedule.model_validate({"metadata": meta, "spec": template | spec})


def a_type(name: str, **spec: Any) -> v1alpha1.LongTaskType:
    """Return a type; the keywords are its spec's fields."""
    meta = _meta(name, f"type-{name}")
    return v1alpha1.LongTaskType.model_validate({"metadata": meta, "spec": spec})


def _meta(name: str, uid: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": NOW}

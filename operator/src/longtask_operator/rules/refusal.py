"""Why a task can never run."""

from longtask_crds import acceptance, address_guard, effective, names, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome


def refusal(
    task: v1alpha1.LongTask,
    task_type: v1alpha1.LongTaskTypeSpec | None,
    installation: effective.Installation,
    guard: address_guard.Guard,
) -> outcome.Outcome | None:
    """Return the outcome of a task that can never run, or None.

    Args:
        task: The task, whole.
        task_type: The type that it names; None if it names none, or none that there is.
        installation: What the installation allows.
        guard: Where callbacks may go.
    """
    if task.spec.type and task_type is None:
        message = f"there is no LongTaskType named {task.spec.type}"
        return outcome.failed(Reason.TYPE_NOT_FOUND, message)
    created_at = task.metadata.created_at
    found = acceptance.violations(task.spec, task_type, installation, guard, created_at=created_at)
    if not found:
        return None
    told = "; ".join(f"{_field(violation.pointer)}: {violation.message}" for violation in found)
    return outcome.failed(found[0].reason, told[: names.MESSAGE_MAX])


def _field(pointer: str) -> str:
    """Return a JSON Pointer into the spec as people write fields."""
    return f"spec{pointer.replace('/', '.')}".replace("~1", "/").replace("~0", "~")

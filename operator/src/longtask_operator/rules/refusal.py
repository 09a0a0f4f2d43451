"""Why a task can never run."""

from collections.abc import Mapping

from longtask_crds import acceptance, address_guard, effective, v1alpha1
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome


def refusal(
    task: v1alpha1.LongTask,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
) -> outcome.Outcome | None:
    """Return the outcome of a task that can never run, or None.

    Args:
        task: The task, whole.
        types: The types that it names, as far as there are such.
        installation: What the installation allows.
        guard: Where callbacks may go.
    """
    created_at = task.metadata.created_at
    found = acceptance.violations(task.spec, types, installation, guard, created_at=created_at)
    if not found:
        return None
    if found[0].reason is Reason.TYPE_NOT_FOUND and not task.spec.steps:
        return outcome.failed(found[0].reason, found[0].message)
    told = "; ".join(f"{_field(violation.pointer)}: {violation.message}" for violation in found)
    return outcome.failed(found[0].reason, told)


def _field(pointer: str) -> str:
    """Return a JSON Pointer into the spec as people write fields."""
    return f"spec{pointer.replace('/', '.')}".replace("~1", "/").replace("~0", "~")

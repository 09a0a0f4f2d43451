"""An input that is nested without end is refused, and refuses to break anything."""

from typing import Any

from longtask_crds import acceptance, address_guard, effective, v1alpha1
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Reason

INSTALLATION = effective.Installation("r", v1alpha1.Resources(), {})
TYPE = v1alpha1.LongTaskTypeSpec()


def test_an_input_nested_too_deeply_is_a_violation() -> None:
    value: Any = 1
    for _ in range(5_000):
        value = [value]
    spec = v1alpha1.LongTaskSpec(type="x", input=value)
    guard = address_guard.Guard()
    (found,) = acceptance.violations(spec, {"x": TYPE}, INSTALLATION, guard, created_at=NOW)
    assert (found.pointer, found.reason) == ("/input", Reason.INVALID_INPUT)

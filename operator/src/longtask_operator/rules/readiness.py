"""Whether tasks can use a type or a queue, as the condition Ready of its own says it. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Reason, conditions


class Verdict(NamedTuple):
    """Why something can be used, or cannot."""

    reason: Reason
    message: str = ""


VALID = Verdict(Reason.VALID)


def unreadable(cause: str) -> Verdict:
    """Return what is said of what does not fit our definition of its kind."""
    return Verdict(Reason.UNREADABLE, cause[: names.MESSAGE_MAX])


def of_type(task_type: v1alpha1.LongTaskTypeSpec) -> Verdict:
    """Return what is said of a type, as far as that can be told without the API server."""
    flaw = acceptance.unusable(task_type)
    return VALID if flaw is None else Verdict(flaw.reason, flaw.message)


def refused(causes: Iterable[tuple[str, str]]) -> Verdict:
    """Return what is said of a type whose Jobs the API server refuses.

    Args:
        causes: The fields of the Job, each with what is wrong there.
    """
    told = "; ".join(f"{field}: {message}" for field, message in causes)
    return Verdict(Reason.JOB_REFUSED, f"the Job was refused: {told}"[: names.MESSAGE_MAX])


def told(
    known: Iterable[v1alpha1.Condition], verdict: Verdict, generation: int, *, now: datetime
) -> list[v1alpha1.Condition]:
    """Return the conditions with the verdict on this generation; the same if it stands there."""
    status = ConditionStatus.TRUE if verdict.reason is Reason.VALID else ConditionStatus.FALSE
    ready = conditions.Change(ConditionType.READY, status, *verdict, generation)
    return conditions.changed(known, ready, now=now)

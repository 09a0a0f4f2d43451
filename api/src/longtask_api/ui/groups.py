"""Phases as people think of them: each has a word, a colour and a shape. Pure."""

import enum
from typing import Final

from longtask_crds.v1alpha1 import Phase, StepPhase


class Group(enum.StrEnum):
    """A phase, or several that are one to who looks at many tasks."""

    RUNNING = "Running"
    WAITING = "Waiting"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Return the phases that it is made of."""
        return tuple(phase for phase, group in _OF_PHASE.items() if group is self)

    @property
    def is_over(self) -> bool:
        """Tell whether nothing comes after it."""
        return self in (Group.SUCCEEDED, Group.FAILED, Group.CANCELLED)


_OF_PHASE: Final = {
    Phase.PENDING: Group.WAITING,
    Phase.QUEUED: Group.WAITING,
    Phase.STARTING: Group.RUNNING,
    Phase.RUNNING: Group.RUNNING,
    Phase.RETRYING: Group.RETRYING,
    Phase.SUCCEEDED: Group.SUCCEEDED,
    Phase.FAILED: Group.FAILED,
    Phase.CANCELLED: Group.CANCELLED,
}
_OF_STEP: Final = {
    StepPhase.PENDING: Group.WAITING,
    StepPhase.STARTING: Group.RUNNING,
    StepPhase.RUNNING: Group.RUNNING,
    StepPhase.RETRYING: Group.RETRYING,
    StepPhase.SUCCEEDED: Group.SUCCEEDED,
    StepPhase.FAILED: Group.FAILED,
    StepPhase.CANCELLED: Group.CANCELLED,
    StepPhase.SKIPPED: Group.CANCELLED,
}


def of_phase(phase: Phase) -> Group:
    """Return the group that a task is in."""
    return _OF_PHASE[phase]


def of_step(phase: StepPhase | None) -> Group:
    """Return the same of a step: one that was skipped looks like one that was stopped."""
    return _OF_STEP[phase or StepPhase.PENDING]

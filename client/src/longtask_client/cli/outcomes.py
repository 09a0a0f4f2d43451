"""Which exit code a task's end or an error has."""

from collections.abc import Iterable

from longtask_client import errors
from longtask_client.cli import exit_codes
from longtask_crds import v1alpha1

_OF_PHASE = {
    v1alpha1.Phase.SUCCEEDED: exit_codes.ExitCode.OK,
    v1alpha1.Phase.CANCELLED: exit_codes.ExitCode.CANCELLED,
}
#: The first that fits counts.
_OF_ERROR: tuple[tuple[type[errors.LongTaskError], exit_codes.ExitCode], ...] = (
    (errors.InvalidRequest, exit_codes.ExitCode.USAGE),
    (errors.WaitTimeout, exit_codes.ExitCode.TIMEOUT),
    (errors.NotFound, exit_codes.ExitCode.NOT_FOUND),
    (errors.Unauthorized, exit_codes.ExitCode.DENIED),
    (errors.Conflict, exit_codes.ExitCode.CONFLICT),
    (errors.LongTaskError, exit_codes.ExitCode.UNAVAILABLE),
)


def of_phase(phase: v1alpha1.Phase) -> exit_codes.ExitCode:
    """Return how the command ends for a task that ended in this phase."""
    return _OF_PHASE.get(phase, exit_codes.ExitCode.FAILED)


def of_phases(phases: Iterable[v1alpha1.Phase]) -> exit_codes.ExitCode:
    """Return how the command ends for several: as one that failed, else as one cancelled."""
    codes = {of_phase(phase) for phase in phases}
    worst = (exit_codes.ExitCode.FAILED, exit_codes.ExitCode.CANCELLED)
    return next((code for code in worst if code in codes), exit_codes.ExitCode.OK)


def wrongs(error: errors.ApiError) -> list[str]:
    """Return each thing that is wrong with a request, in a line."""
    return [f"- {wrong.name or wrong.pointer or '/'}: {wrong.detail}" for wrong in error.errors]


def of_error(error: errors.LongTaskError) -> exit_codes.ExitCode:
    """Return how the command ends on an error."""
    return next(code for kind, code in _OF_ERROR if isinstance(error, kind))

"""How the command ends. Part of the API: scripts rely on it."""

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from longtask_client import errors


class ExitCode(enum.IntEnum):
    """What `longtask` ends with; `MEANING` says what each says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    TIMEOUT = 4
    NOT_FOUND = 5
    UNAVAILABLE = 6
    DENIED = 7
    CONFLICT = 8
    INTERRUPTED = 130


MEANING: Final = {
    ExitCode.OK: "all is well; for submit --wait, wait and result: the task succeeded",
    ExitCode.FAILED: "the task failed",
    ExitCode.USAGE: "wrong usage, or the API refuses the input",
    ExitCode.CANCELLED: "the task was cancelled",
    ExitCode.TIMEOUT: "the task is not finished within --timeout; it goes on",
    ExitCode.NOT_FOUND: "there is no such task, type or log",
    ExitCode.UNAVAILABLE: "nobody answers, or LongTask is not available now",
    ExitCode.DENIED: "the token is missing, wrong, or not good enough",
    ExitCode.CONFLICT: "the task's state, its name or its key forbids it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; the task goes on",
}


def of_phase(phase: str) -> ExitCode:
    """Return how the command ends for a task that ended in this phase."""
    return {"Succeeded": ExitCode.OK, "Cancelled": ExitCode.CANCELLED}.get(phase, ExitCode.FAILED)


def of_error(error: "errors.LongTaskError") -> ExitCode:
    """Return how the command ends on an error."""
    # Not above: `longtask --help` needs the table, and nothing that is slow to import.
    from longtask_client import errors

    # The first that fits counts.
    table: tuple[tuple[type[errors.LongTaskError], ExitCode], ...] = (
        (errors.InvalidRequest, ExitCode.USAGE),
        (errors.WaitTimeout, ExitCode.TIMEOUT),
        (errors.NotFound, ExitCode.NOT_FOUND),
        (errors.Unauthorized, ExitCode.DENIED),
        (errors.Conflict, ExitCode.CONFLICT),
        (errors.LongTaskError, ExitCode.UNAVAILABLE),
    )
    return next(code for kind, code in table if isinstance(error, kind))

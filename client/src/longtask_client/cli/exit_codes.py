"""How the command ends. Part of the API: scripts rely on it."""

import enum
from typing import Final


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
    ExitCode.NOT_FOUND: "there is no such task, queue, schedule, type or log",
    ExitCode.UNAVAILABLE: "nobody answers, or LongTask is not available now",
    ExitCode.DENIED: "the token is missing, wrong, or not good enough",
    ExitCode.CONFLICT: "the task's state, its name or its key forbids it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; the task goes on",
}

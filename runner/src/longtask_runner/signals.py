"""SIGTERM, which is how Kubernetes ends a pod; as process 1 we get it only if we handle it."""

from __future__ import annotations

import os

from longtask_runner import cancellation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import types
else:
    # The C module inside `signal`, without the enums around it: they cost a third of a bare
    # interpreter's start, and a signal before `install` is lost on process 1.
    import _signal as signal


class Terminator:
    """Turns the first SIGTERM into TaskCancelled in the main thread."""

    def __init__(self, cancel: cancellation.Cancellation) -> None:
        self._cancel = cancel
        self._armed = True
        self._pid = os.getpid()

    def install(self) -> None:
        """Take over SIGTERM."""
        signal.signal(signal.SIGTERM, self._handle)

    def disarm(self) -> None:
        """Interrupt nobody from now on: the task has ended, its outcome is being written."""
        self._armed = False

    def _handle(self, _number: int, _frame: types.FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A process that the task forked: it ends as if it had no handler.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._cancel.note()
        if self._armed:
            # Once only: a task's `finally` may use the grace period.
            self._armed = False
            raise cancellation.TaskCancelled("SIGTERM was received")

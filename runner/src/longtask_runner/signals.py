"""SIGTERM, which is how Kubernetes ends a pod; as process 1 we get it only if we handle it."""

from __future__ import annotations

import os

from longtask_runner import cancellation, leaving

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import types
else:
    # The C module inside `signal`, without the enums around it: they cost a third of a bare
    # interpreter's start, and a signal before `install` is lost on process 1.
    import _signal as signal


class Terminator:
    """Turns the first SIGTERM into TaskCancelled in the main thread; later, into the end."""

    def __init__(self, cancel: cancellation.Cancellation) -> None:
        self._cancel = cancel
        self._armed = True
        self._received = False
        self._exit_code: int | None = None
        self._pid = os.getpid()

    def install(self) -> None:
        """Take over SIGTERM."""
        signal.signal(signal.SIGTERM, self._handle)

    def disarm(self) -> None:
        """Interrupt nobody from now on: the task has ended, its outcome is being written."""
        self._armed = False

    def release(self, exit_code: int) -> None:
        """End the process at once when SIGTERM comes, or came: its outcome is written."""
        self._exit_code = exit_code
        if self._received:
            leaving.leave_at_once(exit_code)

    def _handle(self, _number: int, _frame: types.FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A process that the task forked: it ends as if it had no handler.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._received = True
        self._cancel.note()
        if self._exit_code is not None:
            leaving.leave_at_once(self._exit_code)
        if self._armed:
            # Once only: a task's `finally` may use the grace period.
            self._armed = False
            raise cancellation.TaskCancelled("SIGTERM was received")

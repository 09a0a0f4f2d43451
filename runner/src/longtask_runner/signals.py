"""SIGTERM, which is how Kubernetes ends a pod; as process 1 we get it only if we handle it."""

from __future__ import annotations

import _thread
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
    """Turns the first SIGTERM into TaskCancelled in the main thread."""

    def __init__(self, cancel: cancellation.Cancellation) -> None:
        self._cancel = cancel
        self._armed = True
        self._received = False
        self._pid = os.getpid()

    def install(self) -> None:
        """Take over SIGTERM."""
        signal.signal(signal.SIGTERM, self._handle)

    def disarm(self) -> None:
        """Interrupt nobody from now on: the task has ended, its outcome is being written."""
        self._armed = False

    def release(self, exit_code: int) -> None:
        """End the process at once when SIGTERM comes, or came: its outcome is written."""
        # Python's handlers wait for the main thread, which may hear of nothing while it waits for
        # others. What the interpreter writes into a pipe comes through.
        told, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        # A forked process shares the pipe, and its signals are its own.
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        _thread.start_new_thread(_heed, (told, exit_code))
        # Nor may it have heard yet of what came before: this calls the handler, if it is due.
        signal.pthread_sigmask(signal.SIG_BLOCK, ())
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
        if self._armed:
            # Once only: a task's `finally` may use the grace period.
            self._armed = False
            raise cancellation.TaskCancelled("SIGTERM was received")


def _heed(told: int, exit_code: int) -> None:
    while os.read(told, 1)[0] != signal.SIGTERM:
        pass  # a signal of the task's own
    leaving.leave_at_once(exit_code)

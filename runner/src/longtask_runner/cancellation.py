"""Whether the task shall end: because of SIGTERM, or because the API's answer said so."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class TaskCancelled(BaseException):
    """The task ends because it was told to; no `except Exception` of a task stops it."""


class Cancellation:
    """A wish that is made once and never taken back."""

    def __init__(self) -> None:
        self._requested = False
        self._event: threading.Event | None = None
        self._listener: Callable[[], None] | None = None

    @property
    def requested(self) -> bool:
        """Return whether the task shall end."""
        return self._requested

    def note(self) -> None:
        """Record the wish, and take no lock: a signal handler's interrupted code may hold it."""
        self._requested = True
        if self._listener is not None:
            self._listener()

    def request(self) -> None:
        """Record the wish and wake who waits."""
        self.note()
        if self._event is not None:
            self._event.set()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call the listener at each wish from now on, and at once if it is made; None: nobody.

        It is called in any thread and in signal handlers, so it must take no lock.
        """
        self._listener = listener
        if self._requested and listener is not None:
            listener()

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than until the wish is made; return whether it is."""
        if self._event is None:
            import threading  # only now: most tasks never wait

            self._event = threading.Event()
        if not self._requested:
            self._event.wait(seconds)
        return self._requested

"""Whether the task shall end: because of SIGTERM, or because the API's answer said so."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading


class TaskCancelled(BaseException):
    """The task ends because it was told to; no `except Exception` of a task stops it."""


class Cancellation:
    """A wish that is made once and never taken back."""

    def __init__(self) -> None:
        self._requested = False
        self._event: threading.Event | None = None

    @property
    def requested(self) -> bool:
        """Return whether the task shall end."""
        return self._requested

    def note(self) -> None:
        """Record the wish and nothing else: safe in a signal handler, where a lock may be held."""
        self._requested = True

    def request(self) -> None:
        """Record the wish and wake who waits."""
        self._requested = True
        if self._event is not None:
            self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than until the wish is made; return whether it is."""
        if self._event is None:
            import threading  # only now: most tasks never wait

            self._event = threading.Event()
        if not self._requested:
            self._event.wait(seconds)
        return self._requested

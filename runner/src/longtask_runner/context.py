"""What a task sees of the outside: who it is, whom to tell, whether to stop."""

from __future__ import annotations

import _thread

from longtask_runner import cancellation, outputs, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Reporter(Protocol):
        """Takes progress and never keeps the task waiting; `testing.MemoryReporter` is its twin."""

        def progress(self, percent: int | None, message: str | None) -> None:
            """Take the latest progress."""

        def checkpoint(self, data: bytes) -> None:
            """Take the latest checkpoint, as JSON."""

        def close(self, seconds: float, *, final: bool) -> None:
            """Tell what is untold, for so long at most; if it is final, until it is stored."""


class Context:
    """Given to a task that has a parameter annotated `Context`.

    A plain one, `Context()`, serves tests of tasks: it reports to nobody.
    """

    def __init__(
        self,
        *,
        name: str = "",
        namespace: str = "",
        uid: str = "",
        step: str = "",
        attempt: int = 1,
        checkpoint_file: str = "",
        cancel: cancellation.Cancellation | None = None,
        connect: Callable[[], Reporter] | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        #: With step and attempt, an idempotency key for what must not be done twice.
        self.uid = uid
        self.step = step
        self.attempt = attempt
        self._checkpoint_file = checkpoint_file
        self._cancel = cancel or cancellation.Cancellation()
        self._connect = connect
        self._connecting = _thread.allocate_lock()  # `threading` is slow to import
        self._reporter: Reporter | None = None

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the task is, as often as it likes: the latest is sent once a second.

        It returns at once and never fails because the API is away. It is the heartbeat as well:
        of a task with `heartbeatSeconds` the only one, so that one which hangs is found.

        Args:
            done: How much is done; a percentage, if there is no total.
            total: How much there is to do.
            message: One sentence for people, 1 KiB at most.
        """
        percent = to_percent(done, total)
        text = None if message is None else outputs.encode_message(message).decode()
        if reporter := self._reporting():
            reporter.progress(percent, text)

    def checkpoint(self, value: object) -> None:
        """Keep a JSON value, 16 KiB at most, for a later attempt to go on from.

        It is sent as progress is: the latest once a second. None forgets what was kept.

        Raises:
            ValueError: It is no JSON, or too large.
        """
        data = outputs.encode_checkpoint(value)
        if reporter := self._reporting():
            reporter.checkpoint(data)

    @property
    def saved_checkpoint(self) -> object:
        """Return what an earlier attempt kept last; None if there is nothing."""
        try:
            with open(self._checkpoint_file, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        return wire.loads(text) if text.strip() else None

    @property
    def cancel_requested(self) -> bool:
        """Return whether the task shall end; if it does so by itself, raise TaskCancelled."""
        return self._cancel.requested

    def wait(self, seconds: float) -> bool:
        """Sleep, but not longer than until the task shall end; return whether it shall."""
        return self._cancel.wait(seconds)

    def close(self, seconds: float, *, final: bool = False) -> None:
        """Send what is unsent, for so long at most; the runner calls it when the task has ended.

        Args:
            seconds: How long that may take.
            final: Whether it is waited for until it is stored.
        """
        if self._reporter is not None:
            self._reporter.close(seconds, final=final)

    def _reporting(self) -> Reporter | None:
        if self._reporter is None and self._connect is not None:
            # Several threads may report first, and only one reporter is told of the end.
            with self._connecting:
                self._reporter = self._reporter or self._connect()
        return self._reporter


def to_percent(done: float, total: float | None) -> int | None:
    """Return a whole percentage between 0 and 100, rounded down; None if it cannot be told."""
    share = done if total is None else 100.0 if total == 0 else 100 * done / total
    return int(min(max(share, 0), 100)) if share == share else None

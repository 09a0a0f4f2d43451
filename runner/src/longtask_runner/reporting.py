"""Send the latest progress from a thread of its own, so that the task never waits for the API.

A program that has reported once is taken for stalled when nothing is heard of it any more, though
it may well be busy with a long step. So the thread gives a sign of life in between. Where the task
sets a limit to its silence (`heartbeatSeconds`) it does not: a program that hangs is to be found.

The task writes two fields and drops a nudge in a queue; the thread reads the fields when it may
send again. No lock is held by the task, so an exception from SIGTERM cannot leave one behind.
"""

from __future__ import annotations

import queue
import threading
import time

from longtask_crds import runner_contract
from longtask_runner import cancellation, log, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Port(Protocol):
        """Where reports go: `runner_port.RunnerPort`."""

        def report(self, fields: Mapping[str, object]) -> bool:
            """Send one report; return whether the task shall end."""


_Field = runner_contract.ProgressField
_LONGEST_PAUSE = 30.0


class ThreadReporter:
    """Reports at most once per interval, always the latest; failures only delay."""

    def __init__(
        self,
        connect: Callable[[], Port],
        *,
        cancel: cancellation.Cancellation,
        interval: float = 1.0,
        heartbeat: float | None = None,
    ) -> None:
        """Begin to report.

        Args:
            connect: Returns where reports go; called in the thread.
            cancel: Is told what the answers say.
            interval: The least time between two reports, in seconds.
            heartbeat: The longest silence that the task is allowed; None: it need not speak at all.
        """
        self._connect = connect
        self._cancel = cancel
        self._interval = interval
        self._silence = None if heartbeat else float(runner_contract.HEARTBEAT_SECONDS)
        self._longest_pause = min(_LONGEST_PAUSE, heartbeat / 3) if heartbeat else _LONGEST_PAUSE
        # Written by the task alone.
        self._progress: tuple[int | None, str | None] | None = None
        self._checkpoint: bytes | None = None
        self._closing = False
        self._final = False
        # Written by the thread alone.
        self._sent_progress: tuple[int | None, str | None] | None = None
        self._sent_checkpoint: bytes | None = None
        self._failures = 0
        self._owed = False  #: a sign of life
        self._nudged = False
        self._nudges: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="longtask-reports", daemon=True)
        self._thread.start()

    def progress(self, percent: int | None, message: str | None) -> None:
        """Take the latest progress."""
        self._progress = (percent, message)
        self._nudge()

    def checkpoint(self, data: bytes) -> None:
        """Take the latest checkpoint."""
        self._checkpoint = data
        self._nudge()

    def close(self, seconds: float, *, final: bool = False) -> None:
        """Send what is unsent without a pause, for so long at most, and end the thread.

        Args:
            seconds: How long that may take.
            final: Whether it is waited for until it is stored.
        """
        self._final = final
        self._closing = True
        self._nudges.put(None)
        self._thread.join(seconds)

    def _nudge(self) -> None:
        # One nudge lies in the queue at most. The thread clears the flag before it reads the
        # fields, so what is written after a skipped nudge is still seen.
        if not self._nudged:
            self._nudged = True
            self._nudges.put(None)

    def _work(self) -> None:
        port = self._connect()
        next_at = time.monotonic()
        while True:
            if not (self._owed or self._unsent() or self._closing):
                self._owed = not self._nudged_within(self._silence)
            while not self._closing and (pause := next_at - time.monotonic()) > 0:
                self._nudged_within(pause)
            closing = self._closing
            self._nudged = False
            final = closing and self._final
            # The API may hold what was sent just now: the final one is answered when it is stored.
            if self._owed or self._unsent() or final:
                self._send(port, final=final)
            if closing:
                return
            pause = min(self._interval * 2**self._failures, self._longest_pause)
            next_at = time.monotonic() + pause

    def _nudged_within(self, seconds: float | None) -> bool:
        try:
            self._nudges.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    def _unsent(self) -> bool:
        return (
            self._progress is not self._sent_progress
            or self._checkpoint is not self._sent_checkpoint
        )

    def _send(self, port: Port, *, final: bool) -> None:
        from longtask_runner import runner_port  # its imports are the thread's business

        progress, checkpoint = self._progress, self._checkpoint
        fields: dict[str, object] = {}
        percent, message = progress or (None, None)
        if percent is not None:
            fields[_Field.PERCENT] = percent
        if message is not None:
            fields[_Field.MESSAGE] = message
        if checkpoint is not None and checkpoint is not self._sent_checkpoint:
            fields[_Field.CHECKPOINT] = wire.loads(checkpoint.decode())
        if final:
            fields[_Field.FINAL] = True
        try:
            if port.report(fields):
                self._cancel.request()
        except runner_port.NotTaken as error:
            if self._failures == 0:
                log.line(f"progress was not reported: {error}")
            self._failures = min(self._failures + 1, 10)
            if error.again:
                return
        else:
            self._failures = 0
        self._owed = False
        self._sent_progress, self._sent_checkpoint = progress, checkpoint


def connect(
    *,
    url: str,
    token_file: str,
    cancel: cancellation.Cancellation,
    heartbeat: float | None = None,
) -> ThreadReporter:
    """Return a reporter to the API's runner port."""

    def port() -> Port:
        from longtask_runner import runner_port

        return runner_port.RunnerPort(url=url, token_file=token_file)

    return ThreadReporter(port, cancel=cancel, heartbeat=heartbeat)

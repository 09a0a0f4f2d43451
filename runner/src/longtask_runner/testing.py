"""For tests of tasks: a reporter that remembers."""

from __future__ import annotations

from longtask_runner import wire


class MemoryReporter:
    """Keeps what a task reports: `Context(connect=lambda: reporter)`."""

    def __init__(self) -> None:
        self.percents: list[int | None] = []
        self.messages: list[str | None] = []
        self.checkpoints: list[object] = []

    def progress(self, percent: int | None, message: str | None) -> None:
        """Remember the progress."""
        self.percents.append(percent)
        self.messages.append(message)

    def checkpoint(self, data: bytes) -> None:
        """Remember the checkpoint."""
        self.checkpoints.append(wire.loads(data.decode()))

    def close(self, seconds: float, *, final: bool) -> None:
        """Have nothing left to send."""

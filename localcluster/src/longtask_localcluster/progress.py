"""Progress for people: one line per step, and a sign of life while a long one runs."""

import contextlib
import threading
import time
from collections.abc import Iterator

FIRST_SIGN_AFTER = 5.0
SIGN_EVERY = 20.0


class Step:
    """A step that is running; its detail is shown in the signs of life."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._ended = threading.Event()
        self.detail = ""

    def watch(self) -> None:
        """Print a sign of life now and then until the step ends."""
        pause = FIRST_SIGN_AFTER
        while not self._ended.wait(pause):
            detail = f" ({self.detail})" if self.detail else ""
            self._print(f"... {self._title}{detail}")
            pause = SIGN_EVERY

    def end(self, outcome: str) -> None:
        """Print the line that stays."""
        self._ended.set()
        self._print(f"{outcome}{self._title}")

    def _print(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[Step]:
    """Show a step of the work with its duration."""
    running = Step(title)
    watcher = threading.Thread(target=running.watch, daemon=True)
    watcher.start()
    try:
        yield running
    except BaseException:
        running.end("FAILED: ")
        raise
    running.end("")


def say(text: str) -> None:
    """Print a remark below the steps."""
    print(f"           {text}", flush=True)

"""Logs as JSON lines: message, level, logger, timestamp, what `extra` gives, exception.

What all lines of a request or of a pass have in common is said once, by `about`. A line about a
task has `task` and `uid`, and `trace_id` where the task belongs to a trace: by its uid its whole
life is found, in both processes.
"""

import collections
import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, TextIO

import structlog

from longtask_adapters.kube.cache import key_of
from longtask_crds import traces, v1alpha1

#: In seconds: what is logged meanwhile is written at once, and lost by a process that is killed.
_GATHERING = 0.02
#: So many lines may wait for a reader who does not read.
_MOST_UNREAD = 10_000

_words: contextvars.ContextVar[dict[str, object] | None] = contextvars.ContextVar(
    "log_words", default=None
)


@contextlib.contextmanager
def about(**words: object) -> Iterator[dict[str, object]]:
    """Have each line from here on say these words too; yields all that are said by the end."""
    said = {**(_words.get() or {}), **words}
    token = _words.set(said)
    try:
        yield said
    finally:
        _words.reset(token)


def add(**words: object) -> None:
    """Have each further line of what is going on say these words too; outside of all, do nothing.

    Whoever is around, a middleware say, says them as well.
    """
    said = _words.get()
    if said is not None:
        said.update(words)


def of_task(task: v1alpha1.LongTask) -> dict[str, object]:
    """Return what a line says of the task that it is about."""
    told: dict[str, object] = {"task": str(key_of(task)), "uid": task.metadata.uid}
    trace = traces.of(task)
    return told if trace is None else told | {"trace_id": traces.trace_id(trace)}


def _add_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in (_words.get() or {}).items():
        event.setdefault(name, value)
    return event


class Lines(logging.Handler):
    """Writes lines by a thread of its own, as many at once as there are.

    A line that is written by itself wakes who reads it, on a full machine in our place, and waits
    for who does not read: a third of what it cost to take a task in. Warnings are written at once,
    and everything is when the process ends.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: collections.deque[str] = collections.deque()
        self._is_some = threading.Event()
        # A finalizer may log in the midst of it, in the same thread.
        self._writing = threading.RLock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def createLock(self) -> None:  # noqa: N802 - so it is called in the library
        """Have none: what is shared is one queue, and two locks may be taken in either order."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, and have it written soon."""
        try:
            self._lines.append(self.format(record) + "\n")
            if record.levelno >= logging.WARNING or len(self._lines) > _MOST_UNREAD:
                self.flush()
            else:
                self._is_some.set()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what there is."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()

    def _run(self) -> None:
        while True:
            self._is_some.wait()
            time.sleep(_GATHERING)
            self._is_some.clear()
            # Who reads has gone, say: there is nobody to tell, and others may come.
            with contextlib.suppress(Exception):
                self.flush()


def configure(level: str, *more: structlog.typing.Processor, quiet: Iterable[str] = ()) -> None:
    """Send every record of the process, the libraries' too, to standard output.

    Args:
        level: The least severe record that is logged: DEBUG, INFO, WARNING or ERROR.
        more: Processors that add what only this part knows.
        quiet: Loggers of libraries that speak of warnings and worse alone.
    """
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_words,
            *more,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    handler = Lines(sys.stdout)
    handler.setFormatter(formatter)
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=level, force=True)

"""The ends of logs, as they are kept when the pods are gone: lines, each with its time.

Kubernetes puts the time before a line if it is asked to; so it is stored, and taken off again where
nobody wants it. The rest is the same whether a log is read from a pod or from here.
"""

import collections
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from longtask_api.stores.blobs import Blob, Blobs, Kind

#: So many bytes of lines are kept of an attempt; their times come on top.
LIMIT: Final = 64 * 2**10

_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
#: What Kubernetes puts before a line.
_TIME = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.0-9]*(?:Z|[+-][0-9]{2}:[0-9]{2})) "
)
_LONGEST_TIME: Final = len("2026-01-02T03:04:05.123456789+00:00 ")


class LogTails:
    """The ends of logs that are kept, of each attempt; all of it raises DatabaseAway."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def holds(self, uid: str, attempt: int, *, run: str = "") -> bool:
        """Tell whether the end of an attempt's log is kept."""
        return await self._find(uid, run, attempt) is not None

    async def get(self, uid: str, attempt: int, *, run: str = "") -> bytes | None:
        """Return the end of an attempt's log, in lines with their times, or None.

        Args:
            uid: The task's.
            attempt: The attempt's number.
            run: The name of the program; empty for that of a plain task.
        """
        blob = await self._find(uid, run, attempt)
        if blob is None:
            return None
        try:
            return b"".join([piece async for piece in self._blobs.read(blob)])
        except LookupError:
            return None

    async def put(self, uid: str, attempt: int, log: bytes, *, run: str = "") -> None:
        """Keep the end of an attempt's log."""
        await self._blobs.put(uid, Kind.LOG, attempt, _MEDIA_TYPE, log, run=run)

    async def _find(self, uid: str, run: str, attempt: int) -> Blob | None:
        return await self._blobs.find(uid, Kind.LOG, run=run, attempt=attempt)


class Tail:
    """Takes a log in pieces and keeps its end."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lines: collections.deque[bytes] = collections.deque()
        self._size = 0  #: of the lines without their times
        self._rest = b""  #: of a line that has not ended yet

    def feed(self, piece: bytes) -> None:
        """Take what comes next."""
        *lines, rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._add(line + b"\n")
        # Not before the line's time is there, whole.
        enough = self._limit + _LONGEST_TIME
        self._rest = rest if len(rest) <= enough else self._shortened(rest)

    def close(self) -> bytes:
        """Return the lines that were kept; the last one may lack its end."""
        if self._rest:
            self._add(self._rest)
            self._rest = b""
        return b"".join(self._lines)

    def _add(self, line: bytes) -> None:
        line = self._shortened(line)
        self._lines.append(line)
        self._size += len(line) - _time_of(line)
        while self._size > self._limit:
            first = self._lines.popleft()
            self._size -= len(first) - _time_of(first)

    def _shortened(self, line: bytes) -> bytes:
        """Return the line, or its time and its end if it alone is too long."""
        start = _time_of(line)
        if len(line) - start <= self._limit:
            return line
        return line[:start] + line[-self._limit :]


def part(
    log: bytes, *, tail: int | None = None, since: datetime | None = None, timestamps: bool = False
) -> bytes:
    """Return of a kept log what Kubernetes would give of a whole one.

    Args:
        log: Lines with their times.
        tail: The last lines, so many.
        since: What was written from then on.
        timestamps: With the times.
    """
    lines = list(_lines(log))
    if since is not None:
        lines = [line for line in lines if _is_since(line, since)]
    if tail is not None:
        lines = lines[max(0, len(lines) - tail) :]
    if not timestamps:
        lines = [line[_time_of(line) :] for line in lines]
    return b"".join(lines)


def _lines(log: bytes) -> Iterator[bytes]:
    """Yield the lines, which end with a line feed and nowhere else."""
    *lines, rest = log.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _is_since(line: bytes, moment: datetime) -> bool:
    found = _TIME.match(line)
    return found is None or datetime.fromisoformat(found[1].decode()) >= moment


def _time_of(line: bytes) -> int:
    """Return how many bytes the time before the line has; 0 if there is none."""
    found = _TIME.match(line)
    return found.end() if found else 0

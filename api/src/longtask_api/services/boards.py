"""Boards: what many look at is made once, and sent to all who look at it.

A list that two hundred people have open would otherwise be made two hundred times for each change.
What a board shows is not known here: somebody hands in what makes it.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Final

from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.hub import Hub, Listener, News
from longtask_api.services import streams
from longtask_api.stores.filters import Filter

_logger = logging.getLogger(__name__)

#: Returns the board as it is now.
Make = Callable[[], Awaitable[str]]


@dataclasses.dataclass(frozen=True)
class Pace:
    """How often a board is made, in seconds."""

    made: float = 1.0  #: once in so long at most
    told: float = 0.25  #: how far programs are is told together with what comes within this
    moved: float = 15.0  #: places and estimates move, and no event tells of it
    #: After each it rests for so many times as long as the loop had work meanwhile, all boards
    #: together: of more of them each is made less often, and requests do not notice.
    rest: float = 7.0


USUAL: Final = Pace()
#: Of so many tasks it is told at once.
_BATCH = 100
#: Who reads so slowly that more is left gets the next whole board instead.
_MOST_LEFT = 40


class _Viewer(Listener):
    """Somebody who looks: they are sent the last board, and what came after it."""

    __slots__ = ("_has", "_left")

    def __init__(self) -> None:
        super().__init__()
        self._has: str | None = None
        self._left: list[bytes] = []

    def show(self, text: str, frame: bytes) -> None:
        """Let them have the whole, unless they do, in place of all that they were not sent yet."""
        if text != self._has:
            self._has, self._left = text, [frame]
            self.wake()

    def add(self, chunk: bytes) -> None:
        """Let them have what came after it."""
        if len(self._left) < _MOST_LEFT:
            self._left.append(chunk)
        self.wake()

    def take(self) -> bytes:
        """Return what they were not sent yet."""
        left, self._left = self._left, []
        return left[0] if len(left) == 1 else b"".join(left)


class _Board:
    """What all share who look at the same."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.viewers: set[_Viewer] = set()
        self.text = ""
        self.frame: bytes | None = None  #: the last that was made; None once something has changed
        self.is_over = False

    def show(self, text: str) -> None:
        """Show it to all."""
        self.text, self.frame = text, _framed(text)
        for viewer in self.viewers:
            viewer.show(text, self.frame)

    def add(self, chunk: bytes) -> None:
        """Let all have what came after it."""
        for viewer in self.viewers:
            viewer.add(chunk)

    def end(self) -> None:
        """Let all streams of it end."""
        self.is_over = True
        for viewer in self.viewers:
            viewer.wake()


class Boards:
    """Keeps what is looked at fresh.

    Args:
        hub: Who tells of changes.
        opener: Who has words for them.
        pace: How often boards are made.
        stream_pace: How often a stream does what nobody asks for.
        clock: Returns seconds.
    """

    def __init__(
        self,
        hub: Hub,
        opener: streams.StreamService,
        *,
        pace: Pace = USUAL,
        stream_pace: streams.Pace = streams.USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._opener = opener
        self._pace = pace
        self._stream_pace = stream_pace
        self._clock = clock
        self._boards: dict[Hashable, tuple[_Board, asyncio.Task[None]]] = {}
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    @contextlib.asynccontextmanager
    async def looking(
        self,
        caller: callers.Caller,
        wanted: Filter,
        key: Hashable,
        make: Make,
        *,
        check: streams.Check,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the stream of a board: as it is, and again whenever it has changed.

        Args:
            caller: Who looks.
            wanted: Of which tasks a change may change the board.
            key: The same for all who are shown the same.
            make: Makes it; of those with the same key, the first one's does.
            check: Is asked from time to time whether they may still look.

        Raises:
            TooManyRequests: They have too many streams.
        """
        with self._hub.admitted(caller):
            if key not in self._boards:
                board = _Board(make)
                keeping = self._keep(key, board, caller, wanted)
                self._boards[key] = board, asyncio.create_task(keeping)
            board, keeper = self._boards[key]
            viewer = _Viewer()
            if board.frame is not None:
                viewer.show(board.text, board.frame)
            board.viewers.add(viewer)
            try:
                yield self._follow(board, viewer, check)
            finally:
                board.viewers.discard(viewer)
                if not board.viewers:
                    self._forget(key, board)
                    keeper.cancel()

    async def _follow(
        self, board: _Board, viewer: _Viewer, check: streams.Check
    ) -> AsyncIterator[bytes]:
        beat = streams.Beat(self._clock, self._stream_pace)
        yield streams.RETRY + b"\n"
        while not board.is_over:
            chunk = viewer.take()
            if not chunk and beat.is_silent():
                chunk = streams.PING + b"\n"
            if chunk:
                beat.sent()
                yield chunk
            chunk = b""  # while nothing happens nothing is held
            await viewer.wait(beat.until_next(False))
            if not await beat.may_go_on(check):
                return

    # --- one board

    async def _keep(
        self, key: Hashable, board: _Board, caller: callers.Caller, wanted: Filter
    ) -> None:
        """Keep a board fresh until nobody looks at it."""
        try:
            with self._hub.listening_to_all(caller, wanted, since=None) as listener:
                is_due, at = True, self._clock()
                while not self._hub.is_closing:
                    if is_due and self._clock() >= at:
                        is_due = not await self._make(board)
                        at = self._clock() + self._pace.made
                        moved_at = self._clock() + self._pace.moved
                    await asyncio.sleep(self._pace.told)
                    await listener.wait(max(0.0, (at if is_due else moved_at) - self._clock()))
                    news = listener.take(_BATCH)
                    self._tell(board, news)
                    is_due = (
                        is_due
                        or self._clock() >= moved_at
                        or not all(one.only_progress for one in news)
                    )
                    if is_due:
                        board.frame = None
        except Exception:
            # Who looks comes back, and is told what is wrong.
            _logger.exception("Failed to keep a board")
        finally:
            self._forget(key, board)
            board.end()

    async def _make(self, board: _Board) -> bool:
        """Make it when it has its turn; tell whether that could be done."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_at - self._clock()))
            # The processor's time: where others have the machine, to wait for it costs nobody.
            began = time.thread_time()
            try:
                board.show(await board.make())
            except (errors.ApiError, kube.ClusterError):
                return False  # something is away: it is tried again
            finally:
                self._free_at = self._clock() + (time.thread_time() - began) * self._pace.rest
        return True

    def _tell(self, board: _Board, news: Sequence[News]) -> None:
        """Let all have what only says how far programs are: the rest is seen when it is made."""
        told = b"".join(self._opener.told(one) for one in news if one.only_progress)
        if told:
            board.add(told)

    def _forget(self, key: Hashable, board: _Board) -> None:
        known = self._boards.get(key)
        if known is not None and known[0] is board:
            del self._boards[key]


def _framed(text: str) -> bytes:
    """Return a board as an event, whose id says when it was so, in milliseconds."""
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: page\nid: {time.time() * 1000:.0f}\n{lines}\n".encode()

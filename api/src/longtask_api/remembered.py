"""Facts that somebody else knows: asked for once, and kept for a while."""

import asyncio
import collections
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MOST_KEPT = 10_000


class Remembered(Generic[K, V]):
    """The last facts that were learnt, each for a while."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = math.inf,
        *,
        most: int = _MOST_KEPT,
    ) -> None:
        """Know nothing yet.

        Args:
            clock: Says seconds.
            seconds: How long a fact counts.
            most: How many facts are kept: of more, those that were learnt last.
        """
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._kept: collections.OrderedDict[K, tuple[float, V]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return the fact, or None if it is not known any more."""
        at, value = self._kept.get(key, (-math.inf, None))
        return value if self._clock() - at < self._seconds else None

    def keep(self, key: K, value: V) -> None:
        """Learn a fact."""
        self._kept[key] = (self._clock(), value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


class Asked(Generic[K, V]):
    """Questions that are under way: whoever asks the same one meanwhile gets the same answer."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def answer(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return what `ask` returns, or raise what it raises.

        Who gives up waiting leaves the question to the others.
        """
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(ask))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._end(key, done))
        return await asyncio.shield(task)

    def _end(self, key: K, done: "asyncio.Task[V]") -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # nobody may be left to see it


async def _awaited(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()

"""Facts that somebody else knows: asked for once, and kept for a while."""

import asyncio
import collections
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from longtask_api import errors

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


class Answers(Generic[K, V]):
    """Answers to questions that strangers make us ask: each is asked once, and few at a time.

    Whoever asks for what is being asked gets the same answer. An error is none, and not kept.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        seconds: float,
        *,
        at_once: int,
        most_waiting: int,
        most_kept: int = _MOST_KEPT,
    ) -> None:
        """Know no answer yet.

        Args:
            clock: Says seconds.
            seconds: How long an answer counts.
            at_once: How many questions are under way at once.
            most_waiting: How many there may be, those with them that wait for a place.
            most_kept: How many answers are kept.
        """
        self._known: Remembered[K, tuple[V]] = Remembered(clock, seconds, most=most_kept)
        self._places = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._asked: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return what is known, or what `ask` returns.

        Raises:
            TooManyRequests: Too much is being asked.
        """
        if (known := self._known.get(key)) is not None:
            return known[0]
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= self._most_waiting:
                raise errors.TooManyRequests("Too many tokens are being looked at.")
            task = asyncio.ensure_future(self._answer(key, ask))
            self._asked[key] = task
            task.add_done_callback(lambda done: self._end(key, done))
        # Who gives up waiting leaves the question to the others.
        return await asyncio.shield(task)

    async def _answer(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        async with self._places:
            answer = await ask()
        self._known.keep(key, (answer,))
        return answer

    def _end(self, key: K, done: "asyncio.Task[V]") -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # nobody may be left to see it

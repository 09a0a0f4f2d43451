"""A keyed work queue: each key is worked on once at a time, and again if it was added meanwhile."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")

_logger = logging.getLogger(__name__)
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 30.0


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for each key that is added; what fails is tried again, ever more slowly.

    There is no limit to how many keys are worked on at once: a slow receiver of callbacks must not
    hold up other tasks. Requests to the API server are bounded where they are made.

    Args:
        work: Does what there is to do for a key; returns after how many seconds to look at it
            again, or None. It may raise anything.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]]) -> None:
        self._work = work
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._dirty: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key) -> None:
        """Work on the key now, or once more as soon as the present pass is over."""
        if self._closed:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._dirty.add(key)
        else:
            self._running[key] = asyncio.get_running_loop().create_task(self._run(key))

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on the key after a while, unless a sooner look is due already."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if self._closed or key in self._dirty or (timer is not None and timer.when() <= due):
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def depth(self) -> int:
        """Return how many keys are being worked on."""
        return len(self._running)

    async def close(self) -> None:
        """Take nothing more, and wait for what is being worked on."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._dirty.clear()
        if self._running:
            await asyncio.wait(self._running.values())

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run(self, key: Key) -> None:
        again: float | None = None
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
        except Exception:
            # One bad key must not stop the others, whatever is wrong with it.
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            # The exponent is bounded, or after some hours of failures no float could hold it.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 30))
            again = pause * random.uniform(0.8, 1.2)
            _logger.exception("Failed", extra={"key": str(key), "again_in": round(again, 2)})
        finally:
            del self._running[key]
            if key in self._dirty:
                self._dirty.discard(key)
                self.add(key)
            elif again is not None:
                self.add_after(key, again)

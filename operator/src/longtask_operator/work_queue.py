"""A keyed work queue: each key is worked on once at a time, and again if it was added meanwhile."""

import asyncio
import collections
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

from longtask_adapters import logs

Key = TypeVar("Key", bound=Hashable)

_logger = logging.getLogger(__name__)
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 30.0
#: How many passes begin before everybody else in the event loop has a turn.
_BEGIN_AT_ONCE = 20
#: How many keys of one lane are worked on at once.
_LANE_WIDTH = 8


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for each key that is added; what fails is tried again, ever more slowly.

    There is no limit to how many keys are worked on at once: a slow answer of the API server must
    not hold up other tasks. Only keys that come by the thousand share a lane, a few at a time, so
    that they hold up nobody but each other. Passes begin in small groups: the event loop never
    stands still for long, however many are due.

    Args:
        work: Does what there is to do for a key; returns after how many seconds to look at it
            again, or None. It may raise anything.
        lane_of: Returns the lane that a key takes now; None is free.
        told: Returns what each line of the log says during a pass of a key.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        lane_of: Callable[[Key], Hashable | None] = lambda _: None,
        told: Callable[[Key], Mapping[str, object]] = lambda key: {"key": str(key)},
    ) -> None:
        self._work = work
        self._told = told
        self._lane_of = lane_of
        self._due: dict[Hashable | None, dict[Key, None]] = {}  #: by lane, in order
        self._where: dict[Key, Hashable | None] = {}  #: the lane of each key that is due
        self._busy: collections.Counter[Hashable] = collections.Counter()  #: passes, by lane
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._dirty: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._pumping = False
        self._closed = False

    def add(self, key: Key) -> None:
        """Work on the key soon, or once more as soon as the present pass is over."""
        if self._closed:
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._dirty.add(key)
            return
        lane = self._lane_of(key)
        if key in self._where:
            if self._where[key] == lane:
                return
            self._take(key)
        self._due.setdefault(lane, {})[key] = None
        self._where[key] = lane
        self._pump_soon()

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on the key after a while, unless a sooner look is due already."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        sooner = key in self._dirty or key in self._where
        if self._closed or sooner or (timer is not None and timer.when() <= due):
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def depth(self) -> int:
        """Return how many keys are due or being worked on."""
        return len(self._running) + len(self._where)

    async def close(self) -> None:
        """Take nothing more, and wait for what is being worked on."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._dirty.clear()
        self._due.clear()
        self._where.clear()
        if self._running:
            await asyncio.wait(self._running.values())

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Begin some passes, of each lane in turn; the rest after everybody else had theirs."""
        self._pumping = False
        begun = 0
        while begun < _BEGIN_AT_ONCE:
            lanes = [lane for lane in self._due if lane is None or self._busy[lane] < _LANE_WIDTH]
            if not lanes:
                return
            for lane in lanes:
                key = next(iter(self._due[lane]))
                self._take(key)
                if lane is not None:
                    self._busy[lane] += 1
                loop = asyncio.get_running_loop()
                self._running[key] = loop.create_task(self._run(key, lane))
                begun += 1
        self._pump_soon()

    def _take(self, key: Key) -> None:
        lane = self._where.pop(key)
        del self._due[lane][key]
        if not self._due[lane]:
            del self._due[lane]

    async def _run(self, key: Key, lane: Hashable | None) -> None:
        # Until its asyncio task ends, which is made for this pass: whatever it starts says so too.
        with logs.about(**self._told(key)):
            await self._pass(key, lane)

    async def _pass(self, key: Key, lane: Hashable | None) -> None:
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
            _logger.exception("Failed", extra={"again_in": round(again, 2)})
        finally:
            del self._running[key]
            if lane is not None:
                self._busy[lane] -= 1
                if not self._busy[lane]:
                    del self._busy[lane]
                if lane in self._due:
                    self._pump_soon()
            if key in self._dirty:
                self._dirty.discard(key)
                self.add(key)
            elif again is not None:
                self.add_after(key, again)

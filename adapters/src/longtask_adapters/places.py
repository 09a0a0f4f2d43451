"""Who may go when only some can at once, in a way that nobody's many delay another."""

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator, Callable

#: For how long a turn is young.
_YOUNG_SECONDS = 0.05


class Turns:
    """Turns for some at once. An owner gets no more than half of what the others leave.

    So there is room for one more owner, and owners who wait go one after the other. Turns that take
    long hold up nobody: so many may be young, and it is these that those who come later wait for.

    Args:
        most: How many there are at once.
        young: How many of them may have begun just now; any when absent.
    """

    def __init__(self, most: int, *, young: int | None = None) -> None:
        self._most = most
        self._most_young = most if young is None else young
        self._all = 0
        self._of: collections.Counter[str] = collections.Counter()  #: by owner
        self._young: set[object] = set()
        self._waiting: dict[str, collections.deque[asyncio.Future[object]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        turn = await self._wait(owner)
        try:
            yield
        finally:
            self._end(owner, turn)

    async def _wait(self, owner: str) -> object:
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, collections.deque()).append(waiter)
        self._call_next()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._end(owner, waiter.result())
            raise

    def _end(self, owner: str, turn: object) -> None:
        self._all -= 1
        self._of[owner] -= 1
        if not self._of[owner]:
            del self._of[owner]
        self._age(turn)

    def _age(self, turn: object) -> None:
        self._young.discard(turn)
        self._call_next()

    def _call_next(self) -> None:
        while len(self._young) < self._most_young:
            owner = next(filter(self._may_go, self._waiting), None)
            if owner is None:
                return
            waiters = self._waiting.pop(owner)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[owner] = waiters  # behind all others
            if not waiter.done():  # else it was cancelled
                self._begin(owner, waiter)

    def _may_go(self, owner: str) -> bool:
        return self._of[owner] < self._most - self._all

    def _begin(self, owner: str, waiter: asyncio.Future[object]) -> None:
        turn = object()
        self._all += 1
        self._of[owner] += 1
        self._young.add(turn)
        asyncio.get_running_loop().call_later(_YOUNG_SECONDS, self._age, turn)
        waiter.set_result(turn)


class Host:
    """A host as one owner sees it."""

    def __init__(self) -> None:
        self.failures = 0  #: in a row
        self.under_way = 0
        self.opens_at = 0.0
        self.waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Tell whether nobody is there, nor wants to."""
        return not self.under_way and not any(not waiter.done() for waiter in self.waiting)


class Hosts:
    """Some at once to each host; one that fails again and again is left alone for a while.

    Each owner has hosts of their own: what one of them makes fail, or makes slow, is no matter of
    the others.

    Args:
        at_once: How many at once to a host.
        failures: After how many failures in a row a host is left alone.
        pause: For how many seconds; then each further failure has it left alone again.
        clock: Tells the time, in seconds.
    """

    _REMEMBERED = 10_000

    def __init__(
        self,
        *,
        at_once: int,
        failures: int,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_once = at_once
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._hosts: collections.OrderedDict[tuple[str, str], Host] = collections.OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, owner: str, name: str) -> AsyncIterator[Host]:
        """Wait until the host may be called, and call it."""
        key = (owner, name)
        host = self._hosts.setdefault(key, Host())
        self._hosts.move_to_end(key)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        host.waiting.append(waiter)
        self._call_next(host)
        try:
            await waiter
            yield host
        finally:
            if waiter.done() and not waiter.cancelled():
                host.under_way -= 1
            self._call_next(host)
            if host.is_idle and not host.failures:
                self._hosts.pop(key, None)
            self._forget_the_oldest()

    def note(self, host: Host, *, failed: bool) -> None:
        """Take note of what became of a call."""
        host.failures = host.failures + 1 if failed else 0
        host.opens_at = self._clock() + self._pause if host.failures >= self._failures else 0.0

    def _call_next(self, host: Host) -> None:
        while host.waiting and host.waiting[0].done():
            host.waiting.popleft()  # cancelled
        closed_for = host.opens_at - self._clock()
        if host.waiting and closed_for > 0:
            self._call_later(host, closed_for)
            return
        while host.waiting and host.under_way < self._at_once:
            waiter = host.waiting.popleft()
            if not waiter.done():
                host.under_way += 1
                waiter.set_result(None)

    def _call_later(self, host: Host, seconds: float) -> None:
        def ring() -> None:
            host.timer = None
            self._call_next(host)

        if host.timer is None:
            host.timer = asyncio.get_running_loop().call_later(seconds, ring)

    def _forget_the_oldest(self) -> None:
        while len(self._hosts) > self._REMEMBERED:
            key, host = next(iter(self._hosts.items()))
            if not host.is_idle:
                return
            del self._hosts[key]

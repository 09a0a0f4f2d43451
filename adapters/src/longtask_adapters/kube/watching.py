"""Follows one collection for ever: a list, then a watch from there on, whatever happens."""

import abc
import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection, Event, EventType
from longtask_adapters.kube.listing import SLICE

_logger = logging.getLogger(__name__)

#: However often a place was lost, no longer pause than after so many failures: 4 seconds at most.
_PATIENCE_WITH_EXPIRED = 4


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: 15 at most, jittered."""
    return min(15.0, 0.25 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)


def _asked_pause(error: errors.ClusterError) -> float:
    """Return for how many seconds the API server asks to be left alone: a minute at most."""
    asked = error.retry_after if isinstance(error, errors.TooManyRequests) else None
    return min(60.0, asked or 0.0)


class Watch(abc.ABC):
    """One watch of one collection; who keeps what it brings says how.

    Args:
        connection: Where to list and to watch.
        path: The collection's path; its last word says in the log what is watched.
        query: Selectors.
        clock: Tells seconds that only go forward.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.synced = asyncio.Event()  #: what is there was listed once
        self.unforeseen = 0  #: how many failures no error of the cluster explains
        self._connection = connection
        self._plural = path.rpartition("/")[2]
        self._path = path
        self._query = query
        self._clock = clock
        self._sleep = sleep
        self._last_contact = clock()
        self._failing_since: float | None = None
        self._position: int | None = None
        self._awaited: set[tuple[int, asyncio.Event]] = set()

    @abc.abstractmethod
    async def _list(self) -> int:
        """Take over all that is there, and call `_go_on_from`; return the version of the list.

        Raises:
            ClusterError: The list was not complete.
        """

    @abc.abstractmethod
    def _take(self, event: Event) -> None:
        """Take over what happened to one object; a bookmark only says how far the watch is."""

    async def run(self) -> None:
        """List unless that was done, then watch; go on after every error."""
        failures, asked = 0, 0.0
        while True:
            try:
                asked = 0.0
                failures = 0 if await self._follow() else failures + 1
            except errors.Expired:
                # It has answered, and all that helps is a list: there is less to be patient for.
                self._position = None
                failures = min(failures + 1, _PATIENCE_WITH_EXPIRED)
            except errors.ClusterError as error:
                failures += 1
                asked = _asked_pause(error)
                self._fails(str(error))
            except Exception:
                # Nobody foresaw it, so nobody knows what it left behind: begin anew.
                failures += 1
                self.unforeseen += 1
                self._position = None
                self._fails("unforeseen")
                _logger.exception("The watch failed", extra={"plural": self._plural})
            if failures:
                await self._sleep(max(backoff(failures), asked))

    async def run_once_listed(self) -> None:
        """Watch for ever, from the list on that somebody else makes first."""
        await self.synced.wait()
        await self.run()

    async def reach(self, version: int, *, within: float) -> bool:
        """Wait until all that there was at this version was taken over; tell whether it was."""
        if self._position is not None and self._position >= version:
            return True
        awaited = (version, asyncio.Event())
        self._awaited.add(awaited)
        try:
            async with asyncio.timeout(within):
                await awaited[1].wait()
        except TimeoutError:
            return False
        finally:
            self._awaited.discard(awaited)
        return True

    def failing_for(self) -> float:
        """Return for how many seconds the watch has failed; 0 while one stands."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def silent_for(self) -> float:
        """Return for how many seconds the API server has said nothing of this kind."""
        return self._clock() - self._last_contact

    def _go_on_from(self, version: int) -> None:
        """Take note of a complete list; the watch goes on from it."""
        self._advance(version)
        self._last_contact = self._clock()
        self.synced.set()

    async def _follow(self) -> bool:
        """Watch until the API server ends it; return whether anything came."""
        position = self._position
        if position is None:
            position = await self._list()
        events = 0
        async for event in self._connection.watch(self._path, position, self._query):
            self._last_contact = self._clock()
            if event.type is EventType.CONNECTED:
                self._recovers()
                continue
            self._take(event)
            self._advance(kinds.version_of(event.object))
            events += 1
            if events % SLICE == 0:
                # What is there already is read without waiting: thousands may come at once.
                await asyncio.sleep(0)
        return events > 0

    def _advance(self, position: int) -> None:
        self._position = position
        for version, event in self._awaited:
            if version <= position:
                event.set()

    def _fails(self, cause: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock()
            told = {"plural": self._plural, "cause": cause}
            _logger.warning("Lost the watch", extra=told)

    def _recovers(self) -> None:
        if self._failing_since is not None:
            self._failing_since = None
            _logger.info("Resumed the watch", extra={"plural": self._plural})

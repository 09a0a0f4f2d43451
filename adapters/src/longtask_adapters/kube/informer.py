"""Keeps a cache fresh by one list and one watch, whatever happens."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.cache import Cache
from longtask_adapters.kube.connection import MOST_OF_A_PAGE, Connection, EventType
from longtask_adapters.kube.kinds import R
from longtask_crds import names

_logger = logging.getLogger(__name__)

#: After so many objects of a list everybody else has a turn.
_SLICE = 50


class Listing(NamedTuple):
    """What a complete list brought."""

    version: int  #: a watch goes on from here
    changed: list[names.ObjectKey]  #: what is new, or other than before, or gone


async def relist(
    connection: Connection,
    kind: kinds.Kind[R],
    namespace: str,
    cache: Cache[R],
    *,
    limit: int = MOST_OF_A_PAGE,
) -> Listing:
    """Bring the cache up to a complete list, page by page; parse only what is news.

    Args:
        connection: Where to ask.
        kind: What to list.
        namespace: Where.
        cache: What is brought up to it.
        limit: The most objects of a page.

    Raises:
        ClusterError: The list was not complete; what came of it is in the cache.
    """
    changed: list[names.ObjectKey] = []
    listed: set[names.ObjectKey] = set()
    async for page in connection.pages(kind.collection(namespace), limit=limit):
        if page.is_first:
            listed.clear()
        for number, raw in enumerate(page.items, start=1):
            key = kinds.key_of(raw)
            listed.add(key)
            if cache.wants(key, raw["metadata"]["uid"], kinds.version_of(raw)):
                resource = kinds.parse(kind, raw)
                if resource is not None and cache.put(resource):
                    changed.append(key)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
    return Listing(page.version, changed + cache.keep_only(listed, page.version))


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: 15 at most, jittered."""
    return min(15.0, 0.25 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)


class Informer(Generic[R]):
    """Keeps one cache fresh, for ever."""

    def __init__(
        self,
        connection: Connection,
        kind: kinds.Kind[R],
        namespace: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.kind = kind
        self.cache: Cache[R] = Cache(kind.slim, packs=kind.packs)
        self.synced = asyncio.Event()  #: the cache was filled once
        self.unforeseen = 0  #: how many failures no error of the cluster explains
        self._connection = connection
        self._namespace = namespace
        self._clock = clock
        self._sleep = sleep
        self._last_contact = clock()
        self._failing_since: float | None = None
        self._position: int | None = None

    def failing_for(self) -> float:
        """Return for how many seconds the watch has failed; 0 while one stands."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    def silent_for(self) -> float:
        """Return for how many seconds the API server has said nothing of this kind."""
        return self._clock() - self._last_contact

    async def run(self) -> None:
        """List, then watch; go on after every error."""
        failures = 0
        while True:
            try:
                failures = 0 if await self._follow() else failures + 1
            except errors.Expired:
                self._position = None
                failures += 1
            except errors.ClusterError as error:
                failures += 1
                self._fails(str(error))
            except Exception:
                # Nobody foresaw it, so nobody knows what it left behind: begin anew.
                failures += 1
                self.unforeseen += 1
                self._position = None
                self._fails("unforeseen")
                _logger.exception("The watch failed", extra={"plural": self.kind.plural})
            if failures:
                await self._sleep(backoff(failures))

    async def _follow(self) -> bool:
        """Watch until the API server ends it; return whether anything came."""
        if self._position is None:
            listing = await relist(self._connection, self.kind, self._namespace, self.cache)
            self._position = listing.version
            self._last_contact = self._clock()
            self.synced.set()
        has_news = False
        path = self.kind.collection(self._namespace)
        async for event in self._connection.watch(path, self._position):
            self._last_contact = self._clock()
            if event.type is EventType.CONNECTED:
                self._recovers()
                continue
            has_news = True
            version = kinds.version_of(event.object)
            if event.type is EventType.DELETED:
                meta = event.object["metadata"]
                self.cache.remove(kinds.key_of(event.object), meta["uid"])
            elif event.type is not EventType.BOOKMARK:
                resource = kinds.parse(self.kind, event.object)
                if resource is not None:
                    self.cache.put(resource)
            self._position = version
        return has_news

    def _fails(self, cause: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock()
            told = {"plural": self.kind.plural, "cause": cause}
            _logger.warning("Lost the watch", extra=told)

    def _recovers(self) -> None:
        if self._failing_since is not None:
            self._failing_since = None
            _logger.info("Resumed the watch", extra={"plural": self.kind.plural})

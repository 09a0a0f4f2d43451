"""Keeps a cache fresh by one list and one watch, whatever happens."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, Protocol

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.cache import Cache
from longtask_adapters.kube.connection import MOST_OF_A_PAGE, Connection, Event, EventType
from longtask_adapters.kube.kinds import R
from longtask_crds import names

_logger = logging.getLogger(__name__)

#: After so many objects of a list, or events of a watch, everybody else has a turn.
SLICE = 50

#: However often a place was lost, no longer pause than after so many failures: 4 seconds at most.
_PATIENCE_WITH_EXPIRED = 4

#: Is told uid and version of what a watch brought, or the list that it goes on from.
Heard = Callable[[str, int], None]


class Follower(Protocol):
    """Is told how far a cache has come: whatever happened up to a version is in it."""

    def listed(self, version: int) -> None:
        """Take note that a list, complete up to this version, is in the cache."""
        ...

    def watched(self, version: int, gone: str | None) -> None:
        """Take note of the version of an event, and of the uid of what it deleted."""
        ...


def _nobody(*_: object) -> None:
    """Tell nobody."""


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
    heard: Heard = _nobody,
) -> Listing:
    """Bring the cache up to a complete list, page by page; parse only what is news.

    Args:
        connection: Where to ask.
        kind: What to list.
        namespace: Where.
        cache: What is brought up to it.
        limit: The most objects of a page.
        heard: Is told of each object.

    Raises:
        ClusterError: The list was not complete; what came of it is in the cache.
    """
    changed: list[names.ObjectKey] = []
    listed: set[names.ObjectKey] = set()
    async for page in connection.pages(kind.collection(namespace), limit=limit):
        version = page.version
        if page.is_first:
            listed.clear()
        for number, raw in enumerate(page.items, start=1):
            key = kinds.key_of(raw)
            listed.add(key)
            heard(raw["metadata"]["uid"], kinds.version_of(raw))
            if take(kind, raw, cache):
                changed.append(key)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        del page  # before the next one comes
    return Listing(version, changed + cache.keep_only(listed, version))


def take(kind: kinds.Kind[R], raw: kinds.Raw, cache: Cache[R]) -> bool:
    """Bring the cache up to one object; tell whether it was news.

    Mostly it is the echo of a write of ours, and not worth to be parsed.
    """
    if not cache.wants(kinds.key_of(raw), raw["metadata"]["uid"], kinds.version_of(raw)):
        return False
    resource = kinds.parse(kind, raw, cache.note_unreadable)
    return resource is not None and cache.put(resource)


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: 15 at most, jittered."""
    return min(15.0, 0.25 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)


def _asked_pause(error: errors.ClusterError) -> float:
    """Return for how many seconds the API server asks to be left alone: a minute at most."""
    asked = error.retry_after if isinstance(error, errors.TooManyRequests) else None
    return min(60.0, asked or 0.0)


class Informer(Generic[R]):
    """Keeps one cache fresh, for ever.

    Args:
        connection: Where to list and to watch.
        kind: What.
        namespace: Where.
        cache: What is kept fresh, if there is one already; else one is made as the kind says.
        heard: Is told of each object that the watch brought, or the list that it goes on from.
        news: Is told the key of each that was made or changed, as nobody here knew yet.
        clock: Tells seconds that only go forward.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        connection: Connection,
        kind: kinds.Kind[R],
        namespace: str,
        *,
        cache: Cache[R] | None = None,
        heard: Heard = _nobody,
        news: Callable[[names.ObjectKey], None] = _nobody,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.kind = kind
        self.cache = Cache(kind.slim, packs=kind.packs) if cache is None else cache
        self.synced = asyncio.Event()  #: the cache was filled once
        self.unforeseen = 0  #: how many failures no error of the cluster explains
        self._connection = connection
        self._namespace = namespace
        self._heard = heard
        self._news = news
        self.follower: Follower | None = None  #: is told how far the cache has come
        self._clock = clock
        self._sleep = sleep
        self._last_contact = clock()
        self._failing_since: float | None = None
        self._position: int | None = None
        self._awaited: set[tuple[int, asyncio.Event]] = set()

    async def reach(self, version: int, *, within: float) -> bool:
        """Wait until the cache has all that there was at this version; tell whether it has."""
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

    async def begin(self) -> Listing:
        """Bring the cache up to a complete list; the watch goes on from it.

        Raises:
            ClusterError: The list was not complete.
        """
        listing = await relist(
            self._connection, self.kind, self._namespace, self.cache, heard=self._heard
        )
        self._advance(listing.version)
        if self.follower is not None:
            self.follower.listed(listing.version)
        self._last_contact = self._clock()
        self.synced.set()
        for key in listing.changed:
            self._news(key)
        return listing

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
                _logger.exception("The watch failed", extra={"plural": self.kind.plural})
            if failures:
                await self._sleep(max(backoff(failures), asked))

    async def _follow(self) -> bool:
        """Watch until the API server ends it; return whether anything came."""
        position = self._position
        if position is None:
            position = (await self.begin()).version
        events = 0
        path = self.kind.collection(self._namespace)
        async for event in self._connection.watch(path, position):
            self._last_contact = self._clock()
            if event.type is EventType.CONNECTED:
                self._recovers()
                continue
            gone = self._take(event)
            version = kinds.version_of(event.object)
            self._advance(version)
            if self.follower is not None:
                self.follower.watched(version, gone)
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

    def _take(self, event: Event) -> str | None:
        """Bring the cache up to an event; return the uid of what it deleted."""
        if event.type is EventType.BOOKMARK:
            return None
        key, uid = kinds.key_of(event.object), event.object["metadata"]["uid"]
        if event.type is EventType.DELETED:
            self.cache.remove(key, uid)
            return str(uid)
        self._heard(uid, kinds.version_of(event.object))
        if take(self.kind, event.object, self.cache):
            self._news(key)
        return None

    def _fails(self, cause: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock()
            told = {"plural": self.kind.plural, "cause": cause}
            _logger.warning("Lost the watch", extra=told)

    def _recovers(self) -> None:
        if self._failing_since is not None:
            self._failing_since = None
            _logger.info("Resumed the watch", extra={"plural": self.kind.plural})

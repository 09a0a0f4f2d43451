"""Keeps a cache fresh by one list and one watch, whatever happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, Protocol

from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache
from longtask_adapters.kube.connection import MOST_OF_A_PAGE, Connection, Event, EventType
from longtask_adapters.kube.kinds import R
from longtask_adapters.kube.listing import SLICE
from longtask_adapters.kube.watching import Watch
from longtask_crds import names

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


class Informer(Watch, Generic[R]):
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
        super().__init__(connection, kind.collection(namespace), clock=clock, sleep=sleep)
        self.kind = kind
        self.cache = Cache(kind.slim, packs=kind.packs) if cache is None else cache
        self.follower: Follower | None = None  #: is told how far the cache has come
        self._namespace = namespace
        self._heard = heard
        self._news = news

    async def begin(self) -> Listing:
        """Bring the cache up to a complete list; the watch goes on from it.

        Raises:
            ClusterError: The list was not complete.
        """
        listing = await relist(
            self._connection, self.kind, self._namespace, self.cache, heard=self._heard
        )
        self._go_on_from(listing.version)
        if self.follower is not None:
            self.follower.listed(listing.version)
        for key in listing.changed:
            self._news(key)
        return listing

    async def _list(self) -> int:
        return (await self.begin()).version

    def _take(self, event: Event) -> None:
        gone = None
        if event.type is not EventType.BOOKMARK:
            gone = self._take_object(event)
        if self.follower is not None:
            self.follower.watched(kinds.version_of(event.object), gone)

    def _take_object(self, event: Event) -> str | None:
        """Bring the cache up to what happened; return the uid of what was deleted."""
        key, uid = kinds.key_of(event.object), event.object["metadata"]["uid"]
        if event.type is EventType.DELETED:
            self.cache.remove(key, uid)
            return str(uid)
        self._heard(uid, kinds.version_of(event.object))
        if take(self.kind, event.object, self.cache):
            self._news(key)
        return None

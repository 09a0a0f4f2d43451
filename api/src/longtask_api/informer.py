"""A copy of all resources of a kind, kept fresh by one list and one watch."""

import asyncio
import collections
import logging
import random
import time
import types
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic

from longtask_api import errors, ports
from longtask_api.ports import R
from longtask_crds import v1alpha1

log = logging.getLogger(__name__)

_REMEMBERED_DELETIONS = 4096


def _version(resource: v1alpha1.Resource) -> int:
    return int(resource.metadata.resource_version)


class Cache(Generic[R]):
    """The resources by name. It never goes back to an older state of one."""

    def __init__(self) -> None:
        self._items: dict[str, R] = {}
        self._view = types.MappingProxyType(self._items)
        # A write's answer may arrive after the watch has told of the deletion that followed.
        self._deleted: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._listeners: list[Callable[[str, R | None], None]] = []

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str) -> R | None:
        """Return the resource of that name, or None."""
        return self._items.get(name)

    def values(self) -> list[R]:
        """Return all resources, in no order."""
        return list(self._items.values())

    def by_name(self) -> Mapping[str, R]:
        """Return all resources by their names, as they are from now on."""
        return self._view

    def on_change(self, listener: Callable[[str, R | None], None]) -> None:
        """Tell the listener of each change: the name, and the resource or None."""
        self._listeners.append(listener)

    def put(self, resource: R) -> None:
        """Keep the resource, unless a newer state of it is here already."""
        meta = resource.metadata
        old = self._items.get(meta.name)
        if meta.uid in self._deleted or (old and _version(old) >= _version(resource)):
            return
        self._items[meta.name] = resource
        self._tell(meta.name)

    def remove(self, name: str, uid: str) -> None:
        """Forget the resource, for good: a late answer does not bring it back."""
        self._deleted[uid] = None
        if len(self._deleted) > _REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        old = self._items.get(name)
        if old is not None and old.metadata.uid == uid:
            del self._items[name]
            self._tell(name)

    def replace(self, resources: Iterable[R], resource_version: str) -> None:
        """Take over a whole list, made at that version."""
        listed = {r.metadata.name: r for r in resources}
        for name, old in list(self._items.items()):
            # What is newer than the list was written by us while it was on its way.
            if name not in listed and _version(old) <= int(resource_version):
                self.remove(name, old.metadata.uid)
        for resource in listed.values():
            self.put(resource)

    async def wait_for(
        self, name: str, done: Callable[[R | None], bool], *, within: float
    ) -> R | None:
        """Return the resource once it is as wanted, or as it is when the time is over."""
        try:
            async with asyncio.timeout(within):
                while not done(self._items.get(name)):
                    await self._change_of(name)
        except TimeoutError:
            pass
        return self._items.get(name)

    async def _change_of(self, name: str) -> None:
        event = asyncio.Event()
        waiters = self._waiters.setdefault(name, set())
        waiters.add(event)
        try:
            await event.wait()
        finally:
            waiters.discard(event)
            if not waiters and self._waiters.get(name) is waiters:
                del self._waiters[name]

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name, self._items.get(name))
        for event in self._waiters.get(name, ()):
            event.set()


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row: 15 at most, jittered."""
    return min(15.0, 0.25 * 2.0 ** min(failures, 8)) * random.uniform(0.5, 1.0)


class Informer(Generic[R]):
    """Keeps one cache fresh, for ever."""

    def __init__(
        self,
        cluster: ports.Cluster,
        kind: ports.Kind[R],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.kind = kind
        self.cache: Cache[R] = Cache()
        self.synced = asyncio.Event()
        self._last_contact = clock()
        self._failing_since: float | None = None
        self._cluster = cluster
        self._clock = clock
        self._sleep = sleep
        self._position: str | None = None

    def failing_for(self) -> float:
        """Return for how many seconds the API server has not answered; 0 while it does."""
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
                if self._failing_since is None:
                    self._failing_since = self._clock()
                    log.warning("Lost the watch of %s: %s", self.kind.plural, error)
            if failures:
                await self._sleep(backoff(failures))

    async def _follow(self) -> bool:
        """Watch until the API server ends it; return whether anything came."""
        if self._position is None:
            listing = await self._cluster.list(self.kind)
            self.cache.replace(listing.items, listing.resource_version)
            self._position = listing.resource_version
            self._reached()
            self.synced.set()
        news = -1  # the first event only says that the watch stands
        async for event in self._cluster.watch(self.kind, self._position):
            news += 1
            self._reached()
            self._position = event.resource_version
            if event.resource is None:
                continue
            if event.change is ports.Change.ABSENT:
                meta = event.resource.metadata
                self.cache.remove(meta.name, meta.uid)
            else:
                self.cache.put(event.resource)
        return news > 0

    def _reached(self) -> None:
        self._last_contact = self._clock()
        if self._failing_since is not None:
            self._failing_since = None
            log.info("Resumed the watch of %s", self.kind.plural)

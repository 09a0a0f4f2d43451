"""One hub: what the one watch of a replica brings goes to those who listen, and to nobody else.

Nobody's slowness is anybody's memory: who listens to one task holds nothing of it but that it has
changed, and who listens to many holds their names, and no more than `MOST_PENDING` of them. Who has
more to catch up on reads the cache, as one does who comes back.
"""

import asyncio
import collections
import contextlib
import dataclasses
import heapq
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from longtask_adapters.kube.cache import key_of, version_of
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.openings import Openings
from longtask_api.stores.catalogue import Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey

#: So many tasks may have changed that a listener was not told of yet.
MOST_PENDING: Final = 1000
#: So many deletions are remembered; who was away for more is told that some are missing.
_REMEMBERED_DELETIONS = 5000


class Listener:
    """Somebody who is woken when there is news; there are thousands, and an Event is a kilobyte."""

    __slots__ = ("_waiter", "is_woken")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self.is_woken = False  #: there is news

    def wake(self) -> None:
        """Say that there is news."""
        self.is_woken = True
        if self._waiter is not None:
            _end(self._waiter)

    async def wait(self, seconds: float) -> None:
        """Return when there is news, or after so many seconds."""
        if not self.is_woken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, _end, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        self.is_woken = False


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class OfOne(Listener):
    """Who listens to one task: what they were told of it says what is news."""

    __slots__ = ("only_progress",)

    def __init__(self) -> None:
        super().__init__()
        self.only_progress = True  #: all that has changed since `taken`

    def taken(self) -> bool:
        """Tell whether only progress has changed since this was asked last."""
        only, self.only_progress = self.only_progress, True
        return only


class News(NamedTuple):
    """What a listener to many tasks is told of one."""

    version: int
    key: ObjectKey
    uid: str  #: another may have its name by now, and be another's
    only_progress: bool = False
    gone: Record | None = None  #: it was deleted


class OfMany(Listener):
    """Who listens to all tasks that they may see and that fit a filter.

    Args:
        hub: Who tells.
        caller: Who listens.
        wanted: What tasks must be like, now or before the change.
        since: The version up to which they know everything.
    """

    __slots__ = ("_caller", "_hub", "_is_behind", "_pending", "_wanted", "since")

    def __init__(
        self, hub: "Hub", caller: callers.Caller, wanted: Filter, since: int | None
    ) -> None:
        super().__init__()
        self._hub = hub
        self._caller = caller
        self._wanted = wanted
        self._pending: dict[ObjectKey, News] = {}
        self._is_behind = since is not None
        self.since = hub.position if since is None else since

    @property
    def size(self) -> int:
        """Return of how many tasks there is news that was not taken yet."""
        return len(self._pending)

    def fits(self, record: Record, queue: str) -> bool:
        """Tell whether they listen to this task, which is in that queue."""
        return self._caller.may_see(record.owner) and self._wanted.matches(record, queue=queue)

    def offer(self, news: News) -> None:
        """Keep the last news of a task."""
        if self._is_behind:
            # What is behind anyway finds it in the cache, and tells of it once.
            self._pending.pop(news.key, None)
            return
        if news.version <= self.since:
            return
        before = self._pending.get(news.key)
        if before is not None:
            if before.version > news.version:
                return
            only = news.only_progress and before.only_progress and before.gone is None
            news = news._replace(only_progress=only)
        elif len(self._pending) >= MOST_PENDING:
            self._pending.clear()
            self._is_behind = True
            self.wake()
            return
        self._pending[news.key] = news
        self.wake()

    def take(self, most: int) -> list[News]:
        """Return the oldest news, no more than so many; after the last of them nothing is older.

        Of what the watch has not brought yet nothing is told: something older might come by it.
        """
        until = self._hub.position
        if self._is_behind and not self._pending:
            # Each time all tasks are looked at.
            caught = self._hub.since(self.since, self._fitted, most=MOST_PENDING)
            self._pending = {news.key: news for news in caught}
            if len(caught) < MOST_PENDING:
                self._is_behind = False
                # The watch brings this replica's own writes as well, but they are no news then.
                self._pending |= {news.key: news for news in self._hub.ahead(self._fitted)}
        ready = (news for news in self._pending.values() if news.version <= until)
        found = heapq.nsmallest(most, ready, key=lambda news: news.version)
        for news in found:
            del self._pending[news.key]
        if found:
            self.since = max(self.since, found[-1].version)
        if not self._pending and not self._is_behind:
            self.since = max(self.since, until)
        if self._pending and self.is_done:
            self._hub.hold(self)
        return found

    @property
    def is_done(self) -> bool:
        """Tell whether nothing can be taken for now."""
        return not self._is_behind and all(
            news.version > self._hub.position for news in self._pending.values()
        )

    @property
    def _fitted(self) -> Callable[[Record], bool]:
        """Tells of tasks as they are now whether they may have fitted since."""
        # What it was like while nobody looked is not known, but that it cannot have been.
        lasting = dataclasses.replace(self._wanted, phases=(), text=None, queue=None)
        return lambda record: (
            self._caller.may_see(record.owner) and lasting.matches(record, queue="")
        )


@dataclasses.dataclass
class _Gone:
    record: Record
    version: int | None = None  #: once the watch has told


class Hub:
    """Tells listeners of what the cache learns: it costs nothing where nobody listens.

    Args:
        resources: Where tasks are read.
        lines: Says which queue each is in.
        most: So many streams one caller may have open.
    """

    def __init__(self, resources: Resources, lines: Lines, *, most: int) -> None:
        self.position = 0  #: whatever happened up to this version is in the cache
        self.known_since = 0  #: all deletions after this version are remembered
        self.is_closing = False
        self._resources = resources
        self._lines = lines
        self._of_one: dict[ObjectKey, set[OfOne]] = {}
        self._of_many: dict[str | None, set[OfMany]] = {}  #: by owner; None: of all owners
        self._held: set[OfMany] = set()
        self._gone: collections.OrderedDict[str, _Gone] = collections.OrderedDict()
        self._open = Openings("streams", of_caller=most)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def pending(self) -> int:
        """Return how much news is kept of which somebody was not told yet."""
        return sum(each.size for many in self._of_many.values() for each in many)

    # --- who listens

    @contextlib.contextmanager
    def admitted(self, caller: callers.Caller) -> Iterator[None]:
        """Count a stream of the caller's.

        Raises:
            TooManyRequests: They have too many.
            Unavailable: This replica is about to end.
        """
        if self.is_closing:
            raise errors.Unavailable("This replica is about to end.")
        with self._open.one_more(caller):
            yield

    @contextlib.contextmanager
    def listening(self, key: ObjectKey) -> Iterator[OfOne]:
        """Wake a listener whenever this task changes."""
        listener, found = OfOne(), self._of_one.setdefault(key, set())
        found.add(listener)
        try:
            yield listener
        finally:
            found.discard(listener)
            if not found and self._of_one.get(key) is found:
                del self._of_one[key]

    @contextlib.contextmanager
    def listening_to_all(
        self, caller: callers.Caller, wanted: Filter, *, since: int | None
    ) -> Iterator[OfMany]:
        """Tell a listener of all tasks that fit, from a version on, or from now on."""
        listener = OfMany(self, caller, wanted, since)
        owner = None if caller.sees_all else caller.subject
        found = self._of_many.setdefault(owner, set())
        found.add(listener)
        try:
            yield listener
        finally:
            self._held.discard(listener)
            found.discard(listener)
            if not found and self._of_many.get(owner) is found:
                del self._of_many[owner]

    def close(self) -> None:
        """Let all streams end."""
        self.is_closing = True
        for ones in self._of_one.values():
            for one in ones:
                one.wake()
        for many in self._of_many.values():
            for each in many:
                each.wake()

    # --- what is heard

    def changed(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None) -> None:
        """Take note of a change in the cache."""
        if after is None:
            if before is not None:
                self._went(before)
            return
        key = key_of(after)
        ones = self._of_one.get(key, ())
        if not ones and not self._of_many:
            return
        only = before is not None and is_progress(before, after)
        for one in ones:
            one.only_progress = one.only_progress and only
            one.wake()
        if self._of_many:
            news = News(version_of(after), key, after.metadata.uid, only)
            self._offer(news, Record.of(after), before)

    def listed(self, version: int) -> None:
        """Take note that all up to this version is in the cache."""
        self.known_since = self.known_since or version
        for uid, gone in list(self._gone.items()):
            if gone.version is None:
                self._date(uid, version)
        self._move(version)

    def watched(self, version: int, gone: str | None) -> None:
        """Take note of how far the watch is, and whose deletion it told."""
        if gone is not None:
            self._date(gone, version)
        self._move(version)

    def hold(self, listener: OfMany) -> None:
        """Wake the listener when the watch has come further."""
        self._held.add(listener)

    # --- what is known

    def since(self, version: int, fits: Callable[[Record], bool], *, most: int) -> list[News]:
        """Return the news after a version, the oldest first, no more than so many."""
        catalogue, until = self._resources.catalogue, self.position
        changed = (
            News(found, key, catalogue[key].uid)
            for found, key in self._resources.changed_since(version)
            if found <= until and fits(catalogue[key])
        )
        deleted = (
            News(gone.version, gone.record.key, gone.record.uid, gone=gone.record)
            for gone in self._gone.values()
            if gone.version is not None and version < gone.version <= until and fits(gone.record)
        )
        return heapq.nsmallest(most, (*changed, *deleted), key=lambda news: news.version)

    def ahead(self, fits: Callable[[Record], bool]) -> Iterator[News]:
        """Yield what is in the cache and was not brought by the watch yet."""
        catalogue = self._resources.catalogue
        for version, key in self._resources.changed_since(self.position):
            if fits(catalogue[key]):
                yield News(version, key, catalogue[key].uid)

    # --- inside

    def _went(self, before: v1alpha1.LongTask) -> None:
        for one in self._of_one.get(key_of(before), ()):
            one.only_progress = False
            one.wake()
        self._gone[before.metadata.uid] = _Gone(Record.of(before))
        if len(self._gone) > _REMEMBERED_DELETIONS:
            _, oldest = self._gone.popitem(last=False)
            self.known_since = max(self.known_since, oldest.version or self.position)

    def _date(self, uid: str, version: int) -> None:
        """Tell of a deletion, as it is known when it was: before that others might be older."""
        gone = self._gone.get(uid)
        if gone is None or gone.version is not None:
            return
        gone.version = version
        if self._of_many:
            news = News(version, gone.record.key, uid, gone=gone.record)
            self._offer(news, gone.record, None)

    def _offer(self, news: News, record: Record, before: v1alpha1.LongTask | None) -> None:
        queue = self._lines.queue_of(record)
        earlier = None if before is None else Record.of(before)
        then = queue if earlier is None else self._lines.queue_of(earlier)
        for owner in {None, record.owner}:
            for listener in self._of_many.get(owner, ()):
                if listener.fits(record, queue) or (
                    earlier is not None and listener.fits(earlier, then)
                ):
                    listener.offer(news)

    def _move(self, version: int) -> None:
        self.position = max(self.position, version)
        held, self._held = self._held, set()
        for listener in held:
            listener.wake()


def is_progress(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> bool:
    """Tell whether the two differ in nothing but what the program says of itself."""
    return (
        before.metadata.uid == after.metadata.uid
        and before.metadata.labels == after.metadata.labels
        and before.metadata.annotations == after.metadata.annotations
        and before.spec == after.spec
        and _silent(before.status) == _silent(after.status)
    )


def _silent(status: v1alpha1.LongTaskStatus) -> v1alpha1.LongTaskStatus:
    return status.model_copy(update={"progress": None}) if not status.steps else status

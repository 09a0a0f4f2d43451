"""Streams of what becomes of tasks, as `text/event-stream` has it.

An id says how much is known, not what was sent: version and last event of a task, or the version up
to which all tasks are known. So any replica goes on from any id, from what is true by then, and
nothing has to be remembered of who heard what.
"""

import asyncio
import collections
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from pydantic import BaseModel

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import key_of, version_of
from longtask_api import errors, versions
from longtask_api.auth import callers
from longtask_api.hub import Hub, News, OfMany, OfOne
from longtask_api.services.tasks.showing import TaskService
from longtask_api.stores.catalogue import Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_client.shown import tasks as shown
from longtask_crds import events, v1alpha1
from longtask_crds.names import ObjectKey


@dataclasses.dataclass(frozen=True)
class Pace:
    """How often a stream does what nobody asks for, in seconds."""

    ping: float = 15.0  #: a comment goes out: proxies end what says nothing for a minute
    check: float = 30.0  #: so long somebody may still listen whose token is not valid any more
    place: float = 5.0  #: a place in the queue moves without a change of the task
    batch: float = 0.1  #: what comes within this is sent together


USUAL: Final = Pace()
#: Of more streams than this each is written to less often.
_STREAMS_OF_A_PACE = 500
#: So many tasks are told of at once.
_BATCH = 100
#: How long a client waits before it comes back.
RETRY: Final = b"retry: 2000\n"
PING: Final = b": ping\n"
#: So many tasks are kept as text: each is written once, however many listen.
_MOST_WRITTEN = 1000
#: … and for so long: its place in a queue, which is part of it, moves without a change of it.
_SAME_PLACE_SECONDS = 1.0

#: Raises Unauthenticated or Forbidden when they may not listen any more.
Check = Callable[[], Awaitable[None]]


_KNOWN = re.compile(r"([^.\s]{1,8})\.([0-9]{1,19})\.([0-9]{1,19})(\.end)?")


class Known(NamedTuple):
    """How much of a task is known to who listens."""

    uid: str = ""  #: the beginning of it: enough to tell one from another of its name
    version: int = 0
    sequence: int = 0  #: of the last event
    is_over: bool = False  #: all was told

    @classmethod
    def read(cls, text: str | None) -> "Known":
        """Return what an id says; without one nothing is known.

        Raises:
            Malformed: It is none of ours.
        """
        if not text:
            return cls()
        match = _KNOWN.fullmatch(text)
        if match is None:
            raise errors.Malformed("Last-Event-ID is none of this stream's.")
        return cls(match[1], int(match[2]), int(match[3]), bool(match[4]))

    def __str__(self) -> str:
        return f"{self.uid}.{self.version}.{self.sequence}{'.end' if self.is_over else ''}"


class StreamService:
    """Opens streams of one task, and of all that a caller may see."""

    def __init__(
        self,
        hub: Hub,
        resources: Resources,
        lines: Lines,
        tasks: TaskService,
        *,
        pace: Pace = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._resources = resources
        self._lines = lines
        self._tasks = tasks
        self._pace = pace
        self._clock = clock
        self._written: collections.OrderedDict[tuple[ObjectKey, bool], _Written]
        self._written = collections.OrderedDict()

    @contextlib.asynccontextmanager
    async def of_task(
        self, caller: callers.Caller, name: str, *, last_id: str | None, check: Check
    ) -> AsyncIterator[AsyncIterator[bytes] | None]:
        """Open the stream of a task: what has happened to it, where it stands, until its end.

        Args:
            caller: Who listens.
            name: The task's name.
            last_id: The last id that they know of this stream.
            check: Is asked from time to time whether they may still listen.

        Yields:
            None if they know all that there will ever be.

        Raises:
            Missing: There is no such task.
            Malformed: The id is none of ours.
            TooManyRequests: They listen to too much at once.
        """
        known = Known.read(last_id)
        key = self._resources.key(name)
        with self._hub.admitted(caller), self._hub.listening(key) as listener:
            task = await self._resources.seen_task(caller, name)
            if known.is_over and known.uid == _short(task):
                yield None
                return
            following = self._follow(key, task, listener, known, check)
            del task  # it is long, and would be held here for as long as the stream is open
            yield following

    @contextlib.asynccontextmanager
    async def of_all(
        self, caller: callers.Caller, wanted: Filter, *, last_id: str | None, check: Check
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the stream of all tasks that the caller may see and that fit, without an end.

        Args:
            caller: Who listens.
            wanted: What tasks must be like, before a change or after it.
            last_id: The last id that they know of such a stream; without one it begins now.
            check: Is asked from time to time whether they may still listen.

        Raises:
            Malformed: The id is none of ours.
            TooManyRequests: They listen to too much at once.
        """
        if last_id and not re.fullmatch(r"[0-9]{1,19}", last_id):
            raise errors.Malformed("Last-Event-ID is none of this stream's.")
        since = int(last_id) if last_id else None
        with (
            self._hub.admitted(caller),
            self._hub.listening_to_all(caller, wanted, since=since) as listener,
        ):
            # Who then looks at a task elsewhere sees no older state than this stream begins with.
            versions.note(kinds.TASKS.plural, listener.since)
            yield self._follow_all(listener, check)

    @property
    def _pause(self) -> float:
        """Return for how long what comes is gathered: the more streams, the longer."""
        return self._pace.batch * max(1.0, len(self._hub) / _STREAMS_OF_A_PACE)

    # --- one task

    async def _follow(
        self,
        key: ObjectKey,
        task: v1alpha1.LongTask | None,
        listener: OfOne,
        known: Known,
        check: Check,
    ) -> AsyncIterator[bytes]:
        uid, is_first, place = task.metadata.uid if task else "", True, None
        beat = Beat(self._clock, self._pace)
        while True:
            if task is None or task.metadata.uid != uid:
                gone = models.TaskGone(id=key.name, namespace=key.namespace)
                yield _frame("deleted", gone, known._replace(is_over=True))
                return
            only_progress = listener.taken() and not is_first
            chunk, known = self._news(task, known, only_progress=only_progress)
            # On a replica that is behind another the task may not be as it is known yet.
            if task.is_finished and version_of(task) >= known.version:
                over = known._replace(is_over=True)
                chunk += _frame("result", self._tasks.result_view(task), over)
                yield (RETRY if is_first else b"") + chunk
                return
            now = self._place_of(task)
            if now != place and not chunk and not is_first:
                chunk = _part("status", self._tasks.view(task)) + _id(known)
            place = now
            if is_first:
                chunk = RETRY + chunk
            if not chunk and beat.is_silent():
                chunk = PING + b"\n"
            is_first = False
            if chunk:
                beat.sent()
                yield chunk
                await asyncio.sleep(self._pause)
            # While nothing happens a stream holds nothing of its task.
            chunk, task = b"", None
            await listener.wait(beat.until_next(place is not None))
            if self._hub.is_closing or not await beat.may_go_on(check):
                return
            task = self._resources.cached_task(key)
            if task is None:
                # It may have been archived as soon as it was over.
                task = await self._archived(key)

    async def _archived(self, key: ObjectKey) -> v1alpha1.LongTask | None:
        try:
            return await self._resources.archive.find(key)
        except errors.DatabaseAway:
            return None

    def _news(
        self, task: v1alpha1.LongTask, known: Known, *, only_progress: bool
    ) -> tuple[bytes, Known]:
        """Return what is not known of the task, and what is known after that."""
        if known.uid != _short(task):
            known = Known(_short(task))
        version = version_of(task)
        if version <= known.version:
            return b"", known
        parts = []
        for event in events.of(task):
            if event.sequence > known.sequence:
                known = known._replace(sequence=event.sequence)
                parts.append(_frame("event", event, known))
        known = known._replace(version=version)
        parts.append(self._text(key_of(task), version, only_progress, task) + _id(known))
        return b"".join(parts), known

    def _place_of(self, task: v1alpha1.LongTask) -> int | None:
        self._lines.catch_up()
        place = self._lines.place(Record.of(task))
        return None if place is None else place.position

    # --- all of them

    async def _follow_all(self, listener: OfMany, check: Check) -> AsyncIterator[bytes]:
        chunk = RETRY + _id(listener.since)
        if listener.since < self._hub.known_since:
            message = "What was deleted meanwhile is not known here: list what you keep anew."
            chunk += _frame("reset", models.StreamReset(message=message), listener.since)
        beat = Beat(self._clock, self._pace)
        while True:
            chunk += b"".join(map(self.told, listener.take(_BATCH)))
            if not chunk and beat.is_silent():
                chunk = PING + _id(listener.since)
            if chunk:
                beat.sent()
                yield chunk
                await asyncio.sleep(self._pause)
                chunk = b""
            if listener.is_done:
                await listener.wait(beat.until_next(False))
            if self._hub.is_closing or not await beat.may_go_on(check):
                return

    def told(self, news: News) -> bytes:
        """Return the event that tells of it; of what is gone by now that is told later."""
        if news.gone is not None:
            gone = models.TaskGone(id=news.key.name, namespace=news.key.namespace)
            return _frame("deleted", gone, news.version)
        task = self._resources.cached_task(news.key)
        if task is None or task.metadata.uid != news.uid:
            return b""
        return self._text(news.key, news.version, news.only_progress, task) + _id(news.version)

    # --- as text

    def _text(
        self,
        key: ObjectKey,
        version: int,
        only_progress: bool,
        task: v1alpha1.LongTask,
    ) -> bytes:
        """Return the task as everybody is shown it, written once for all who listen.

        Args:
            key: Which one.
            version: As it is at this version.
            only_progress: Nothing else has changed.
            task: The same.
        """
        now, known = self._clock(), self._written.get((key, only_progress))
        if known is not None and known.version == version and now - known.at < _SAME_PLACE_SECONDS:
            return known.text
        text = _progress(task) if only_progress else _part("status", self._tasks.view(task))
        self._written[key, only_progress] = _Written(version_of(task), now, text)
        self._written.move_to_end((key, only_progress))
        # What is older is of no use any more, and would be held until something happens again.
        while len(self._written) > _MOST_WRITTEN or self._oldest() <= now - _SAME_PLACE_SECONDS:
            self._written.popitem(last=False)
        return text

    def _oldest(self) -> float:
        return next(iter(self._written.values())).at


class _Written(NamedTuple):
    version: int
    at: float
    text: bytes


class Beat:
    """When a stream has something to do though nothing happens."""

    def __init__(self, clock: Callable[[], float], pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._sent_at = self._checked_at = clock()

    def sent(self) -> None:
        """Take note that something is sent now."""
        self._sent_at = self._clock()

    def is_silent(self) -> bool:
        """Tell whether a ping is due."""
        return self._clock() - self._sent_at >= self._pace.ping

    def until_next(self, waits: bool) -> float:
        """Return for how many seconds there is nothing to do."""
        due = min(self._sent_at + self._pace.ping, self._checked_at + self._pace.check)
        left = max(0.0, due - self._clock())
        return min(left, self._pace.place) if waits else left

    async def may_go_on(self, check: Check) -> bool:
        """Tell whether who listens may still do so, as far as it is time to ask."""
        if self._clock() - self._checked_at < self._pace.check:
            return True
        self._checked_at = self._clock()
        try:
            await check()
        except (errors.Unauthenticated, errors.Forbidden):
            return False
        except (errors.Unavailable, errors.TooManyRequests, kube.ClusterError):
            pass  # who knows the token is away: that ends nothing, and it is asked again
        return True


def _short(task: v1alpha1.LongTask) -> str:
    return task.metadata.uid[:8]


def _progress(task: v1alpha1.LongTask) -> bytes:
    progress = task.status.progress or v1alpha1.Progress()
    told = models.TaskProgress(
        id=task.metadata.name,
        namespace=task.metadata.namespace,
        phase=task.phase,
        percent=shown.percent_of(task),
        message=progress.message,
        updated_at=progress.updated_at,
        event=events.progress(task),
    )
    return _part("progress", told)


def _part(name: str, data: BaseModel) -> bytes:
    """Return an event of a stream without its id; JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {data.model_dump_json(by_alias=True)}\n".encode()


def _id(known: object) -> bytes:
    """Return the end of an event: what is known by it."""
    return f"id: {known}\n\n".encode()


def _frame(name: str, data: BaseModel, known: object) -> bytes:
    return _part(name, data) + _id(known)

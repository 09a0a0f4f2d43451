"""Keeps the end of each attempt's log before its pod goes, some ten minutes after its end.

An attempt's end is told by the cache; what ended while no replica ran is found when the cache is
filled. Whatever is kept already is not read again.
"""

import asyncio
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.cluster import Cluster, LogPart
from longtask_api.metrics import Metrics
from longtask_api.stores.log_tails import LIMIT, LogTails, Tail
from longtask_api.workers.under_way import UnderWay
from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import runs

_logger = logging.getLogger(__name__)

#: How many logs are read at once.
_AT_ONCE: Final = 4
#: Pods go ten minutes after their Jobs are released; an attempt that ended before has none.
_LONGEST: Final = timedelta(hours=1)
#: Where Kubernetes or the database is away, a log is tried again for as long as its pod may be
#: there: these are seconds, the last one repeated.
_PAUSES: Final = (1, 2, 5, 15, 30, 60, 60, 120, 120, 240, 240, 240)
#: How long the end is waited for of a container whose program said how it ends: it is stopped a
#: minute and a half after that at the latest.
_UNTIL_IT_ENDS: Final = (1, 1, 1, 2, 5, 10, 10, 30, 60)
#: What said so longer ago is not waited for: of all that is told of at a start it is most.
_MAY_RUN: Final = timedelta(minutes=2)
#: Kubernetes counts the end of a log in lines, and what it sends in bytes from the first of those.
#: So many lines fill what is kept unless they are shorter than 16 bytes, …
_LINES: Final = 4_096
_MOST_BYTES: Final = 2**20
#: … and where they are too long for that many, these do: of 16 KiB at most each.
_LONG_LINES: Final = LIMIT // (_MOST_BYTES // _LINES) + 1
_MOST_BYTES_OF_LONG: Final = _LONG_LINES * 17 * 2**10


class Ended(NamedTuple):
    """An attempt that has ended, and whose pod is on record."""

    pod: names.ObjectKey
    task: str  #: its name
    task_uid: str
    run: str
    number: int
    is_reported: bool  #: its program just said how it ends, and may write on until it does


def ended(task: v1alpha1.LongTask, *, since: datetime) -> Iterator[Ended]:
    """Yield the attempts that ended after a moment and had a pod."""
    for attempt in task.status.attempts or ():
        if attempt.finished_at and attempt.finished_at >= since:
            is_reported = _may_run(attempt.reported_at, since)
            yield from _ended(task, "", attempt.pod_name, attempt.number, is_reported)
    for name, run in runs.statuses(task.status):
        if run.finished_at and run.finished_at >= since:
            is_reported = _may_run(run.reported_at, since)
            yield from _ended(task, name, run.pod_name, run.attempt, is_reported)


def replaced(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> Iterator[Ended]:
    """Yield the attempts of a pipeline's programs that went on, and are not there any more.

    A status holds the last one only, and the end of one may be written with the next; of many items
    that are done it holds none.
    """
    if before.metadata.uid != after.metadata.uid:
        return
    now = {name: run.attempt for name, run in runs.statuses(after.status)}
    for name, run in runs.statuses(before.status):
        if run.finished_at is None and run.attempt != now.get(name):
            # How it ended was not seen: it may be that its program said so.
            yield from _ended(before, name, run.pod_name, run.attempt, True)


def _may_run(reported_at: datetime | None, since: datetime) -> bool:
    return reported_at is not None and reported_at > since + _LONGEST - _MAY_RUN


def _ended(
    task: v1alpha1.LongTask, run: str, pod: str | None, number: int | None, is_reported: bool
) -> Iterator[Ended]:
    if pod and number:
        key, meta = key_of(task).sibling(pod), task.metadata
        yield Ended(key, meta.name, meta.uid, run, number, is_reported)


class Recorder:
    """Reads the end of each log once, a few at a time."""

    def __init__(
        self,
        cluster: Cluster,
        tails: LogTails,
        counted: Metrics,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        several: bool = False,
    ) -> None:
        """Read by the cluster and keep in the tails.

        Args:
            cluster: Where the logs are.
            tails: Where their ends are kept.
            counted: What is counted.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
            several: Other replicas do the same: give each other a moment, so that one is first.
        """
        self._cluster = cluster
        self._tails = tails
        self._metrics = counted
        self._clock = clock
        self._sleep = sleep
        self._several = several
        self._told: asyncio.Queue[Ended] = asyncio.Queue()
        self._under_way = UnderWay()
        self._locks: weakref.WeakValueDictionary[Ended, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    def notice(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None) -> None:
        """Take note of a task that has changed."""
        if after is None:
            return
        since = self._clock() - _LONGEST
        known = set(ended(before, since=since)) if before is not None else set()
        gone = replaced(before, after) if before is not None else ()
        for attempt in dict.fromkeys((*gone, *ended(after, since=since))):
            if attempt not in known:
                self._told.put_nowait(attempt)

    async def run(self) -> None:
        """Record what is told of, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._work(group))
        finally:
            await self._under_way.settle()

    async def record_all(self, task: v1alpha1.LongTask) -> None:
        """Record now what is not recorded yet of a task whose Jobs are released: its pods may go.

        Raises:
            ClusterError: A log cannot be read for now.
            DatabaseAway: It cannot be kept for now.
        """
        for attempt in ended(task, since=self._clock() - _LONGEST):
            await self.record(attempt)

    async def record(self, attempt: Ended) -> None:
        """Record the end of one log, unless it is recorded; it is read once, whoever asks.

        Raises:
            ClusterError: It cannot be read for now.
            DatabaseAway: It cannot be kept for now.
        """
        attempt = attempt._replace(is_reported=False)  # the same log, waited for or not
        await asyncio.shield(self._under_way.begin(self._record(attempt)))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            attempt = await self._told.get()
            if attempt.is_reported:
                # It is not waited for in line, where others have ended.
                group.create_task(self._tell_when_ended(attempt))
                continue
            if self._several:
                await self._sleep(random.random())
            await self._record_in_time(attempt)

    async def _tell_when_ended(self, attempt: Ended) -> None:
        await self._sleep(_UNTIL_IT_ENDS[0])
        await self._see_its_end(attempt)
        self._told.put_nowait(attempt._replace(is_reported=False))

    async def _see_its_end(self, attempt: Ended) -> None:
        """Wait until the container of an attempt has ended, or should have long ago."""
        for pause in _UNTIL_IT_ENDS:
            try:
                if await self._cluster.has_ended(attempt.pod, container=names.RUNNER_CONTAINER):
                    return
            except kube.ClusterError as error:
                told = {"pod": str(attempt.pod), "cause": str(error)}
                _logger.info("Could not look whether a container has ended", extra=told)
            await self._sleep(pause)

    async def _record_in_time(self, attempt: Ended) -> None:
        """Record a log; try again for as long as it may be there."""
        told = {
            "task": str(attempt.pod.sibling(attempt.task)),
            "uid": attempt.task_uid,
            "pod": str(attempt.pod),
            "attempt": attempt.number,
        }
        for pause in _PAUSES:
            try:
                await self.record(attempt)
            except (kube.Unavailable, kube.TooManyRequests, errors.DatabaseAway) as error:
                _logger.info("Could not keep a log yet", extra=told | {"cause": str(error)})
                await self._sleep(pause * random.uniform(0.5, 1.0))
            except Exception:
                self._metrics.logs.labels("failed").inc()
                _logger.exception("Could not keep a log", extra=told)
                return
            else:
                return
        self._metrics.logs.labels("failed").inc()
        _logger.warning("Gave a log up", extra=told)

    async def _record(self, attempt: Ended) -> None:
        lock = self._locks.setdefault(attempt, asyncio.Lock())
        async with lock:
            if await self._tails.holds(attempt.task_uid, attempt.number, run=attempt.run):
                return
            try:
                log = await self._read(attempt.pod)
            except (kube.NotFound, kube.Rejected):
                # Its pod is gone, or its container never ran.
                self._metrics.logs.labels("absent").inc()
                return
            await self._tails.put(attempt.task_uid, attempt.number, log, run=attempt.run)
        self._metrics.logs.labels("kept").inc()

    async def _read(self, pod: names.ObjectKey) -> bytes:
        log, is_whole = await self._read_lines(pod, _LINES, _MOST_BYTES)
        if not is_whole:
            # What came is the beginning of those lines: not what is wanted.
            log, _ = await self._read_lines(pod, _LONG_LINES, _MOST_BYTES_OF_LONG)
        return log

    async def _read_lines(self, pod: names.ObjectKey, lines: int, limit: int) -> tuple[bytes, bool]:
        """Return the end of the last lines, and whether they came all."""
        tail, size = Tail(), 0
        part = LogPart(tail=lines, timestamps=True, limit=limit)
        async with self._cluster.pod_log(
            pod, container=names.RUNNER_CONTAINER, part=part
        ) as chunks:
            async for chunk in chunks:
                tail.feed(chunk)
                size += len(chunk)
        return tail.close(), size < limit

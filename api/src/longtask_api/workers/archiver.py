"""Ends the life of a task's resource when its time is over: archived first, then deleted.

When that is follows from the resource, so changes of it are all that has to be told; the next due
times stand in a heap. Several replicas may act on the same task: the archive's row is the task's
own, and the deletion holds for the state that was archived and no other.
"""

import asyncio
import contextlib
import dataclasses
import heapq
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.cluster import Cluster
from longtask_api.metrics import Metrics
from longtask_api.stores.catalogue import Record
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_api.workers.recorder import Recorder
from longtask_api.workers.under_way import UnderWay
from longtask_crds import delivery, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.pipeline import runs

_logger = logging.getLogger(__name__)

#: A callback that was given up can be sent again for so long, whatever the task's TTL says: the
#: tries alone last longer than a task that succeeded stays.
_SENT_AGAIN_WITHIN: Final = timedelta(days=7)
#: How many tasks are on their way at once: a row and two or three requests each.
_AT_ONCE: Final = 8
#: Where something stands in one task's way, it is looked at again after so many seconds: doubled
#: each time, up to the second.
_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
#: The same for all tasks while the archive does not answer.
_SHORTEST_ABSENCE, _LONGEST_ABSENCE = 1.0, 60.0
#: Clocks are set now and then, so nobody sleeps for longer than so many seconds on end.
_LONGEST_SLEEP: Final = 60.0


@dataclasses.dataclass(frozen=True)
class Stay:
    """How long tasks stay after their end if they do not say."""

    usual: timedelta
    failed: timedelta


class NotReleased(Exception):
    """The operator still has work with the task's Job."""


def due_at(task: v1alpha1.LongTask, stay: Stay) -> datetime | None:
    """Return when the task's resource goes; None as long as something has to happen first."""
    if (
        not task.is_finished
        or task.status.finished_at is None
        or task.metadata.deletion_timestamp is not None
        or delivery.is_open(task)
    ):
        return None
    asked = task.spec.ttl_seconds_after_finished
    failed = task.phase is v1alpha1.Phase.FAILED
    usual = stay.failed if failed else stay.usual
    due = task.status.finished_at + (usual if asked is None else timedelta(seconds=asked))
    given_up = _given_up_at(task)
    return due if given_up is None else max(due, given_up + _SENT_AGAIN_WITHIN)


def _given_up_at(task: v1alpha1.LongTask) -> datetime | None:
    """Return when the callback was tried for the last time, if nobody took it."""
    entry = task.status.callback
    if entry is None or entry.state is not v1alpha1.CallbackState.EXHAUSTED:
        return None
    return entry.deliveries[-1].at if entry.deliveries else task.status.finished_at


class Archiver:
    """Archives and deletes each task when it is due."""

    def __init__(
        self,
        resources: Resources,
        lines: Lines,
        cluster: Cluster,
        recorder: Recorder,
        counted: Metrics,
        *,
        stay: Stay,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Work on the resources; `notice` has to be told of each change.

        Args:
            resources: The tasks, and their archive.
            lines: Which queues they came through.
            cluster: Where their Jobs are.
            recorder: Keeps the logs that are not kept yet.
            counted: What is counted.
            stay: How long tasks stay that do not say.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
        """
        self._resources = resources
        self._lines = lines
        self._cluster = cluster
        self._recorder = recorder
        self._metrics = counted
        self._stay = stay
        self._clock = clock
        self._sleep = sleep
        self._due: dict[ObjectKey, datetime] = {}  #: when each is looked at
        self._heap: list[tuple[datetime, ObjectKey]] = []  #: the same; what was changed is skipped
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._under_way = UnderWay()
        self._pauses: dict[ObjectKey, float] = {}  #: of those that something stands in the way of
        self._absence = 0.0  #: seconds until the archive is asked again; 0 while it answers

    @property
    def trouble(self) -> str | None:
        """What keeps tasks from going, or None."""
        if not self._absence:
            return None
        return "the archive does not answer: no task is deleted"

    def overdue(self) -> int:
        """Return how many tasks should be gone."""
        now = self._clock()
        return sum(due <= now for due in self._due.values())

    def notice(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None) -> None:
        """Take note of a task that has changed."""
        if after is not None:
            self._plan(key_of(after), due_at(after, self._stay))
        elif before is not None:
            self._plan(key_of(before), None)

    async def run(self) -> None:
        """Archive and delete what is due, for ever."""
        try:
            while True:
                key = await self._next()
                await self._places.acquire()
                if not self._absence:
                    self._under_way.begin(self._finish(key))
                    continue
                # One task asks for all.
                await self._sleep(self._absence * random.uniform(0.5, 1.0))
                await asyncio.shield(self._under_way.begin(self._finish(key)))
                self._absence = min(self._absence * 2, _LONGEST_ABSENCE)
        finally:
            await self._under_way.settle()

    def _plan(self, key: ObjectKey, due: datetime | None) -> None:
        """Look at the task then, and at no other time."""
        if due is None:
            self._due.pop(key, None)
            self._pauses.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    async def _next(self) -> ObjectKey:
        """Return the next task once it is due."""
        while True:
            self._changed.clear()
            seconds = _LONGEST_SLEEP
            while self._heap:
                due, key = self._heap[0]
                if self._due.get(key) == due:
                    seconds = (due - self._clock()).total_seconds()
                    if seconds > 0:
                        break
                    del self._due[key]
                heapq.heappop(self._heap)
                if seconds <= 0:
                    return key
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, _LONGEST_SLEEP)):
                    await self._changed.wait()

    async def _finish(self, key: ObjectKey) -> None:
        """Archive and delete a task; if that cannot be, plan another look."""
        try:
            await self._archive(key)
        except errors.DatabaseAway as error:
            self._miss_archive(error)
            self._plan(key, self._clock())
        except (NotReleased, kube.ClusterError) as error:
            # Or it has changed meanwhile, and is archived as it is now.
            told = self._told(key) | {"cause": str(error)}
            _logger.info("Put off the end of a task", extra=told)
            self._look_again(key)
        except Exception:
            _logger.exception("Could not archive a task", extra=self._told(key))
            self._look_again(key)
        finally:
            self._places.release()

    async def _archive(self, key: ObjectKey) -> None:
        task = await self._resources.look(key)
        if task is None:
            return
        due = due_at(task, self._stay)
        if due is None or due > self._clock():
            self._plan(key, due)
            return
        for run in runs.of(task):
            job = key.sibling(run.last.job_name)
            if not await self._cluster.is_released(job, owner=task.metadata.uid):
                raise NotReleased("the operator still has work with its Job")
        await self._recorder.record_all(task)
        queue = self._lines.queue_of(Record.of(task))
        await self._resources.archive.put(task, queue=queue, at=self._clock())
        self._meet_archive()
        with contextlib.suppress(kube.NotFound):  # another replica was faster
            await self._resources.retire_task(task, version=task.metadata.resource_version)
        self._pauses.pop(key, None)
        self._metrics.archived.inc()
        _logger.info("Archived task", extra=logs.of_task(task))

    def _told(self, key: ObjectKey) -> dict[str, object]:
        task = self._resources.cached_task(key)
        return {"task": str(key)} if task is None else logs.of_task(task)

    def _look_again(self, key: ObjectKey) -> None:
        """Look at one task again, later each time."""
        pause = self._pauses.get(key, _PAUSE)
        self._pauses[key] = min(pause * 2, _LONGEST_PAUSE)
        self._plan(key, self._clock() + timedelta(seconds=pause))

    def _miss_archive(self, error: Exception) -> None:
        if not self._absence:
            _logger.error("The archive is away: no task is deleted", extra={"cause": str(error)})
            self._absence = _SHORTEST_ABSENCE

    def _meet_archive(self) -> None:
        if self._absence:
            self._absence = 0.0
            _logger.info("The archive answers again")

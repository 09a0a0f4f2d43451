"""Writes what programs say of themselves: the latest word only, and seldom enough."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors, metrics
from longtask_api.stores.resources import Resources
from longtask_crds import json_values, runner_contract, v1alpha1

_logger = logging.getLogger(__name__)

TASK_PAUSE = 2.0  #: seconds between two writes for one task
REPLICA_PAUSE = 0.02  #: seconds between two writes for any, while nobody waits too long for that
HEARTBEAT_PAUSE = 20.0  #: seconds between two writes of which the second says nothing new
#: For how long the last report of a program is answered with nothing; it waits for five seconds.
FINAL_PATIENCE = 4.0


@dataclasses.dataclass
class _Book:
    """What an attempt said last; `said` is merged until it is stored, and None once it is."""

    task: v1alpha1.LongTask  #: as it was when the attempt was first heard
    said: dict[str, Any] | None = None
    writer: asyncio.Task[None] | None = None
    settled: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class ProgressWriter:
    """Keeps the latest report of each task and writes it at most every two seconds.

    The first report is written at once. One that says nothing new is a sign of life only: it is
    written so often that nobody takes the program for silent. Only `status.progress` is touched,
    without a resourceVersion, so that it neither waits for the operator's writes nor is refused for
    them.
    """

    def __init__(
        self,
        resources: Resources,
        counted: metrics.Metrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._resources = resources
        self._metrics = counted
        self._clock = clock
        self._sleep = sleep
        self._books: dict[str, _Book] = {}  #: by the task's uid
        self._free_at = 0.0

    def report(self, task: v1alpha1.LongTask, said: dict[str, Any]) -> None:
        """Take one report of the task's attempt.

        Args:
            task: The task as it is now.
            said: `percent`, `message` and `checkpoint`, each only if it was given.
        """
        self._metrics.reports.inc()
        book = self._books.get(task.metadata.uid) or _Book(task)
        if book.task.status.attempt != task.status.attempt:
            # What an earlier attempt said is not this one's word.
            book.task, book.said = task, None
        book.said = merged(book.said or {}, said)
        book.settled.clear()
        if book.writer is None and self._news(book) is not None:
            self._books[task.metadata.uid] = book
            book.writer = asyncio.create_task(self._write(book))

    async def settle(self, task: v1alpha1.LongTask) -> None:
        """Wait until what the task said is stored, or does not matter any more.

        Raises:
            Unavailable: It is not stored in time, but may be yet.
        """
        if (book := self._books.get(task.metadata.uid)) is None:
            return
        try:
            async with asyncio.timeout(FINAL_PATIENCE):
                await book.settled.wait()
        except TimeoutError:
            raise errors.Unavailable("The report is taken, and not stored yet.") from None

    async def close(self) -> None:
        """Write what is left, and stop."""
        left = list(self._books.values())
        writers = [book.writer for book in left if book.writer is not None]
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for book in left:
            await self._flush(book)

    async def _write(self, book: _Book) -> None:
        try:
            while self._news(book) is not None:
                await self._turn(book)
                await self._flush(book)
                await self._sleep(TASK_PAUSE)
        finally:
            self._books.pop(book.task.metadata.uid, None)
            book.settled.set()

    async def _turn(self, book: _Book) -> None:
        """Wait until this replica may write again, but not so long that the task seems silent."""
        now = time.monotonic()
        at = min(max(now, self._free_at), now + self._heartbeat(book.task))
        self._free_at = max(self._free_at, at + REPLICA_PAUSE)
        if at > now:
            await self._sleep(at - now)

    async def _flush(self, book: _Book) -> None:
        progress, task = self._news(book), book.task
        said, book.said = book.said, None
        if progress is None or said is None:
            return
        try:
            await self._resources.write_progress(task, progress)
        except (kube.Unavailable, kube.TooManyRequests, kube.Conflict):
            self._metrics.patches.labels("retried").inc()
            if book.task is task:
                book.said = merged(said, book.said or {})
            return
        except kube.ClusterError as error:
            # Deleted, finished, or another attempt by now: what it said no longer matters.
            self._metrics.patches.labels("dropped").inc()
            told = {"task": str(key_of(task)), "cause": str(error)}
            _logger.info("Dropped progress", extra=told)
        else:
            self._metrics.patches.labels("written").inc()
        if book.said is None:
            book.settled.set()

    def _news(self, book: _Book) -> dict[str, Any] | None:
        """Return the progress to store, or None if nothing of it would be news to anybody."""
        now = self._resources.cached_task(key_of(book.task))
        if book.said is None or now is None or not _is_same_attempt(now, book.task):
            return None
        known = now.status.progress or v1alpha1.Progress()
        before = known.to_json()
        before.pop("updatedAt", None)
        after = merged(before, book.said)
        if after.get("checkpoint") is None:
            after.pop("checkpoint", None)
        at = self._clock().astimezone(UTC)
        if json_values.same(before, after) and known.updated_at is not None:
            pause = min(HEARTBEAT_PAUSE, self._heartbeat(now))
            if (at - known.updated_at).total_seconds() < pause:
                return None
        return after | {"updatedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _heartbeat(self, task: v1alpha1.LongTask) -> float:
        """Return how often the task has to be seen alive: thrice before its silence counts."""
        limit = self._resources.limits_of(task).heartbeat
        return runner_contract.HEARTBEAT_SECONDS if limit is None else limit / 3


def merged(before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return what is known after a report: within an attempt, a percentage does not fall."""
    after = before | said
    if "percent" in before:
        after["percent"] = max(before["percent"], after["percent"])
    return after


def _is_same_attempt(now: v1alpha1.LongTask, then: v1alpha1.LongTask) -> bool:
    return (
        now.metadata.uid == then.metadata.uid
        and now.status.attempt == then.status.attempt
        and not now.is_finished
    )

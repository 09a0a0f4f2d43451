"""Writes what programs say of themselves: the latest word only, and seldom enough."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors, metrics
from longtask_api.stores.resources import Resources, program
from longtask_crds import json_values, names, runner_contract, v1alpha1
from longtask_crds.pipeline import runs

_logger = logging.getLogger(__name__)

TASK_PAUSE = 2.0  #: seconds between two writes for one task
REPLICA_PAUSE = 0.02  #: seconds between two writes for any, while nobody waits too long for that
HEARTBEAT_PAUSE = 20.0  #: seconds between two writes of which the second says nothing new
#: For how long the last report of a program is answered with nothing; it waits for five seconds.
FINAL_PATIENCE = 4.0


@dataclasses.dataclass
class _Book:
    """What an attempt said last; `said` is merged until it is stored, and None once it is."""

    first: v1alpha1.LongTask  #: the program's task as it was when the attempt was first heard
    said: dict[str, Any] | None = None
    settled: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


@dataclasses.dataclass
class _Shelf:
    """What the programs of one task said last, by their names; a plain task has one, without."""

    task: names.ObjectKey
    books: dict[str, _Book] = dataclasses.field(default_factory=dict)
    writer: asyncio.Task[None] | None = None


class ProgressWriter:
    """Keeps the latest report of each program and writes those of a task at most every two seconds.

    The first report is written at once. One that says nothing new is a sign of life only: it is
    written so often that nobody takes the program for silent. Only `progress` is touched, that of
    the task and those of its steps, without a resourceVersion, so that it neither waits for the
    operator's writes nor is refused for them. What the programs of a pipeline say goes in one
    write: there may be a hundred of them.
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
        self._shelves: dict[str, _Shelf] = {}  #: by the task's uid
        self._free_at = 0.0

    def report(self, task: v1alpha1.LongTask, said: dict[str, Any], *, run: str = "") -> None:
        """Take one report of an attempt.

        Args:
            task: The task as it is now.
            said: `percent`, `message` and `checkpoint`, each only if it was given.
            run: The name of the program; empty for that of a plain task.

        Raises:
            TooLarge: The resource has no place for a checkpoint more.
        """
        self._metrics.reports.inc()
        seen = program(task, run)
        shelf = self._shelves.get(task.metadata.uid) or _Shelf(key_of(task))
        if run and said.get("checkpoint") is not None:
            _check_checkpoints(task, shelf, run, said["checkpoint"])
        book = shelf.books.setdefault(run, _Book(seen))
        if book.first.status.attempt != seen.status.attempt:
            # What an earlier attempt said is not this one's word.
            book.first, book.said = seen, None
        book.said = merged(book.said or {}, _brief(said) if run else said)
        book.settled.clear()
        if shelf.writer is None and self._news(shelf):
            self._shelves[task.metadata.uid] = shelf
            shelf.writer = asyncio.create_task(self._write(task.metadata.uid, shelf))

    async def settle(self, task: v1alpha1.LongTask, *, run: str = "") -> None:
        """Wait until what a program said is stored, or does not matter any more.

        Raises:
            Unavailable: It is not stored in time, but may be yet.
        """
        shelf = self._shelves.get(task.metadata.uid)
        if shelf is None or (book := shelf.books.get(run)) is None:
            return
        try:
            async with asyncio.timeout(FINAL_PATIENCE):
                await book.settled.wait()
        except TimeoutError:
            raise errors.Unavailable("The report is taken, and not stored yet.") from None

    async def close(self) -> None:
        """Write what is left, and stop."""
        left = list(self._shelves.values())
        writers = [shelf.writer for shelf in left if shelf.writer is not None]
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for shelf in left:
            await self._flush(shelf)

    async def _write(self, uid: str, shelf: _Shelf) -> None:
        try:
            while self._news(shelf):
                await self._turn(shelf)
                await self._flush(shelf)
                await self._sleep(TASK_PAUSE)
        finally:
            self._shelves.pop(uid, None)
            for book in shelf.books.values():
                book.settled.set()

    async def _turn(self, shelf: _Shelf) -> None:
        """Wait until this replica may write again, but not so long that a program seems silent."""
        now = time.monotonic()
        longest = min(self._heartbeat(book.first) for book in shelf.books.values())
        at = min(max(now, self._free_at), now + longest)
        self._free_at = max(self._free_at, at + REPLICA_PAUSE)
        if at > now:
            await self._sleep(at - now)

    async def _flush(self, shelf: _Shelf) -> None:
        news = self._news(shelf)
        taken = [
            (book, book.first, book.said) for book in shelf.books.values() if book.said is not None
        ]
        for book in shelf.books.values():
            book.said = None
        if not news:
            return
        try:
            await self._store(shelf.task, news)
        except (kube.Unavailable, kube.TooManyRequests, kube.Conflict):
            self._metrics.patches.labels("retried").inc()
            for book, first, said in taken:
                if book.first is first:
                    book.said = merged(said, book.said or {})
            return
        except kube.ClusterError as error:
            # Deleted, finished, or another attempt by now: what it said no longer matters.
            self._metrics.patches.labels("dropped").inc()
            task = self._resources.cached_task(shelf.task)
            told = {"task": str(shelf.task)} if task is None else logs.of_task(task)
            _logger.info("Dropped progress", extra=told | {"cause": str(error)})
        else:
            self._metrics.patches.labels("written").inc()
        for book in shelf.books.values():
            if book.said is None:
                book.settled.set()

    async def _store(self, key: names.ObjectKey, news: dict[str, dict[str, Any]]) -> None:
        """Write what is news: all of it, or nothing."""
        now = self._resources.cached_task(key)
        assert now is not None, "there is no news of what is gone"
        if "" in news:
            await self._resources.write_progress(now, news[""])
        else:
            await self._resources.write_progress_of_steps(now, news)

    def _news(self, shelf: _Shelf) -> dict[str, dict[str, Any]]:
        """Return the progress to store, by program, of those whose would be news to anybody."""
        now = self._resources.cached_task(shelf.task)
        found = {}
        for run, book in shelf.books.items():
            # Another task of that name may have no such step.
            if now is None or now.metadata.uid != book.first.metadata.uid:
                continue
            progress = self._news_of(program(now, run), book)
            if progress is not None:
                found[run] = progress
        return found

    def _news_of(self, now: v1alpha1.LongTask, book: _Book) -> dict[str, Any] | None:
        if book.said is None or not _is_same_attempt(now, book.first):
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
        """Return how often the program has to be seen alive: thrice before its silence counts."""
        limit = self._resources.limits_of(task).heartbeat
        return runner_contract.HEARTBEAT_SECONDS if limit is None else limit / 3


def _check_checkpoints(
    task: v1alpha1.LongTask, shelf: _Shelf, run: str, checkpoint: object
) -> None:
    """Let the checkpoints of a pipeline's programs fit into its resource together."""
    kept = {
        one.name: one.progress.checkpoint
        for one in runs.of(task)
        if one.progress is not None and one.progress.checkpoint is not None
    }
    for name, book in shelf.books.items():
        if "checkpoint" in (book.said or {}):
            kept[name] = (book.said or {})["checkpoint"]
    size = sum(map(json_values.size, (kept | {run: checkpoint}).values()))
    if size > runner_contract.CHECKPOINTS_LIMIT:
        limit = runner_contract.CHECKPOINTS_LIMIT
        raise errors.TooLarge(
            f"The checkpoints of all steps have {size} bytes of JSON; they may have {limit}."
        )


def _brief(said: dict[str, Any]) -> dict[str, Any]:
    """Return a report with a message that a pipeline's resource has room for, 250 times."""
    message = said.get("message")
    return said if message is None else said | {"message": message[: names.BRIEF_MAX]}


def merged(before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return what is known after a report: within an attempt, a percentage does not fall."""
    after = before | said
    if "percent" in before:
        after["percent"] = max(before["percent"], after["percent"])
    return after


def _is_same_attempt(now: v1alpha1.LongTask, then: v1alpha1.LongTask) -> bool:
    return now.status.attempt == then.status.attempt and not now.is_finished

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
from longtask_api import metrics
from longtask_api.stores.resources import Resources
from longtask_crds import v1alpha1

_logger = logging.getLogger(__name__)

TASK_PAUSE = 2.0  #: seconds between two writes for one task
REPLICA_PAUSE = 0.02  #: seconds between two writes for any


@dataclasses.dataclass
class _Book:
    """What one task said last; `unwritten` is merged until it is stored."""

    task: v1alpha1.LongTask  #: as it was seen at first
    unwritten: dict[str, Any]
    writer: asyncio.Task[None] | None = None


class ProgressWriter:
    """Keeps the latest report of each task and writes it at most every two seconds.

    The first report is written at once. Only `status.progress` is touched, without a
    resourceVersion, so that it neither waits for the operator's writes nor is refused for them.
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
        """Take one report: `percent` and `message`, each only if it was given."""
        self._metrics.reports.inc()
        book = self._books.setdefault(task.metadata.uid, _Book(task, {}))
        book.unwritten.update(said)
        if book.writer is None:
            book.writer = asyncio.create_task(self._write(book))

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
            while book.unwritten:
                await self._turn()
                await self._flush(book)
                await self._sleep(TASK_PAUSE)
        finally:
            self._books.pop(book.task.metadata.uid, None)

    async def _turn(self) -> None:
        """Wait until this replica may write again."""
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + REPLICA_PAUSE
        if (wait := self._free_at - REPLICA_PAUSE - now) > 0:
            await self._sleep(wait)

    async def _flush(self, book: _Book) -> None:
        said, book.unwritten = book.unwritten, {}
        if (known := self._known(book.task)) is None:
            return
        if all(known.get(field) == value for field, value in said.items()):
            return
        now = self._clock().astimezone(UTC).replace(microsecond=0)
        progress = {**known, **said, "updatedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        try:
            await self._resources.write_progress(book.task, progress)
        except (kube.Unavailable, kube.TooManyRequests, kube.Conflict):
            self._metrics.patches.labels("retried").inc()
            book.unwritten = said | book.unwritten
        except kube.ClusterError as error:
            # Deleted, or finished meanwhile: what it said no longer matters.
            self._metrics.patches.labels("dropped").inc()
            told = {"task": str(key_of(book.task)), "cause": str(error)}
            _logger.info("Dropped progress", extra=told)
        else:
            self._metrics.patches.labels("written").inc()

    def _known(self, task: v1alpha1.LongTask) -> dict[str, Any] | None:
        """Return the progress that is stored; None if nothing of it matters any more."""
        now = self._resources.cached_task(key_of(task))
        if now is None or now.metadata.uid != task.metadata.uid or now.is_finished:
            return None
        return now.status.progress.to_json() if now.status.progress else {}

"""Writes what programs say of themselves: the latest word only, and seldom enough."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from longtask_api import errors, informer, metrics, ports
from longtask_crds import v1alpha1

log = logging.getLogger(__name__)

TASK_PAUSE = 2.0  #: seconds between two writes for one task
REPLICA_PAUSE = 0.02  #: seconds between two writes for any


@dataclasses.dataclass
class _Book:
    """What one task said last; `unwritten` is merged until it is stored."""

    unwritten: dict[str, Any]
    writer: asyncio.Task[None] | None = None


class ProgressWriter:
    """Keeps the latest report of each task and writes it at most every two seconds.

    The first report is written at once. Only `status.progress` is touched, without a
    resourceVersion, so that no write of the operator's ever fails for it.
    """

    def __init__(
        self,
        cluster: ports.Cluster,
        cache: informer.Cache[v1alpha1.LongTask],
        counted: metrics.Metrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._metrics = counted
        self._clock = clock
        self._sleep = sleep
        self._books: dict[str, _Book] = {}
        self._free_at = 0.0

    def report(self, task: v1alpha1.LongTask, said: dict[str, Any]) -> None:
        """Take one report: `percent` and `message`, each only if it was given."""
        self._metrics.reports.inc()
        name = task.metadata.name
        book = self._books.setdefault(name, _Book({}))
        book.unwritten.update(said)
        if book.writer is None:
            book.writer = asyncio.create_task(self._write(name, book))

    async def close(self) -> None:
        """Write what is left, and stop."""
        left = list(self._books.items())
        for _, book in left:
            if book.writer is not None:
                book.writer.cancel()
        await asyncio.gather(
            *(book.writer for _, book in left if book.writer), return_exceptions=True
        )
        for name, book in left:
            await self._flush(name, book)

    async def _write(self, name: str, book: _Book) -> None:
        try:
            while book.unwritten:
                await self._turn()
                await self._flush(name, book)
                await self._sleep(TASK_PAUSE)
        finally:
            self._books.pop(name, None)

    async def _turn(self) -> None:
        """Wait until this replica may write again."""
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + REPLICA_PAUSE
        if (wait := self._free_at - REPLICA_PAUSE - now) > 0:
            await self._sleep(wait)

    async def _flush(self, name: str, book: _Book) -> None:
        said, book.unwritten = book.unwritten, {}
        if not said or self._is_known(name, said):
            return
        now = self._clock().astimezone(UTC).replace(microsecond=0)
        progress = said | {"updatedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        try:
            task = await self._cluster.patch(
                ports.TASKS, name, {"status": {"progress": progress}}, subresource="status"
            )
        except (errors.Unavailable, errors.TooManyRequests):
            self._metrics.patches.labels("retried").inc()
            book.unwritten = said | book.unwritten
        except errors.ClusterError as error:
            # Deleted, or finished meanwhile: what it said no longer matters.
            self._metrics.patches.labels("dropped").inc()
            log.info("Dropped progress: %s", error, extra={"task": name})
        else:
            self._metrics.patches.labels("written").inc()
            self._cache.put(task)

    def _is_known(self, name: str, said: dict[str, Any]) -> bool:
        """Tell whether nothing needs to be written."""
        task = self._cache.get(name)
        if task is None or task.is_finished:
            return True
        known = task.status.progress.to_json() if task.status.progress else {}
        return all(known.get(key) == value for key, value in said.items())

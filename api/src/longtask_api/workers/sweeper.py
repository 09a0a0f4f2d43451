"""Forgets what was kept long enough: archived tasks, with their logs and results.

And blobs that belong to no task any more, because somebody deleted it, and tokens and invitations
that have expired. It goes round once an hour,
in small batches with pauses: nobody waits for it, and nobody should have to.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from longtask_api import errors
from longtask_api.metrics import Metrics
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.resources import Resources
from longtask_api.stores.users import Users

_logger = logging.getLogger(__name__)

_INTERVAL: Final = 3600.0
_BATCH: Final = 200
_PAUSE: Final = 0.5
#: A task is younger than its blobs, but the news of it may not have come yet.
_NEWS_WITHIN: Final = timedelta(hours=1)


class Sweeper:
    """Keeps the database from growing for ever."""

    def __init__(
        self,
        resources: Resources,
        blobs: Blobs,
        accounts: Users,
        counted: Metrics,
        *,
        keep: timedelta,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Sweep the archive, the blobs and the accounts.

        Args:
            resources: The tasks, and their archive.
            blobs: Their logs and results.
            accounts: Tokens and invitations.
            counted: What is counted.
            keep: How long a task stays in the archive.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
        """
        self._resources = resources
        self._blobs = blobs
        self._accounts = accounts
        self._metrics = counted
        self._keep = keep
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Sweep now and then, for ever."""
        while True:
            # Replicas that start together do not sweep together.
            await self._sleep(_INTERVAL * random.uniform(0.5, 1.0))
            try:
                await self.sweep()
            except errors.DatabaseAway as error:
                _logger.info("Could not sweep", extra={"cause": str(error)})
            except Exception:
                _logger.exception("Could not sweep")

    async def sweep(self) -> None:
        """Forget what is to be forgotten by now.

        Raises:
            DatabaseAway: The database does not answer; the rest is left for the next time.
        """
        await self._sweep_archive()
        await self._sweep_blobs()
        await self._accounts.remove_expired(before=self._clock())

    async def _sweep_archive(self) -> None:
        before, last = self._clock() - self._keep, ""
        live, needed = self._resources.live_uids(), self._resources.origin_uids()
        while batch := await self._resources.archive.older_than(before, after=last, limit=_BATCH):
            last = batch[-1]
            # Of one that was not to go yet after all, the row is a copy.
            gone = [uid for uid in batch if uid not in live]
            # What others take over from one goes with them: its blobs alone are left.
            await self._blobs.remove(*(uid for uid in gone if uid not in needed))
            await self._resources.archive.remove(*gone)
            self._metrics.swept.inc(len(gone))
            _logger.info("Swept archived tasks", extra={"count": len(gone)})
            await self._sleep(_PAUSE)

    async def _sweep_blobs(self) -> None:
        # First who lives, then who is not archived: nobody is missed who is on the way.
        live, last = self._resources.live_uids() | self._resources.origin_uids(), ""
        before = self._clock() - _NEWS_WITHIN
        while batch := await self._blobs.not_archived(before=before, after=last, limit=_BATCH):
            last = batch[-1]
            await self._blobs.remove(*(uid for uid in batch if uid not in live))
            await self._sleep(_PAUSE)

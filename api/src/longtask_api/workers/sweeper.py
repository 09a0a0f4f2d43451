"""Forgets what was kept long enough: archived tasks, with their logs and results.

And blobs that belong to no task any more, because somebody deleted it, tokens and invitations that
have expired, callback keys of users who are gone, and what was done or told long ago. It goes round
once an hour, in small batches with pauses: nobody waits for it, and nobody should have to.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from longtask_api import errors
from longtask_api.metrics import Metrics
from longtask_api.stores.audit import Audit
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.ledger import KEPT, Ledger
from longtask_api.stores.resources import Resources
from longtask_api.stores.users import Users

_logger = logging.getLogger(__name__)

_INTERVAL: Final = 3600.0
_BATCH: Final = 200
_PAUSE: Final = 0.5
#: A task is younger than its blobs, but the news of it may not have come yet.
_NEWS_WITHIN: Final = timedelta(hours=1)


class Sweeper:
    """Keeps the database, and the Secret of callback keys, from growing for ever."""

    def __init__(
        self,
        resources: Resources,
        blobs: Blobs,
        accounts: Users,
        audit: Audit,
        ledger: Ledger,
        counted: Metrics,
        forget_keys: Callable[[Iterable[str]], Awaitable[None]],
        *,
        keep: timedelta,
        keep_audit: timedelta,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Sweep the archive, the blobs, the accounts and the outbox.

        Args:
            resources: The tasks, and their archive.
            blobs: Their logs and results.
            accounts: Tokens and invitations.
            audit: Who did what.
            ledger: What was told.
            counted: What is counted.
            forget_keys: Removes what signs callbacks of these users.
            keep: How long a task stays in the archive.
            keep_audit: How long it is kept who did what.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
        """
        self._resources = resources
        self._blobs = blobs
        self._accounts = accounts
        self._audit = audit
        self._ledger = ledger
        self._metrics = counted
        self._forget_keys = forget_keys
        self._keep = keep
        self._keep_audit = keep_audit
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
        await self._sweep_audit()
        await self._sweep_outbox()
        await self._forget_keys(await self._accounts.gone())

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

    async def _sweep_audit(self) -> None:
        before = self._clock() - self._keep_audit
        while await self._audit.remove(before=before, limit=_BATCH):
            await self._sleep(_PAUSE)

    async def _sweep_outbox(self) -> None:
        before = self._clock() - KEPT
        while await self._ledger.prune(before):
            await self._sleep(_PAUSE)

    async def _sweep_blobs(self) -> None:
        # First who lives, then who is not archived: nobody is missed who is on the way.
        live, last = self._resources.live_uids() | self._resources.origin_uids(), ""
        before = self._clock() - _NEWS_WITHIN
        while batch := await self._blobs.not_archived(before=before, after=last, limit=_BATCH):
            last = batch[-1]
            await self._blobs.remove(*(uid for uid in batch if uid not in live))
            await self._sleep(_PAUSE)

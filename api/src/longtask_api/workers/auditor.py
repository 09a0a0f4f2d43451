"""Writes down who did what: at once into the log, and beside the requests into the database.

No request waits for that, and none fails with it. What the database does not take for long stands
in the log alone.
"""

import asyncio
import collections
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from longtask_api import deeds, errors
from longtask_api.metrics import Metrics
from longtask_api.stores.audit import Audit, Entry
from longtask_api.workers.under_way import UnderWay
from longtask_client.models import ActOutcome, Door

_logger = logging.getLogger(__name__)

#: So many are written at once, and so many wait for a database that is away.
_BATCH: Final = 200
_MOST_WAITING: Final = 20_000
_PAUSE: Final = 5.0
#: For how long the rest is still written when the process ends.
_LAST_SECONDS: Final = 5.0
#: As the columns have it: a header may be longer.
_LONGEST: Final = {"actor": 256, "target": 253, "request_id": 64, "address": 64}


class Auditor:
    """Takes note of acts, and keeps them."""

    def __init__(
        self,
        store: Audit,
        counted: Metrics,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """Keep acts in a store.

        Args:
            store: Where they are kept.
            counted: What is counted.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
            most_waiting: How many wait for a database that is away; then the oldest go.
        """
        self._store = store
        self._metrics = counted
        self._clock = clock
        self._sleep = sleep
        self._most_waiting = most_waiting
        self._waiting: collections.deque[Entry] = collections.deque()
        self._news = asyncio.Event()
        self._under_way = UnderWay()

    def note(
        self,
        deed: deeds.Deed,
        act: str,
        outcome: ActOutcome,
        status: int,
        named: str,
        request_id: str,
        address: str,
    ) -> None:
        """Take note of what a request did: of each thing that it was done to, or once."""
        if deed.actor is None:
            return
        now = self._clock()
        made = [
            Entry(
                id=uuid.uuid4().hex,
                at=now,
                door=Door.REST,
                act=act,
                actor=_text(deed.actor.name, _LONGEST["actor"]),
                subject=deed.actor.subject,
                via=deed.actor.via,
                target=_text(target.name, _LONGEST["target"]) or None,
                target_uid=target.uid or None,
                outcome=outcome,
                status=status,
                request_id=_text(request_id, _LONGEST["request_id"]) or None,
                address=_text(address, _LONGEST["address"]) or None,
                detail=dict(target.detail),
            )
            for target in deed.targets or [deeds.Target(named)]
        ]
        self.keep(made)

    def keep(self, entries: Iterable[Entry]) -> None:
        """Take note of acts, each in one line of the log."""
        for entry in entries:
            _logger.info("Audit", extra=_told(entry))
            self._waiting.append(entry)
        while len(self._waiting) > self._most_waiting:
            self._waiting.popleft()
            self._metrics.audit_lost.inc()
        self._news.set()

    async def run(self) -> None:
        """Write down what is noted, for ever; at the end what is left, if that is quick."""
        try:
            while True:
                await self._news.wait()
                try:
                    await asyncio.shield(self._under_way.begin(self.write()))
                except errors.DatabaseAway as error:
                    _logger.info("Could not write the audit yet", extra={"cause": str(error)})
                    await self._sleep(_PAUSE)
                except Exception:
                    _logger.exception("Could not write the audit")
                    await self._sleep(_PAUSE)
        finally:
            await self._under_way.settle()
            with contextlib.suppress(errors.DatabaseAway, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self.write()

    async def write(self) -> None:
        """Write down all that is noted by now.

        Raises:
            DatabaseAway: The database does not answer; what is left is written later.
        """
        self._news.clear()
        try:
            while self._waiting:
                batch = list(self._waiting)[:_BATCH]
                await self._add(batch)
                for entry in batch:
                    # What was the oldest may have had to go meanwhile.
                    if self._waiting and self._waiting[0] is entry:
                        self._waiting.popleft()
        except BaseException:
            self._news.set()
            raise

    async def _add(self, batch: Sequence[Entry]) -> None:
        try:
            await self._store.add(batch)
        except errors.DatabaseAway:
            raise
        except Exception:
            # One that cannot be stored keeps no other from being written down.
            for entry in batch:
                await self._add_one(entry)

    async def _add_one(self, entry: Entry) -> None:
        try:
            await self._store.add([entry])
        except errors.DatabaseAway:
            raise
        except Exception:
            _logger.exception("Could not write down an act", extra={"audit": entry.id})
            self._metrics.audit_lost.inc()


def _text(text: str, longest: int) -> str:
    """Return a text as every database takes it: names in paths are anybody's to choose."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:longest]


def _told(entry: Entry) -> dict[str, object]:
    told = {
        "audit": entry.id,
        "door": str(entry.door),
        "act": entry.act,
        "actor": entry.actor,
        "subject": entry.subject,
        "via": entry.via,
        "target": entry.target,
        "target_uid": entry.target_uid,
        "outcome": str(entry.outcome),
        "status": entry.status,
        "request_id": entry.request_id,
        "address": entry.address,
        "detail": entry.detail,
    }
    return {name: value for name, value in told.items() if value not in (None, "", {})}

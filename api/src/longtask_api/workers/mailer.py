"""Sends what is to be told by mail: each event once, as far as a mail server lets anybody know.

Rows of one address are taken together, by one replica at a time, so that what it gets can be
counted and put together. A mail is sent first and noted then: who is killed between the two leaves
rows that another takes when their time is over, and sends once more, with the same `Message-ID`.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from longtask_api import errors
from longtask_api.mail import addresses, message, smtp
from longtask_api.mail.writer import Writer
from longtask_api.metrics import Metrics
from longtask_api.stores.addresses import Addresses
from longtask_api.stores.ledger import Channel, Entry, Ledger, State
from longtask_api.workers import mail_pace
from longtask_api.workers.under_way import UnderWay

_logger = logging.getLogger(__name__)

#: How many addresses are served at once.
_AT_ONCE: Final = 4
_MOST_ROWS: Final = 500
#: Rows are taken for so many seconds: no mail is begun that could take longer than what is left.
_TAKEN_SECONDS: Final = 240.0
#: The pauses after each try, in seconds: a day in all, then it is given up.
PAUSES: Final = (60, 300, 900, 1800, 3600, 7200, 14_400, 14_400, 14_400, 14_400, 14_400)
#: How often is looked at what is due, in seconds: other replicas note as well.
_INTERVAL: Final = 5.0
#: While the server or the database is away: doubled each time, up to the second.
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0

#: Why a row is not told at all. Part of the API: never renamed.
NOT_AN_ADDRESS: Final = "NotAnAddress"
NOT_ALLOWED: Final = "RecipientNotAllowed"
UNSUBSCRIBED: Final = "Unsubscribed"
#: Or why it is given up: whoever tried was killed each time.
NEVER_NOTED: Final = "NeverNoted"


class Mailer:
    """Sends the rows of the outbox that are mails."""

    def __init__(
        self,
        ledger: Ledger,
        store: Addresses,
        writer: Writer,
        door: smtp.Door,
        guard: addresses.Guard,
        counted: Metrics,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        mail_seconds: float = smtp.SECONDS,
    ) -> None:
        """Send the rows of the ledger.

        Args:
            ledger: Where they are.
            store: Whose addresses are known, and who wants no mails.
            writer: Makes mails of them.
            door: Where mails go.
            guard: Who may be mailed besides.
            counted: What is counted.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
            mail_seconds: How long one mail may take.
        """
        self._ledger = ledger
        self._store = store
        self._writer = writer
        self._door = door
        self._guard = guard
        self._metrics = counted
        self._clock = clock
        self._sleep = sleep
        self._mail_seconds = mail_seconds
        #: What the server has taken and the database does not know yet: the mail, by row.
        self._accepted: dict[str, tuple[str, int]] = {}
        self._news = asyncio.Event()
        self._under_way = UnderWay()
        self._absence = 0.0  #: seconds until the server is tried again; 0 while it answers

    async def run(self) -> None:
        """Send what is due, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._work())
        finally:
            await self._under_way.settle()

    def wake(self) -> None:
        """Look at once at what is due: there is something new."""
        self._news.set()

    async def serve(self) -> bool:
        """Send what is due to one address; tell whether there was something.

        Raises:
            DatabaseAway: What became of it is noted the next time.
        """
        now = self._clock()
        due = await self._ledger.next_due(Channel.MAIL)
        if due is None or due > now:
            return False
        entries = await self._ledger.take_of_one(Channel.MAIL, _MOST_ROWS, _TAKEN_SECONDS)
        if not entries:
            return False
        until = now + timedelta(seconds=_TAKEN_SECONDS)
        entries = await self._without_accepted(entries)
        entries = await self._without_deadly(entries)
        entries = await self._without_refused(entries)
        if entries:
            await self._send_all(entries, until)
        return True

    async def _work(self) -> None:
        pause = _PAUSE
        while True:
            try:
                # Whoever stops us lets a mail that is under way be noted: it is no double then.
                has_served = await asyncio.shield(self._under_way.begin(self.serve()))
                pause = _PAUSE
            except errors.DatabaseAway as error:
                _logger.info("Could not send mails", extra={"cause": str(error)})
                await self._sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception:
                # What is wrong with one mail is no reason to send no other.
                _logger.exception("Could not send mails")
                has_served = False
            if self._absence:
                await self._sleep(self._absence * random.uniform(0.5, 1.0))
            elif not has_served:
                await self._wait()

    async def _wait(self) -> None:
        """Return after a while, or when there is something new."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_INTERVAL * random.uniform(0.5, 1.0)):
                await self._news.wait()

    async def _send_all(self, entries: Sequence[Entry], until: datetime) -> None:
        recipient, now = entries[0].recipient, self._clock()
        told = await self._ledger.told_since(Channel.MAIL, recipient, now - mail_pace.WINDOW)
        # A code is asked for by who waits for it: it is alone in its mail, and waits for no minute.
        codes = [(entry,) for entry in entries if entry.event == message.VERIFICATION]
        others = [entry for entry in entries if entry.event != message.VERIFICATION]
        plan = mail_pace.plan(others, [mail_pace.Told(*one) for one in told], now=now)
        for at, later in plan.later:
            await self._ledger.put_off(later, at)
        answers = True
        for group in (*codes, *plan.mails):
            left = until - self._clock()
            if not answers or left < timedelta(seconds=self._mail_seconds):
                # Else another might take it while it is under way.
                later_on = timedelta(seconds=0 if answers else PAUSES[0])
                await self._ledger.put_off(group, self._clock() + later_on)
                continue
            answers = await self._send(group)

    async def _send(self, group: Sequence[Entry]) -> bool:
        """Send a mail, and note what became of it; tell whether the server serves others."""
        try:
            told = [
                (entry.event_id, entry.sequence, message.Said.read(entry.document))
                for entry in group
            ]
            code = await self._door.send(await self._writer.mail(group[0].recipient, told))
        except smtp.NotSent as error:
            await self._note_failure(group, error)
            return not error.is_of_server
        except Exception as error:
            _logger.exception("Could not make a mail", extra={"entry": group[0].id})
            problem = smtp.NotSent(smtp.Problem.NOT_MADE)
            problem.__cause__ = error
            await self._note_failure(group, problem)
            return True
        self._absence = 0.0
        batch = message.batch_of([entry.event_id for entry in group])
        self._accepted |= {entry.id: (batch, code) for entry in group}
        await self._note_success(group, batch, code)
        if self._door.is_real:
            extra = {"mail": batch, "events": len(group), "task": group[-1].task_name}
            _logger.info("Sent mail", extra=extra)
        return True

    async def _note_success(self, group: Sequence[Entry], batch: str, code: int) -> None:
        state = State.SENT if self._door.is_real else State.LOGGED
        await self._ledger.sent(group, state=state, code=code, batch=batch)
        for entry in group:
            self._accepted.pop(entry.id, None)
        self._metrics.mails.labels(state).inc()

    async def _note_failure(self, group: Sequence[Entry], error: smtp.NotSent) -> None:
        told = {"cause": str(error), "code": error.code, "task": group[-1].task_name}
        _logger.warning("Could not send mail", extra=told)
        if error.is_of_server:
            self._absence = min(self._absence * 2 or _PAUSE, _LONGEST_PAUSE)
        for entry in group:
            if error.is_final or entry.tries >= len(PAUSES):
                await self._ledger.give_up([entry], str(error), code=error.code)
                self._metrics.mails.labels(State.GIVEN_UP).inc()
                continue
            pause = PAUSES[entry.tries] * random.uniform(1.0, 1.2)
            at = self._clock() + timedelta(seconds=pause)
            await self._ledger.again([entry], at, str(error), code=error.code)
            self._metrics.mails.labels("again").inc()

    async def _without_accepted(self, entries: Iterable[Entry]) -> list[Entry]:
        """Note what was sent while the database was away; return what is left."""
        left = []
        for entry in entries:
            if entry.id in self._accepted:
                await self._note_success([entry], *self._accepted[entry.id])
            else:
                left.append(entry)
        return left

    async def _without_deadly(self, entries: Iterable[Entry]) -> list[Entry]:
        """Give up what nobody who tried it lived to say anything of; return what is left."""
        left = []
        for entry in entries:
            if entry.tries > len(PAUSES):
                await self._ledger.give_up([entry], NEVER_NOTED)
                self._metrics.mails.labels(State.GIVEN_UP).inc()
            else:
                left.append(entry)
        return left

    async def _without_refused(self, entries: Sequence[Entry]) -> list[Entry]:
        """Drop what may not be sent; return what is left."""
        if not entries:
            return []
        recipient, left = entries[0].recipient, []
        if not addresses.is_address(recipient):
            await self._drop(entries, NOT_AN_ADDRESS)
            return []
        standing = await self._store.standing(recipient)
        may_have = not self._door.is_real or standing.is_verified or self._guard.allows(recipient)
        for entry in entries:
            # They asked for it themselves, and it is how an address becomes theirs.
            is_asked_for = entry.event == message.VERIFICATION
            if standing.is_muted and not is_asked_for:
                await self._drop([entry], UNSUBSCRIBED)
            elif not may_have and not is_asked_for:
                await self._drop([entry], NOT_ALLOWED)
            else:
                left.append(entry)
        return left

    async def _drop(self, entries: Sequence[Entry], why: str) -> None:
        await self._ledger.drop(entries, why)
        self._metrics.mails.labels(State.DROPPED).inc(len(entries))

"""Tells subscriptions, by the contract of callbacks: signed, again by a schedule, and given up.

Rows of one subscription are taken together, and nobody else tells that one anything meanwhile: so
one receiver that is away, or slow, holds up no other. A row that was sent and could not be recorded
is sent once more when its time is over, under the same id: that is all that ever comes twice.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from longtask_adapters import webhooks
from longtask_adapters.kube import errors as kube
from longtask_api import errors
from longtask_api.stores.ledger import Channel, Entry, Ledger
from longtask_api.stores.subscriptions import Subscription, Subscriptions
from longtask_api.workers.under_way import UnderWay
from longtask_crds import delivery, signing_keys, v1alpha1
from longtask_crds.v1alpha1 import CallbackState, Reason

_logger = logging.getLogger(__name__)

#: So many subscriptions are told something at once, and so much of each is taken together.
_RECIPIENTS_AT_ONCE: Final = 64
_TOGETHER: Final = 20
#: How many of these at once: as many as a host is called at once.
_AT_ONCE: Final = 2
#: For how long rows are ours: all of them take 15 seconds each and their receiver a pause.
_OURS_SECONDS: Final = 300.0
#: For how long one waits for its turn: its host may be left alone for a while.
_TURN_SECONDS: Final = 90.0
#: When the rest is tried of a receiver that does not answer, and what lacks its key.
_REST: Final = timedelta(minutes=1)
#: Why one is given up of which nobody who tried it lived to say anything.
NEVER_NOTED: Final = "NeverNoted"
#: How often it is looked whether something is due, and how long a database is left alone.
_LOOK_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 5.0

#: Returns the keys of an owner that sign now.
Keys = Callable[[str], Awaitable[list[str]]]


class Deliverer:
    """Takes what is due, and sends it."""

    def __init__(
        self,
        ledger: Ledger,
        store: Subscriptions,
        sender: webhooks.Sender,
        keys: Keys,
        *,
        schedule: Sequence[int],
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        turn_seconds: float = _TURN_SECONDS,
    ) -> None:
        """Tell what the ledger has.

        Args:
            ledger: What is to be told.
            store: To whom.
            sender: Sends.
            keys: Has the keys that sign.
            schedule: The pause before each try, in seconds.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
            turn_seconds: For how long one waits for its turn.
        """
        self._ledger = ledger
        self._store = store
        self._sender = sender
        self._keys = keys
        self._schedule = schedule
        self._clock = clock
        self._sleep = sleep
        self._turn_seconds = turn_seconds
        self._places = asyncio.Semaphore(_RECIPIENTS_AT_ONCE)
        self._under_way = UnderWay()
        self._looks = UnderWay()
        self._is_closed = False
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Tell what is due, for ever."""
        try:
            while True:
                try:
                    self._news.clear()
                    # Whoever stops us lets what is taken be begun: else it is nobody's for minutes.
                    await asyncio.shield(self._looks.begin(self._begin_all()))
                    await self._wait()
                except errors.DatabaseAway as error:
                    _logger.info("Could not look what is due", extra={"cause": str(error)})
                    await self._sleep(_AWAY_SECONDS)
                except Exception:
                    _logger.exception("Could not look what is due")
                    await self._sleep(_AWAY_SECONDS)
        finally:
            self._is_closed = True
            await self._looks.settle()
            await self._under_way.settle()

    def wake(self) -> None:
        """Look at once at what is due: there is something new."""
        self._news.set()

    async def _wait(self) -> None:
        """Return after a while, or when there is something new."""
        waiting = asyncio.ensure_future(self._news.wait())
        pause = asyncio.ensure_future(self._sleep(_LOOK_SECONDS))
        try:
            await asyncio.wait([waiting, pause], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            pause.cancel()

    async def _begin_all(self) -> None:
        """Begin to tell all that is due.

        Raises:
            DatabaseAway: The database does not answer.
        """
        while (
            not self._is_closed
            and (due := await self._ledger.next_due(Channel.WEBHOOK))
            and due <= self._clock()
        ):
            await self._places.acquire()
            try:
                batch = await self._ledger.take_of_one(Channel.WEBHOOK, _TOGETHER, _OURS_SECONDS)
            except BaseException:
                self._places.release()
                raise
            if not batch:
                self._places.release()
                return  # others tell them something
            telling = self._under_way.begin(self._tell_in_time(batch))
            telling.add_done_callback(lambda _: self._places.release())

    async def _tell_in_time(self, batch: list[Entry]) -> None:
        try:
            async with asyncio.timeout(_OURS_SECONDS):
                await self.tell(batch)
        except (errors.DatabaseAway, TimeoutError) as error:
            told = {"subscription": batch[0].recipient, "cause": repr(error)}
            _logger.warning("Could not tell a subscription", extra=told)
        except Exception:
            told = {"subscription": batch[0].recipient}
            _logger.exception("Could not tell a subscription", extra=told)

    async def tell(self, batch: Sequence[Entry]) -> None:
        """Tell one subscription what was taken for it.

        Raises:
            DatabaseAway: Somebody else does when it is theirs.
        """
        found = await self._store.find_to_tell(batch[0].recipient)
        if found is None:
            await self._ledger.drop(batch, "Unwanted")
            return
        left = list(batch)[::-1]

        async def some() -> None:
            while left:
                entry = left.pop()
                if not await self._tell_one(found, entry):
                    # It may be long until it answers: what happens then is told first.
                    rest, left[:] = list(left), []
                    await self._put_off(rest)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(some())

    async def _tell_one(self, to: Subscription, entry: Entry) -> bool:
        """Send one and record it; tell whether the receiver is well."""
        if entry.tries >= len(self._schedule):
            await self._ledger.give_up([entry], NEVER_NOTED)
            return True
        try:
            made = await self._sent(to, entry)
        except (errors.Unavailable, kube.ClusterError) as error:
            told = {"subscription": to.id, "cause": str(error)}
            _logger.warning("Could not sign for a subscription", extra=told)
            made = None
        except Exception:
            # It is ours until its time is over, and that was a try. The others are told.
            _logger.exception("Could not tell a subscription", extra={"entry": entry.id})
            return True
        if made is None:
            await self._put_off([entry])
            return False
        await self._record(to, entry, made)
        return made.problem is None and made.code not in (410, 429) and (made.code or 0) < 500

    async def _put_off(self, entries: Sequence[Entry]) -> None:
        """Leave what nobody tried for later; at the latest it is due when it is ours no more."""
        with contextlib.suppress(errors.DatabaseAway):
            await self._ledger.put_off(entries, self._clock() + _REST)

    async def _sent(self, to: Subscription, entry: Entry) -> delivery.Try | None:
        """Send one; return None if its turn did not come, and nothing was sent."""
        has_turn = asyncio.Event()

        async def write() -> webhooks.Letter:
            keys = await self._keys(to.owner)
            said = json.loads(entry.document)
            has_turn.set()
            return webhooks.Letter(said["body"].encode(), keys, said["mediaType"])

        sending = asyncio.ensure_future(
            self._sender.send(
                to.url,
                owner=to.owner or signing_keys.DEFAULT_OWNER,
                webhook_id=entry.event_id,
                headers={},
                write=write,
            )
        )
        try:
            await asyncio.wait([sending], timeout=self._turn_seconds)
            if not sending.done() and not has_turn.is_set():
                return None
            return await sending
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(sending, return_exceptions=True)

    async def _record(self, to: Subscription, entry: Entry, made: delivery.Try) -> None:
        """Record what became of a try; as long as the row is ours, a database may come back."""
        while True:
            try:
                await self._record_once(to, entry, made)
            except errors.DatabaseAway:
                await self._sleep(_LOOK_SECONDS)
            else:
                return

    async def _record_once(self, to: Subscription, entry: Entry, made: delivery.Try) -> None:
        known = v1alpha1.CallbackStatus(
            id=entry.event_id,
            event=v1alpha1.TaskEvent(entry.event),
            state=CallbackState.PENDING,
            tries=entry.tries,
        )
        after, reason = delivery.after(known, made, schedule=self._schedule)
        told = {
            "subscription": to.id,
            "task": f"{entry.namespace}/{entry.task_name}",
            "uid": entry.task_uid,
            "webhook_id": entry.event_id,
            "reported": entry.event,
            "tries": after.tries,
            "code": made.code,
            "error": made.problem,
            "state": after.state,
        }
        match after.state:
            case CallbackState.DELIVERED:
                await self._ledger.sent([entry], code=made.code)
            case CallbackState.PENDING if after.next_try_at is not None:
                problem = str(made.problem or "")
                await self._ledger.again([entry], after.next_try_at, problem, code=made.code)
            case _:
                await self._ledger.give_up([entry], str(made.problem or reason), code=made.code)
                if reason is Reason.GONE:
                    await self._store.change(to.id, paused=True, paused_reason=str(reason))
        _logger.info("Told a subscription", extra=told)

"""Notes what is to be told of tasks, by mail or to subscriptions, as soon as it has happened.

And of a schedule that has suspended itself, which its owner is told.

What has happened follows from the resource, and a row that is noted twice is there once. So each
replica notes what it hears, and one that has just begun hears of every task: what nobody noted
meanwhile is noted then, if it is not older than `REACH`. Nothing waits for it: while the database
is away it remembers, or reads all tasks anew when it answers again.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from longtask_adapters import logs
from longtask_adapters.kube.cache import Cache, key_of
from longtask_api import errors
from longtask_api.stores.ledger import Ledger, Notice
from longtask_crds import events, v1alpha1
from longtask_crds.v1alpha1 import ConditionType, Reason, conditions

_logger = logging.getLogger(__name__)

#: What happened longer ago is no news. Rows are kept for longer than that.
REACH: Final = timedelta(hours=24)
#: So many events are remembered while they cannot be noted; of more, tasks are read anew.
MOST_PENDING: Final = 10_000
#: So many are noted together.
_BATCH: Final = 200
#: Seconds until the database is asked again; doubled each time, up to the second.
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: Progress is told with each tenth of the work.
_TENTH: Final = 10

Told = tuple[v1alpha1.LongTask, events.Event]
#: A schedule that has suspended itself, and when.
Suspended = tuple[v1alpha1.LongTaskSchedule, datetime]


class Audience(Protocol):
    """Some who want to be told, all in one way."""

    def may_care(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether anybody may want to hear of the task. It is asked at each change of each."""

    async def notices(self, task: v1alpha1.LongTask, event: events.Event) -> Iterable[Notice]:
        """Return what is to be told of an event, to everybody who wants to hear of it.

        Raises:
            DatabaseAway: It is not known who they are.
        """


def news(
    before: v1alpha1.LongTask | None, after: v1alpha1.LongTask, *, since: datetime
) -> Iterator[events.Event]:
    """Yield what has happened between two states of a task, and not before a moment."""
    if before is not None and before.metadata.uid != after.metadata.uid:
        before = None
    known = {event.id for event in events.of(before)} if before is not None else set()
    for event in events.of(after):
        if event.id not in known and event.at >= since:
            yield event
    said = events.progress(after)
    if said is not None and before is not None and _tenths(said) > _tenths(events.progress(before)):
        yield said


def _tenths(said: events.Event | None) -> int:
    return 0 if said is None else (said.percent or 0) // _TENTH


def suspended_at(schedule: v1alpha1.LongTaskSchedule | None) -> datetime | None:
    """Return when a schedule suspended itself, or None if it did not."""
    if schedule is None:
        return None
    found = conditions.find(schedule.status.conditions, ConditionType.SUSPENDED)
    has_failed = found is not None and found.reason == Reason.MAX_FAILURES
    return found.last_transition_time if found is not None and has_failed else None


class Teller:
    """Hears of each change of a task, and notes what is to be told of it."""

    def __init__(
        self,
        ledger: Ledger,
        tasks: Cache[v1alpha1.LongTask],
        audiences: Sequence[Audience],
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        noted: Sequence[Callable[[], None]] = (),
        of_schedule: Callable[[v1alpha1.LongTaskSchedule, datetime], Awaitable[list[Notice]]]
        | None = None,
    ) -> None:
        """Note in the ledger; `notice` has to be told of each change.

        Args:
            ledger: Where it is noted.
            tasks: All tasks, to be read anew if too much could not be noted.
            audiences: Who may want to be told.
            clock: Returns the time.
            sleep: Takes the place of `asyncio.sleep`, in tests.
            noted: Are told whenever there is something new to tell.
            of_schedule: Returns what tells of a schedule that suspended itself at a time; nobody
                is told where it is absent.
        """
        self._noted = noted
        self._ledger = ledger
        self._tasks = tasks
        self._audiences = audiences
        self._clock = clock
        self._sleep = sleep
        self._pending: dict[str, Told] = {}  #: by the event's id
        self._is_behind = False  #: more has happened than is pending
        self._of_schedule = of_schedule
        self._suspended: dict[str, Suspended] = {}  #: by the schedule's uid
        self._has_news = asyncio.Event()

    def notice(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None) -> None:
        """Take note of a task that has changed; it costs nothing where nobody wants to hear."""
        if after is None or not any(audience.may_care(after) for audience in self._audiences):
            return
        for event in news(before, after, since=self._clock() - REACH):
            if len(self._pending) >= MOST_PENDING:
                self._is_behind = True
                break
            self._pending[event.id] = (after, event)
            self._has_news.set()

    def notice_schedule(
        self, before: v1alpha1.LongTaskSchedule | None, after: v1alpha1.LongTaskSchedule | None
    ) -> None:
        """Take note of a schedule that has changed."""
        at = suspended_at(after)
        if after is None or at is None or self._of_schedule is None:
            return
        if at != suspended_at(before) and at >= self._clock() - REACH:
            self._suspended[after.metadata.uid] = (after, at)
            self._has_news.set()

    async def run(self) -> None:
        """Note what is heard, for ever."""
        pause = _PAUSE
        while True:
            await self._has_news.wait()
            try:
                await self.catch_up()
                pause = _PAUSE
            except errors.DatabaseAway as error:
                told = {"cause": str(error.__cause__), "pending": len(self._pending)}
                _logger.warning("Could not note what is to be told", extra=told)
                await self._sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def catch_up(self) -> None:
        """Note all that was heard.

        Raises:
            DatabaseAway: What is not noted is noted the next time.
        """
        while self._pending or self._is_behind or self._suspended:
            if self._suspended:
                await self._note_schedule(*next(iter(self._suspended.items())))
                continue
            if not self._pending:
                await self._read_all()
                continue
            batch = dict(list(self._pending.items())[:_BATCH])
            await self._note(batch.values())
            for event_id in batch:
                del self._pending[event_id]
        self._has_news.clear()

    async def _note_schedule(self, uid: str, suspended: Suspended) -> None:
        try:
            if self._of_schedule is not None:
                await self._keep(await self._of_schedule(*suspended))
        except errors.DatabaseAway:
            raise
        except Exception:
            # Of one that nothing can be said of, no other is told later.
            told = {"schedule": str(key_of(suspended[0]))}
            _logger.exception("Could not say who is told", extra=told)
        if self._suspended.get(uid) == suspended:
            del self._suspended[uid]

    async def _read_all(self) -> None:
        """Note what has happened to any task."""
        self._is_behind = False
        try:
            batch: list[Told] = []
            since = self._clock() - REACH
            for number, task in enumerate(self._tasks.values()):
                if number % _BATCH == 0:
                    await asyncio.sleep(0)  # to requests, or they would wait for all tasks
                if any(audience.may_care(task) for audience in self._audiences):
                    batch += [(task, event) for event in news(None, task, since=since)]
                if len(batch) >= _BATCH:
                    await self._note(batch)
                    batch = []
            await self._note(batch)
        except errors.DatabaseAway:
            self._is_behind = True
            raise

    async def _note(self, batch: Iterable[Told]) -> None:
        await self._keep(await self._notices(batch))

    async def _keep(self, notices: Sequence[Notice]) -> None:
        try:
            has_news = await self._ledger.note(notices)
        except errors.DatabaseAway:
            raise
        except Exception:
            has_news = 1
            # One row that cannot be stored keeps no other from being told.
            for notice in notices:
                await self._note_one(notice)
        for listener in self._noted if has_news else ():
            listener()

    async def _note_one(self, notice: Notice) -> None:
        try:
            await self._ledger.note([notice])
        except errors.DatabaseAway:
            raise
        except Exception:
            told = {"task": f"{notice.namespace}/{notice.task_name}", "event": notice.event}
            _logger.exception("Could not note what is to be told", extra=told)

    async def _notices(self, batch: Iterable[Told]) -> list[Notice]:
        found: list[Notice] = []
        for task, event in batch:
            for audience in self._audiences:
                try:
                    found += await audience.notices(task, event)
                except errors.DatabaseAway:
                    raise
                except Exception:
                    told = logs.of_task(task) | {"event": event.type}
                    _logger.exception("Could not say who is told", extra=told)
        return found

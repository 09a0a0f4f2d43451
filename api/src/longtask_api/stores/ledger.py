"""What is to be told, to whom, and what became of it: a row for each event and recipient.

Noting a row is idempotent, and so any replica may do it, at any time, again. Telling is not: a row
is taken for a while before it is told, and nobody else takes it meanwhile. Whoever took it and died
has perhaps told it: then it is told once more when that while is over.
"""

import dataclasses
import enum
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from longtask_api.database.engine import Database
from longtask_api.database.tables import OUTBOX
from longtask_crds import events, names, v1alpha1

#: How long rows are kept: longer than anybody derives what is to be noted from, or a row that was
#: told would be noted anew.
KEPT: Final = timedelta(days=7)
#: A statement has room for so many rows, whatever the database.
_AT_ONCE: Final = 500
#: Who takes for one recipient at a time waits for the others under this number: any will do.
_LOCK: Final = 5_067_214_291
_LONGEST_ERROR: Final = 256


class Channel(enum.StrEnum):
    """How something is told."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class State(enum.StrEnum):
    """Where a row stands."""

    PENDING = "pending"  #: to be told
    SENT = "sent"  #: told
    LOGGED = "logged"  #: written to the log in place of being told
    GIVEN_UP = "given_up"  #: the other side does not take it
    DROPPED = "dropped"  #: it may not be told, or nobody wants to hear it any more


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something to tell somebody."""

    channel: Channel
    event_id: str
    event: str  #: the word for it
    sequence: int
    task_uid: str
    namespace: str
    task_name: str
    owner: str | None
    recipient: str  #: an address, or the id of a subscription
    document: str  #: all that is needed to say it, as JSON

    @classmethod
    def of(
        cls,
        task: v1alpha1.LongTask,
        event: events.Event,
        *,
        channel: Channel,
        recipient: str,
        document: str,
    ) -> Self:
        """Return what tells somebody of an event of a task."""
        return cls(
            channel=channel,
            event_id=event.id,
            event=str(event.type),
            sequence=event.sequence,
            task_uid=task.metadata.uid,
            namespace=task.metadata.namespace,
            task_name=task.metadata.name,
            owner=task.metadata.labels.get(names.OWNER_LABEL),
            recipient=recipient,
            document=document,
        )


@dataclasses.dataclass(frozen=True)
class Entry(Notice):
    """A notice, and what became of it."""

    id: str
    state: State
    tries: int
    next_try_at: datetime | None
    taken_by: str | None
    last_code: int | None
    last_error: str | None
    batch: str | None
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of_row(cls, row: sa.Row[Any]) -> Self:
        """Read a row."""
        found = dict(row._mapping)
        return cls(**found | {"channel": Channel(found["channel"]), "state": State(found["state"])})


#: Where a list goes on: when the last one shown was noted, and its id.
Place = tuple[datetime, str]

#: In so many words, and no parameter: else the index of what is due is of no use.
_IS_PENDING: Final = OUTBOX.c.state == sa.literal_column(f"'{State.PENDING}'")
_ENTRY: Final = [OUTBOX.c[field.name] for field in dataclasses.fields(Entry)]


class Ledger:
    """The outbox. All of it raises DatabaseAway while the database does not answer."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock

    # --- what is to be told

    async def note(self, notices: Iterable[Notice]) -> int:
        """Note what is to be told; what is noted already stays as it is. Return how much was new.

        Rows of one call are noted together or not at all, up to some hundreds of them.
        """
        now, count = self._clock(), 0
        rows = [
            dataclasses.asdict(notice)
            | {
                "id": uuid.uuid4().hex,
                "state": State.PENDING,
                "tries": 0,
                "next_try_at": now,
                "created_at": now,
            }
            for notice in notices
        ]
        # Who notes the same at the same time does so in the same order: nobody waits in a circle.
        rows.sort(key=lambda row: (row["event_id"], row["channel"], row["recipient"]))
        for start in range(0, len(rows), _AT_ONCE):
            async with self._database.writing() as connection:
                done = await connection.execute(_insert(connection, rows[start : start + _AT_ONCE]))
                count += done.rowcount
        return count

    # --- who tells it

    async def take(self, channel: Channel, most: int, for_seconds: float) -> list[Entry]:
        """Take what is due, the longest due first: nobody else gets it for so long."""
        now = self._clock()
        async with self._database.writing() as connection:
            due = _due(channel, now).limit(most).with_for_update(skip_locked=True)
            ids = list((await connection.execute(due)).scalars())
            return await _taken(connection, ids, now, for_seconds)

    async def take_of_one(self, channel: Channel, most: int, for_seconds: float) -> list[Entry]:
        """Take what is due for one recipient, whom nobody else tells anything meanwhile.

        So what one is told can be counted and put together. The recipient is whoever waits longest.
        """
        now = self._clock()
        served = sa.select(OUTBOX.c.recipient).where(
            OUTBOX.c.channel == channel, _IS_PENDING, OUTBOX.c.taken_until > now
        )
        async with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            due = _due(channel, now)
            first = due.with_only_columns(OUTBOX.c.recipient).where(
                OUTBOX.c.recipient.not_in(served)
            )
            recipient = (await connection.execute(first.limit(1))).scalar_one_or_none()
            if recipient is None:
                return []
            theirs = due.where(OUTBOX.c.recipient == recipient).limit(most)
            ids = list((await connection.execute(theirs)).scalars())
            return await _taken(connection, ids, now, for_seconds)

    async def next_due(self, channel: Channel) -> datetime | None:
        """Return when the next of it is due that nobody has taken, or None if nothing is."""
        now = self._clock()
        is_taken = OUTBOX.c.taken_until > now
        at = sa.case((is_taken, OUTBOX.c.taken_until), else_=OUTBOX.c.next_try_at)
        asked = sa.select(at).where(OUTBOX.c.channel == channel, _IS_PENDING).order_by(at).limit(1)
        async with self._database.reading() as connection:
            return (await connection.execute(asked)).scalar_one_or_none()

    # --- what became of it: said by who took it, as long as it is theirs

    async def sent(
        self,
        entries: Sequence[Entry],
        *,
        state: State = State.SENT,
        code: int | None = None,
        batch: str | None = None,
    ) -> int:
        """Note that they were told, together; return how many were still theirs who say so."""
        return await self._settle(
            entries, state=state, counts=True, last_code=code, last_error=None, batch=batch
        )

    async def again(
        self, entries: Sequence[Entry], at: datetime, error: str, *, code: int | None = None
    ) -> int:
        """Note that they could not be told, and when that is tried again."""
        return await self._release(
            entries, at, tries=OUTBOX.c.tries + 1, last_error=error[:_LONGEST_ERROR], last_code=code
        )

    async def put_off(self, entries: Sequence[Entry], at: datetime) -> int:
        """Tell them later: nobody tried."""
        return await self._release(entries, at)

    async def give_up(
        self, entries: Sequence[Entry], error: str, *, code: int | None = None
    ) -> int:
        """Note that they could not be told, and are not tried again."""
        return await self._settle(
            entries,
            state=State.GIVEN_UP,
            counts=True,
            last_code=code,
            last_error=error[:_LONGEST_ERROR],
        )

    async def drop(self, entries: Sequence[Entry], error: str) -> int:
        """Note that they are not told at all, and why."""
        return await self._settle(
            entries, state=State.DROPPED, counts=False, last_error=error[:_LONGEST_ERROR]
        )

    # --- what is known of it

    async def told_since(
        self, channel: Channel, recipient: str, since: datetime
    ) -> list[tuple[datetime, str, str]]:
        """Return what a recipient was told since: when, of which task, together with what."""
        asked = sa.select(OUTBOX.c.settled_at, OUTBOX.c.task_uid, OUTBOX.c.batch).where(
            OUTBOX.c.channel == channel,
            OUTBOX.c.recipient == recipient,
            OUTBOX.c.settled_at > since,
            OUTBOX.c.state.in_([State.SENT, State.LOGGED]),
        )
        async with self._database.reading() as connection:
            found = await connection.execute(asked)
            return [(row.settled_at, row.task_uid, row.batch or "") for row in found]

    async def page(
        self,
        channel: Channel,
        *,
        owner: str | None = None,
        task: str | None = None,
        recipient: str | None = None,
        states: Collection[State] = (),
        behind: Place | None = None,
        limit: int,
    ) -> list[Entry]:
        """Return rows, the newest first.

        Args:
            channel: Of this channel.
            owner: Of this owner's tasks alone; None for anybody's.
            task: Of tasks of this name alone.
            recipient: For this recipient alone.
            states: In one of these states.
            behind: Behind this place.
            limit: How many at the most.
        """
        asked = sa.select(*_ENTRY).where(OUTBOX.c.channel == channel)
        for column, value in (
            (OUTBOX.c.owner, owner),
            (OUTBOX.c.task_name, task),
            (OUTBOX.c.recipient, recipient),
        ):
            if value is not None:
                asked = asked.where(column == value)
        if states:
            asked = asked.where(OUTBOX.c.state.in_(list(states)))
        if behind is not None:
            moment, entry_id = behind
            place = sa.tuple_(sa.literal(moment, OUTBOX.c.created_at.type), sa.literal(entry_id))
            asked = asked.where(sa.tuple_(OUTBOX.c.created_at, OUTBOX.c.id) < place)
        asked = asked.order_by(OUTBOX.c.created_at.desc(), OUTBOX.c.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [Entry.of_row(row) for row in await connection.execute(asked)]

    async def prune(self, before: datetime, *, limit: int = _AT_ONCE) -> int:
        """Forget what was noted before then, so much at most; return how much."""
        old = sa.select(OUTBOX.c.id).where(OUTBOX.c.created_at < before)
        old = old.order_by(OUTBOX.c.created_at).limit(limit)
        async with self._database.writing() as connection:
            gone = await connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.id.in_(old)))
        return gone.rowcount

    # --- inside

    async def _settle(self, entries: Sequence[Entry], *, counts: bool, **values: Any) -> int:
        settled: dict[str, Any] = values | {"settled_at": self._clock(), "next_try_at": None}
        if counts:
            settled["tries"] = OUTBOX.c.tries + 1
        return await self._change(entries, settled)

    async def _release(self, entries: Sequence[Entry], at: datetime, **values: Any) -> int:
        return await self._change(entries, values | {"next_try_at": at})

    async def _change(self, entries: Sequence[Entry], values: dict[str, Any]) -> int:
        holders = {entry.taken_by for entry in entries}
        changed = (
            sa.update(OUTBOX)
            .where(
                OUTBOX.c.id.in_([entry.id for entry in entries]),
                OUTBOX.c.taken_by.in_([holder for holder in holders if holder]),
            )
            .values(values | {"taken_until": None, "taken_by": None})
        )
        async with self._database.writing() as connection:
            return (await connection.execute(changed)).rowcount


def _insert(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> sa.Executable:
    made: postgresql.Insert | sqlite.Insert
    if connection.dialect.name == "postgresql":
        made = postgresql.insert(OUTBOX)
    else:
        made = sqlite.insert(OUTBOX)
    unique = ["event_id", "channel", "recipient"]
    return made.values(list(rows)).on_conflict_do_nothing(index_elements=unique)


def _due(channel: Channel, now: datetime) -> sa.Select[Any]:
    return (
        sa.select(OUTBOX.c.id)
        .where(
            OUTBOX.c.channel == channel,
            _IS_PENDING,
            OUTBOX.c.next_try_at <= now,
            sa.or_(OUTBOX.c.taken_until.is_(None), OUTBOX.c.taken_until <= now),
        )
        .order_by(OUTBOX.c.next_try_at, OUTBOX.c.id)
    )


async def _taken(
    connection: AsyncConnection, ids: Sequence[str], now: datetime, for_seconds: float
) -> list[Entry]:
    """Take rows, and return them in the order of what happened."""
    # Whoever had one and never said what became of it may have died of it: that was a try.
    died = sa.case((OUTBOX.c.taken_by.is_not(None), 1), else_=0)
    taken = (
        sa.update(OUTBOX)
        .where(OUTBOX.c.id.in_(ids))
        .values(
            taken_by=uuid.uuid4().hex,
            taken_until=now + timedelta(seconds=for_seconds),
            tries=OUTBOX.c.tries + died,
        )
        .returning(*_ENTRY)
    )
    found = [Entry.of_row(row) for row in await connection.execute(taken)]
    return sorted(found, key=lambda entry: (entry.created_at, entry.task_uid, entry.sequence))

"""Who wants to be told what happens to tasks, as the database keeps it."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Self

import sqlalchemy as sa

from longtask_api.database.engine import Database
from longtask_api.database.tables import OUTBOX, SUBSCRIPTIONS, USERS
from longtask_api.stores.ledger import Channel, State

#: What nothing happens to any more.
SETTLED: Final = (State.SENT, State.GIVEN_UP, State.DROPPED)


@dataclasses.dataclass(frozen=True)
class Subscription:
    """A receiver of what happens to tasks."""

    id: str
    owner: str  #: whose it is, and whose key signs; empty for the installation
    is_local: bool  #: they are a user of LongTask's own
    scope: str  #: `own`, or `all`
    url: str
    events: tuple[str, ...]
    filter: dict[str, Any]
    format: str
    description: str | None
    paused: bool
    paused_reason: str | None
    created_at: datetime
    since: datetime  #: what happened before is no news

    @classmethod
    def of_row(cls, row: sa.Row[Any]) -> Self:
        """Read a row."""
        found = dict(row._mapping)
        events, chosen = tuple(found["events"].split(",")), json.loads(found["filter"])
        return cls(**found | {"events": events, "filter": chosen})

    def row(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return dataclasses.asdict(self) | _stored(events=self.events, filter=self.filter)


#: Where a list goes on: when the last one shown was made, and its id.
Place = tuple[datetime, str]

_COLUMNS: Final = [SUBSCRIPTIONS.c[field.name] for field in dataclasses.fields(Subscription)]
#: Its owner still may hear what it tells: is let in, and sees everybody's tasks if it does.
_IS_ENTITLED: Final = sa.or_(
    ~SUBSCRIPTIONS.c.is_local,
    sa.exists().where(
        USERS.c.username == SUBSCRIPTIONS.c.owner,
        USERS.c.deleted_at.is_(None),
        USERS.c.disabled_at.is_(None),
        USERS.c.role != "viewer",
        sa.or_(SUBSCRIPTIONS.c.scope == "own", USERS.c.role == "admin"),
    ),
)


class Subscriptions:
    """The subscriptions. All of it raises DatabaseAway while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, made: Subscription, *, most: int) -> bool:
        """Store one, if its owner has fewer; tell whether it was stored."""
        count = (
            sa.select(sa.func.count())
            .select_from(SUBSCRIPTIONS)
            .where(SUBSCRIPTIONS.c.owner == made.owner)
        )
        async with self._database.writing() as connection:
            if (await connection.execute(count)).scalar_one() >= most:
                return False
            await connection.execute(sa.insert(SUBSCRIPTIONS).values(made.row()))
        return True

    async def find(self, subscription_id: str) -> Subscription | None:
        """Return the one of that id, or None."""
        asked = sa.select(*_COLUMNS).where(SUBSCRIPTIONS.c.id == subscription_id)
        return await self._one(asked)

    async def find_to_tell(self, subscription_id: str) -> Subscription | None:
        """Return the one of that id if it is to be told anything, or None."""
        is_told = (~SUBSCRIPTIONS.c.paused, _IS_ENTITLED)
        asked = sa.select(*_COLUMNS).where(SUBSCRIPTIONS.c.id == subscription_id, *is_told)
        return await self._one(asked)

    async def to_tell(self) -> list[Subscription]:
        """Return all that are to be told anything."""
        asked = sa.select(*_COLUMNS).where(~SUBSCRIPTIONS.c.paused, _IS_ENTITLED)
        async with self._database.reading() as connection:
            return [Subscription.of_row(row) for row in await connection.execute(asked)]

    async def page(
        self, *, owner: str | None, behind: Place | None, limit: int
    ) -> list[Subscription]:
        """Return them, the newest first.

        Args:
            owner: Only this owner's; everybody's when None.
            behind: Behind this place.
            limit: How many at the most.
        """
        columns = (SUBSCRIPTIONS.c.created_at, SUBSCRIPTIONS.c.id)
        asked = sa.select(*_COLUMNS).order_by(*(column.desc() for column in columns)).limit(limit)
        if owner is not None:
            asked = asked.where(SUBSCRIPTIONS.c.owner == owner)
        if behind is not None:
            at, last = behind
            place = sa.tuple_(sa.literal(at, columns[0].type), sa.literal(last))
            asked = asked.where(sa.tuple_(*columns) < place)
        async with self._database.reading() as connection:
            return [Subscription.of_row(row) for row in await connection.execute(asked)]

    async def change(self, subscription_id: str, **values: Any) -> Subscription | None:
        """Set fields of one; return how it is then, or None if there is none."""
        changed = (
            sa.update(SUBSCRIPTIONS)
            .where(SUBSCRIPTIONS.c.id == subscription_id)
            .values(_stored(**values))
            .returning(*_COLUMNS)
        )
        async with self._database.writing() as connection:
            row = (await connection.execute(changed)).one_or_none()
        return None if row is None else Subscription.of_row(row)

    async def remove(self, subscription_id: str) -> bool:
        """Forget one with its deliveries; tell whether there was one."""
        gone = sa.delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.id == subscription_id)
        theirs = sa.delete(OUTBOX).where(
            OUTBOX.c.channel == Channel.WEBHOOK, OUTBOX.c.recipient == subscription_id
        )
        async with self._database.writing() as connection:
            done = await connection.execute(gone)
            await connection.execute(theirs)
        return bool(done.rowcount)

    async def reopen(
        self,
        subscription_id: str,
        *,
        at: datetime,
        ids: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        states: Sequence[State] = SETTLED,
    ) -> int:
        """Have deliveries that are over made once more from the start; return how many.

        Args:
            subscription_id: To whom.
            at: When they are due.
            ids: Only these.
            since: Only those noted then or later.
            until: Only those noted before.
            states: Only those that stand so.
        """
        again = sa.update(OUTBOX).where(
            OUTBOX.c.channel == Channel.WEBHOOK,
            OUTBOX.c.recipient == subscription_id,
            OUTBOX.c.state.in_([state for state in states if state in SETTLED]),
        )
        if ids is not None:
            again = again.where(OUTBOX.c.id.in_(list(ids)))
        if since is not None:
            again = again.where(OUTBOX.c.created_at >= since)
        if until is not None:
            again = again.where(OUTBOX.c.created_at < until)
        values = {"state": State.PENDING, "tries": 0, "next_try_at": at, "settled_at": None}
        async with self._database.writing() as connection:
            return (await connection.execute(again.values(values))).rowcount

    async def _one(self, asked: sa.Select[Any]) -> Subscription | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else Subscription.of_row(row)


def _stored(**values: Any) -> dict[str, Any]:
    if "events" in values:
        values["events"] = ",".join(values["events"])
    if "filter" in values:
        values["filter"] = json.dumps(values["filter"])
    return values

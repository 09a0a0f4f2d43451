"""Who did what, as the database keeps it. Rows are added and, when their time is over, removed."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from longtask_api.database.engine import Database
from longtask_api.database.tables import AUDIT


@dataclasses.dataclass(frozen=True)
class Entry:
    """An act of somebody's."""

    id: str
    at: datetime
    door: str
    act: str
    actor: str
    subject: str
    outcome: str
    via: str | None = None
    target: str | None = None
    target_uid: str | None = None
    status: int | None = None
    request_id: str | None = None
    address: str | None = None
    detail: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which acts are looked for; what is None does not matter."""

    actor: str | None = None  #: by what people call them, or by their subject
    act: str | None = None
    target: str | None = None
    since: datetime | None = None  #: then or later
    until: datetime | None = None  #: before


_ENTRY: Final = [AUDIT.c[field.name] for field in dataclasses.fields(Entry)]


class Audit:
    """The acts. All of it raises DatabaseAway while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entries: Sequence[Entry]) -> None:
        """Store acts; one whose id is there already is the same."""
        if not entries:
            return
        rows = [dataclasses.asdict(one) | {"detail": json.dumps(one.detail)} for one in entries]
        async with self._database.writing() as connection:
            is_shared = connection.dialect.name == "postgresql"
            made: Any = (postgresql if is_shared else sqlite).insert(AUDIT)
            await connection.execute(made.on_conflict_do_nothing(index_elements=["id"]), rows)

    async def page(
        self, wanted: Wanted, *, after: tuple[datetime, str] | None, limit: int
    ) -> list[Entry]:
        """Return acts, the newest first, behind one of them."""
        asked = sa.select(*_ENTRY).order_by(AUDIT.c.at.desc(), AUDIT.c.id.desc()).limit(limit)
        if wanted.actor is not None:
            is_theirs = (AUDIT.c.actor == wanted.actor, AUDIT.c.subject == wanted.actor)
            asked = asked.where(sa.or_(*is_theirs))
        if wanted.act is not None:
            asked = asked.where(AUDIT.c.act == wanted.act)
        if wanted.target is not None:
            asked = asked.where(AUDIT.c.target == wanted.target)
        if wanted.since is not None:
            asked = asked.where(AUDIT.c.at >= wanted.since)
        if wanted.until is not None:
            asked = asked.where(AUDIT.c.at < wanted.until)
        if after is not None:
            at, last = after
            behind = sa.and_(AUDIT.c.at == at, AUDIT.c.id < last)
            asked = asked.where(sa.or_(AUDIT.c.at < at, behind))
        async with self._database.reading() as connection:
            found = (await connection.execute(asked)).mappings()
            return [Entry(**dict(row) | {"detail": json.loads(row["detail"])}) for row in found]

    async def remove(self, *, before: datetime, limit: int) -> int:
        """Forget acts of before that time, so many at most; return how many."""
        old = sa.select(AUDIT.c.id).where(AUDIT.c.at < before).order_by(AUDIT.c.at).limit(limit)
        async with self._database.writing() as connection:
            done = await connection.execute(sa.delete(AUDIT).where(AUDIT.c.id.in_(old)))
        return done.rowcount

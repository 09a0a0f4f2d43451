"""The archive: the records of finished tasks whose resources are gone, or are about to go.

A row is a task as its resource said it, found by its uid. It is read as the resource is, so nobody
has to know which of the two was there.
"""

import enum
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from longtask_adapters.kube import deep_json, kinds
from longtask_api.database.engine import Database
from longtask_api.database.tables import ARCHIVE, ARCHIVE_LABELS
from longtask_api.stores import ends
from longtask_api.stores.catalogue import Age, Record
from longtask_api.stores.filters import Filter, words
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey

#: So many rows of the wanted type, owner, queue or phase are searched for one page, at the most:
#: some hundredths of a second, whatever is looked for and however much there is.
MOST_LOOKS: Final = 20_000

_AGE: Final = (
    ARCHIVE.c.created_at,
    ARCHIVE.c.namespace,
    ARCHIVE.c.name,
    ARCHIVE.c.task_uid,
)


class Anybody(enum.Enum):
    """Whose tasks are meant, where it does not matter."""

    ANYBODY = enum.auto()


class Archive:
    """The archived tasks. All of it raises DatabaseAway while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, task: v1alpha1.LongTask, *, queue: str, at: datetime) -> None:
        """Store a finished task, whole; one that is there already is brought up to date.

        Args:
            task: The task.
            queue: The queue that it came through, which its status may not say.
            at: Now.
        """
        status = task.status.model_copy(update={"queue": task.status.queue or queue})
        task = task.model_copy(update={"status": status})
        row = row_of(task, at)
        labels = [
            {"task_uid": task.metadata.uid, "key": key, "value": value}
            for key, value in task.metadata.labels.items()
        ]
        async with self._database.writing() as connection:
            await connection.execute(_upsert(connection, row))
            if labels:
                of_task = ARCHIVE_LABELS.c.task_uid == task.metadata.uid
                await connection.execute(sa.delete(ARCHIVE_LABELS).where(of_task))
                await connection.execute(sa.insert(ARCHIVE_LABELS), labels)

    async def find(
        self, key: ObjectKey, *, owner: str | Anybody | None = Anybody.ANYBODY
    ) -> v1alpha1.LongTask | None:
        """Return the task of that name, whole, or None; if the name came again, the newest.

        Args:
            key: The name.
            owner: Whose alone is meant; None for those that have no owner.
        """
        asked = (
            sa.select(ARCHIVE.c.document, ARCHIVE.c.spec)
            .where(ARCHIVE.c.namespace == key.namespace, ARCHIVE.c.name == key.name)
            .order_by(ARCHIVE.c.created_at.desc(), ARCHIVE.c.archived_at.desc())
            .limit(1)
        )
        if owner is not Anybody.ANYBODY:
            asked = asked.where(ARCHIVE.c.owner == owner)
        async with self._database.reading() as connection:
            row = (await connection.execute(asked)).one_or_none()
        return None if row is None else _whole(row.document, row.spec)

    async def page(
        self,
        wanted: Filter,
        *,
        owner: str | None,
        low: Age | None,
        high: Age | None,
        newest_first: bool,
        limit: int,
        most_looks: int = MOST_LOOKS,
    ) -> tuple[list[v1alpha1.LongTask], Age | None]:
        """Return the tasks that match, without their inputs, and how far it has looked.

        Args:
            wanted: What they must be like.
            owner: Whose alone may be seen; None for all.
            low: Behind this age,
            high: and before this one.
            newest_first: In which order.
            limit: How many at the most.
            most_looks: How many rows are searched at the most.

        Returns:
            The tasks, and the age of the last one that was looked at; None if that was all.
        """
        looked = _in_order(_candidates(wanted, owner, low, high), newest_first).limit(most_looks)
        async with self._database.reading() as connection:
            ages = await _matching(connection, looked, wanted, newest_first, limit)
            tasks = await _tasks(connection, [age[2] for age in ages])
            if len(ages) == limit:
                return tasks, ages[-1]
            end = None
            if _is_search(wanted):
                asked = looked.with_only_columns(*_AGE).offset(most_looks - 1).limit(1)
                last = (await connection.execute(asked)).one_or_none()
                end = None if last is None else _age(last)
        return tasks, end

    async def remove(self, *uids: str) -> int:
        """Forget tasks; return how many were there."""
        async with self._database.writing() as connection:
            done = await connection.execute(sa.delete(ARCHIVE).where(ARCHIVE.c.task_uid.in_(uids)))
        return done.rowcount

    async def older_than(self, moment: datetime, *, after: str, limit: int) -> list[str]:
        """Return the uids of tasks that were archived before then, in order, behind a uid."""
        asked = (
            sa.select(ARCHIVE.c.task_uid)
            .where(ARCHIVE.c.archived_at < moment, ARCHIVE.c.task_uid > after)
            .order_by(ARCHIVE.c.task_uid)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(asked)).scalars())


# --- rows


def row_of(task: v1alpha1.LongTask, at: datetime) -> Mapping[str, Any]:
    """Return the row of a task that is archived at that time."""
    record = Record.of(task)
    return {
        "task_uid": record.uid,
        "namespace": record.key.namespace,
        "name": record.key.name,
        "owner": record.owner,
        "type": record.type,
        "queue": record.came_through,
        "schedule": record.schedule,
        "phase": str(record.phase),
        "words": _storable(words(record.key.name, record.message)),
        "created_at": task.metadata.created_at,
        "archived_at": at,
        "document": _text(kinds.without_inputs(task)),
        "spec": _spec_text(task),
        **ends.columns_of(task),
    }


def _text(model: v1alpha1.Model) -> str:
    # In ASCII: no database minds what is in it.
    return json.dumps(model.to_json(), separators=(",", ":"))


def _spec_text(task: v1alpha1.LongTask) -> str:
    try:
        return _text(task.spec)
    except (ValueError, RecursionError):
        # An input that is too deep for any program was refused: all else is kept.
        return _text(kinds.without_inputs(task).spec)


def _whole(document: str, spec: str) -> v1alpha1.LongTask:
    task = v1alpha1.LongTask.model_validate_json(document)
    whole = v1alpha1.LongTaskSpec.model_validate(deep_json.loads(spec.encode()))
    return task.model_copy(update={"spec": whole})


def _upsert(connection: AsyncConnection, row: Mapping[str, Any]) -> sa.Executable:
    made: postgresql.Insert | sqlite.Insert
    if connection.dialect.name == "postgresql":
        made = postgresql.insert(ARCHIVE)
    else:
        made = sqlite.insert(ARCHIVE)
    return made.values(row).on_conflict_do_update(index_elements=["task_uid"], set_=row)


# --- lists


def _candidates(
    wanted: Filter, owner: str | None, low: Age | None, high: Age | None
) -> sa.Select[Any]:
    """Return what indexes find: all that matches but for labels and text, and for the order."""
    asked = sa.select(*_AGE, ARCHIVE.c.words)
    for column, value in (
        (ARCHIVE.c.owner, owner),
        (ARCHIVE.c.owner, wanted.owner),
        (ARCHIVE.c.type, wanted.type),
        (ARCHIVE.c.queue, wanted.queue),
        (ARCHIVE.c.schedule, wanted.schedule),
    ):
        if value is not None:
            asked = asked.where(column == _storable(value))
    if wanted.phases:
        asked = asked.where(ARCHIVE.c.phase.in_([str(phase) for phase in wanted.phases]))
    if low is not None:
        asked = asked.where(sa.tuple_(*_AGE) > _literal(low))
    if high is not None:
        asked = asked.where(sa.tuple_(*_AGE) < _literal(high))
    return asked


def _in_order(asked: sa.Select[Any], newest_first: bool) -> sa.Select[Any]:
    return asked.order_by(*(column.desc() if newest_first else column for column in _AGE))


def _is_search(wanted: Filter) -> bool:
    """Tell whether no index finds what is wanted: row after row is looked at."""
    return wanted.text is not None or bool(wanted.searched_labels)


async def _matching(
    connection: AsyncConnection,
    looked: sa.Select[Any],
    wanted: Filter,
    newest_first: bool,
    limit: int,
) -> list[Age]:
    """Return the ages of the first that match, of those that are looked at."""
    if not _is_search(wanted):
        asked = looked.limit(limit)
    else:
        seen = looked.subquery()
        columns = [seen.c[column.name] for column in _AGE]
        asked = sa.select(*columns)
        if wanted.text is not None:
            needle = _storable(wanted.text.casefold())
            asked = asked.where(seen.c.words.contains(needle, autoescape=True))
        for key, value in wanted.searched_labels:
            label = sa.select(1).where(
                ARCHIVE_LABELS.c.task_uid == seen.c.task_uid,
                ARCHIVE_LABELS.c.key == key,
                ARCHIVE_LABELS.c.value == value,
            )
            asked = asked.where(label.exists())
        asked = asked.order_by(*(c.desc() if newest_first else c for c in columns)).limit(limit)
    return [_age(row) for row in await connection.execute(asked)]


async def _tasks(connection: AsyncConnection, uids: Collection[str]) -> list[v1alpha1.LongTask]:
    """Return the tasks of these uids, in their order."""
    asked = sa.select(ARCHIVE.c.task_uid, ARCHIVE.c.document).where(ARCHIVE.c.task_uid.in_(uids))
    found = {row.task_uid: row.document for row in await connection.execute(asked)}
    return [v1alpha1.LongTask.model_validate_json(found[uid]) for uid in uids if uid in found]


def _age(row: Any) -> Age:
    return int(row.created_at.timestamp()), ObjectKey(row.namespace, row.name), row.task_uid


def _literal(age: Age) -> sa.Tuple:
    created, key, uid = age
    moment = datetime.fromtimestamp(created, UTC)
    values = (moment, key.namespace, key.name, uid)
    return sa.tuple_(*(sa.literal(v, c.type) for v, c in zip(values, _AGE, strict=True)))


def _storable(text: str) -> str:
    """Return the text without what PostgreSQL cannot store: NUL, and halves of characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()

"""How tasks ended, counted by a real database of each kind."""

import contextlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from longtask_api.database import migrations, tables
from longtask_api.database.engine import Database
from longtask_api.stores import ends
from longtask_api.stores.archive import Archive, row_of
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_condition, a_task, with_meta, with_status

PHASES = tuple(phase for phase in v1alpha1.Phase if phase.is_terminal)


def some(count: int) -> list[v1alpha1.LongTask]:
    """Return tasks that ended in all manners within two days, some of which do not say when."""
    dice, made = random.Random(7), []
    for number in range(count):
        phase = dice.choice(PHASES)
        word = dice.choice((v1alpha1.Reason.PROGRAM_FAILED, v1alpha1.Reason.COMPLETED))
        queued = NOW - timedelta(seconds=dice.randrange(200_000))
        started = queued + timedelta(seconds=dice.choice((-5, 0, 59, 61, 3_599, 90_000)))
        ended = started + timedelta(seconds=dice.choice((0, 60, 604, 86_399, 200_000)))
        spec: dict[str, Any] = {"type": dice.choice(("a", "b"))}
        if number % 5 == 0:
            spec = {"type": None, "container": v1alpha1.Container(image="i")}
        elif number % 5 == 1:
            spec = {"type": None, "steps": [v1alpha1.Step(name="a", type="t")]}
        task = with_status(
            a_task(f"task-{number}", uid=f"uid-{number}", **spec),
            phase=phase,
            conditions=[FINISHED, a_condition(v1alpha1.ConditionType.SUCCEEDED, reason=word)],
            queued_at=None if number % 7 == 0 else queued,
            started_at=None if number % 11 == 0 else started,
            finished_at=None if number % 13 == 0 else ended,
        )
        labels = {names.OWNER_LABEL: dice.choice(("ada", "eve"))}
        made.append(with_meta(task, creation_timestamp=queued, labels=labels))
    return made


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(database_url)) as made:
        yield made


@pytest.mark.parametrize("owner", [None, "ada", "nobody"])
async def test_a_database_counts_as_we_do(database: Database, owner: str | None) -> None:
    tasks, archive = some(300), Archive(database)
    for task in tasks:
        await archive.put(task, queue="default", at=NOW)
    span = ends.Span(int(NOW.timestamp()) - 150_000, int(NOW.timestamp()) + 50_000, 48)
    wanted, counted = ends.Tally(), ends.Tally()
    for task in tasks:
        end = ends.End.of(task)
        if end is not None and owner in (None, task.metadata.labels[names.OWNER_LABEL]):
            wanted.add(end, span)
    await ends.Ends(database).count(counted, span, owner=owner)
    assert counted == wanted
    assert bool(counted.kinds) is (owner != "nobody")


async def test_what_was_archived_before_is_counted_too(
    database_url: str, database: Database
) -> None:
    tasks = some(60)
    new = set(ends.columns_of(tasks[0]))
    async with (
        contextlib.aclosing(Database.at(database_url)) as older,
        older.transaction(within=None) as connection,
    ):
        await connection.run_sync(migrations.upgrade, to="0006")
        for task in tasks:
            row = {key: value for key, value in row_of(task, NOW).items() if key not in new}
            columns = [column for column in tables.ARCHIVE.columns if column.name in row]
            then = sa.table("archive", *(sa.column(one.name, one.type) for one in columns))
            await connection.execute(sa.insert(then).values(row))
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(tables.ARCHIVE))).mappings().all()
    found = {row["task_uid"]: {key: row[key] for key in new} for row in rows}
    assert found == {task.metadata.uid: dict(ends.columns_of(task)) for task in tasks}

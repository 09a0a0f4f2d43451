"""The database's foundation, on a real server of each kind."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import postgres_support
from longtask_api import errors
from longtask_api.database import migrations, tables
from longtask_api.database.engine import Database
from longtask_crds.testing import NOW

#: Says that it stands at the line, waits for the word, and migrates.
RACER = """
import asyncio, contextlib, sys
from longtask_api.database.engine import Database

async def main():
    async with contextlib.aclosing(Database.at(sys.argv[1])) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        await database.prepare()

asyncio.run(main())
"""
A_BLOB = {
    "id": "a",
    "task_uid": "u",
    "kind": "result",
    "attempt": 1,
    "media_type": "text/plain",
    "created_at": NOW,
}
#: What a migration may look into.
A_DOCUMENT = json.dumps(
    {
        "metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"},
        "status": {
            "startedAt": "2026-01-02T03:05:05Z",
            "finishedAt": "2026-01-02T03:06:05Z",
            "conditions": [{"type": "Succeeded", "reason": "Completed"}],
        },
    }
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(database_url)) as made:
        yield made


async def differences(database: Database) -> list[object]:
    """Return how the tables differ from what the code thinks of them."""

    def compare(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), tables.METADATA))

    async with database.reading() as connection:
        return await connection.run_sync(compare)


async def nothing(database: Database) -> None:
    async with database.transaction(within=None) as connection:
        await connection.execute(sa.text("SELECT 1"))


async def count(database: Database, table: sa.Table) -> int:
    async with database.reading() as connection:
        return (
            await connection.execute(sa.select(sa.func.count()).select_from(table))
        ).scalar_one()


def a_value(column: sa.Column[Any]) -> object:
    """Return what a column of any table may hold; where it names another row, that one's value."""
    for key in column.foreign_keys:
        return a_value(key.column)
    length = getattr(column.type, "length", None)
    if column.type.python_type is str:
        return A_DOCUMENT if length is None else column.name[:length]
    return {int: 2**31 - 1, bool: True, datetime: NOW, bytes: b"\0\xff"}[column.type.python_type]


def filled(connection: sa.Connection) -> list[sa.Table]:
    """Put a row into each table that is there, whatever it is like; return the tables."""
    there = sa.MetaData()
    there.reflect(connection)
    found = [table for table in there.sorted_tables if table.name != "alembic_version"]
    for table in found:
        row = {column.name: a_value(column) for column in table.columns}
        connection.execute(sa.insert(table).values(row))
    return found


def held(connection: sa.Connection, found: list[sa.Table]) -> dict[str, list[Any]]:
    """Return what the tables hold, in the columns that they had."""
    return {table.name: [*connection.execute(sa.select(table)).mappings()] for table in found}


@pytest.mark.parametrize("revision", migrations.revisions())
async def test_each_released_revision_becomes_what_the_code_says_and_keeps_what_it_holds(
    database_url: str, database: Database, revision: str
) -> None:
    async with (
        contextlib.aclosing(Database.at(database_url)) as older,
        older.transaction(within=None) as connection,
    ):
        await connection.run_sync(migrations.upgrade, to=revision)
        found = await connection.run_sync(filled)
        before = await connection.run_sync(held, found)
    assert before
    assert all(len(rows) == 1 for rows in before.values())
    await database.prepare()
    assert await differences(database) == []
    async with database.reading() as connection:
        assert await connection.run_sync(held, found) == before


async def test_an_empty_database_becomes_what_the_code_says(database: Database) -> None:
    await database.prepare()
    assert await differences(database) == []


async def test_what_is_there_stays(database_url: str, database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.insert(tables.BLOBS).values(A_BLOB))
    async with (
        contextlib.aclosing(Database.at(database_url)) as again,
        again.reading() as connection,
    ):
        found = (await connection.execute(sa.select(tables.BLOBS))).mappings().one()
    assert found["created_at"] == NOW


async def test_a_newer_database_is_refused_and_left_alone(
    database_url: str, database: Database
) -> None:
    newer = sa.text("update alembic_version set version_num = '9999'")
    async with database.writing() as connection:
        await connection.execute(newer)
    newest = f"newest is {migrations.revisions()[0]}"
    async with contextlib.aclosing(Database.at(database_url)) as older:
        with pytest.raises(migrations.NewerDatabase, match=rf"revision 9999.* {newest}"):
            await older.prepare()
        with pytest.raises(errors.DatabaseAway):
            async with older.reading():
                raise AssertionError("nothing is read from it")
    assert await differences(database) == []


async def test_processes_that_start_at_once_migrate_once(
    database_url: str, database: Database
) -> None:
    racers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RACER, database_url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert await racer.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*(racer.communicate(b"\n") for racer in racers))
    assert [(racer.returncode, told[1]) for racer, told in zip(racers, ended, strict=True)] == [
        (0, b"")
    ] * 2
    assert await differences(database) == []


async def test_what_fails_leaves_nothing(database: Database) -> None:
    async def write_twice() -> None:
        async with database.writing() as connection:
            await connection.execute(sa.insert(tables.BLOBS).values(A_BLOB))
            await connection.execute(sa.insert(tables.BLOBS).values(A_BLOB))

    with pytest.raises(sa.exc.IntegrityError):
        await write_twice()
    assert await count(database, tables.BLOBS) == 0


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["nul", "half"])
async def test_a_text_that_no_database_takes_is_no_sign_of_its_being_away(
    database_url: str, database: Database, text: str
) -> None:
    if database_url.startswith("sqlite") and "\0" in text:
        pytest.skip("SQLite takes it")
    with pytest.raises((sa.exc.DBAPIError, ValueError)):
        async with database.writing() as connection:
            await connection.execute(sa.insert(tables.BLOBS).values(A_BLOB | {"task_uid": text}))


async def test_what_belongs_to_a_row_goes_with_it(database: Database) -> None:
    chunk = {"blob_id": "a", "start": 0, "content": b"x"}
    async with database.writing() as connection:
        await connection.execute(sa.insert(tables.BLOBS).values(A_BLOB))
        await connection.execute(sa.insert(tables.CHUNKS).values(chunk))
    async with database.writing() as connection:
        await connection.execute(sa.delete(tables.BLOBS))
    assert await count(database, tables.CHUNKS) == 0


async def test_many_write_at_once(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.writing() as connection:
            await connection.execute(sa.select(sa.func.count()).select_from(tables.BLOBS))
            blob = A_BLOB | {"id": str(number), "attempt": number}
            await connection.execute(sa.insert(tables.BLOBS).values(blob))

    await asyncio.gather(*(write(number) for number in range(100)))
    assert await count(database, tables.BLOBS) == 100


async def test_a_server_that_comes_back_is_used_again(
    postgresql: postgres_support.Server,
) -> None:
    async with contextlib.aclosing(Database.at(postgresql.new_database())) as database:
        assert await count(database, tables.BLOBS) == 0
        postgresql.stop()
        try:
            with pytest.raises(errors.DatabaseAway):
                await count(database, tables.BLOBS)
        finally:
            postgresql.start()
        assert await count(database, tables.BLOBS) == 0


async def test_a_server_that_comes_late_is_prepared_then(
    postgresql: postgres_support.Server,
) -> None:
    async with contextlib.aclosing(Database.at(postgresql.new_database())) as database:
        postgresql.stop()
        try:
            for _ in range(2):
                with pytest.raises(errors.DatabaseAway):
                    await database.prepare()
        finally:
            postgresql.start()
        assert await count(database, tables.BLOBS) == 0


async def test_a_frozen_server_is_waited_for_so_long_and_no_longer(
    postgresql: postgres_support.Server,
) -> None:
    async with contextlib.aclosing(
        Database.at(postgresql.new_database(), transaction_seconds=5)
    ) as database:
        await database.prepare()  # which may take longer
        assert await count(database, tables.BLOBS) == 0
        async with database.reading() as connection:
            backend = (await connection.execute(sa.text("select pg_backend_pid()"))).scalar_one()
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(errors.DatabaseAway):
                await count(database, tables.BLOBS)
        finally:
            os.kill(backend, signal.SIGCONT)
        assert await count(database, tables.BLOBS) == 0


async def test_a_file_that_cannot_be_made_is_a_database_that_is_away() -> None:
    async with contextlib.aclosing(Database.at("sqlite:////nowhere/longtask.db")) as database:
        with pytest.raises(errors.DatabaseAway):
            await database.prepare()


@pytest.mark.parametrize("steps", range(1, 40, 3))
async def test_of_those_cut_off_no_thread_is_left(
    database_url: str, database: Database, steps: int
) -> None:
    await database.prepare()
    before = set(threading.enumerate())
    async with contextlib.aclosing(Database.at(database_url)) as another:
        users = [asyncio.create_task(nothing(another)) for _ in range(2)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for user in users:
            user.cancel()
        await asyncio.gather(*users, return_exceptions=True)
    left = set(threading.enumerate()) - before
    assert [thread.name for thread in left if thread.is_alive() and "worker" in thread.name] == []

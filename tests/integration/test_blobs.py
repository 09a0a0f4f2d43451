"""What attempts leave behind, in a real database of each kind."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from clock_support import Clock
from longtask_api.database import tables
from longtask_api.database.engine import Database
from longtask_api.stores.blobs import CHUNK_BYTES, Blob, Blobs, Kind

#: Bytes that differ from piece to piece, and do not fill the last one.
LARGE = b"".join(b"%08d" % number for number in range(5 * CHUNK_BYTES // 16))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(database_url)) as made:
        yield made


@pytest.fixture
def blobs(database: Database, clock: Clock) -> Blobs:
    return Blobs(database, clock=clock)


async def store(
    blobs: Blobs, content: bytes, *, task: str = "u", kind: Kind = Kind.RESULT, attempt: int = 1
) -> Blob:
    upload = await blobs.begin(task, kind, attempt)
    for start in range(0, len(content), 300_000):
        await upload.add(content[start : start + 300_000])
    return await upload.finish("text/plain")


async def read(blobs: Blobs, blob: Blob, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.read(blob, start, end)])


async def rows(database: Database) -> tuple[int, int]:
    """Return how many blobs and how many pieces there are."""
    async with database.reading() as connection:
        counts = [
            (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
            for table in (tables.BLOBS, tables.CHUNKS)
        ]
    return counts[0], counts[1]


@pytest.mark.parametrize("content", [b"", b"x", LARGE[:CHUNK_BYTES], LARGE])
async def test_what_is_stored_is_found_and_read(blobs: Blobs, content: bytes) -> None:
    stored = await store(blobs, content)
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert await blobs.find("u", Kind.RESULT, attempt=1) == stored
    assert await blobs.find("u", Kind.RESULT, sha256=stored.sha256) == stored
    assert await read(blobs, stored) == content


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (CHUNK_BYTES - 1, CHUNK_BYTES + 1), (CHUNK_BYTES, 2 * CHUNK_BYTES), (7, len(LARGE))],
)
async def test_a_part_is_read_alone(blobs: Blobs, start: int, end: int) -> None:
    assert await read(blobs, await store(blobs, LARGE), start, end) == LARGE[start:end]


async def test_no_piece_is_larger_than_the_memory_likes(blobs: Blobs) -> None:
    stored = await store(blobs, LARGE)
    assert {len(piece) <= CHUNK_BYTES async for piece in blobs.read(stored)} == {True}


async def test_what_is_not_whole_is_not_there(blobs: Blobs) -> None:
    upload = await blobs.begin("u", Kind.RESULT, 1)
    await upload.add(LARGE)
    assert await blobs.find("u", Kind.RESULT) is None


async def test_each_task_kind_and_attempt_has_its_own(blobs: Blobs) -> None:
    stored = [
        await store(blobs, b"1"),
        await store(blobs, b"1", task="v"),
        await store(blobs, b"1", kind=Kind.LOG),
        await store(blobs, b"1", attempt=2),
    ]
    found = [await blobs.find(b.task_uid, b.kind, attempt=b.attempt) for b in stored]
    assert found == stored
    await blobs.remove("u")
    found = [await blobs.find(b.task_uid, b.kind, attempt=b.attempt) for b in stored]
    assert found == [None, stored[1], None, None]


async def test_the_same_again_is_stored_once(blobs: Blobs, database: Database) -> None:
    first, *others = await asyncio.gather(*(store(blobs, LARGE) for _ in range(4)))
    assert others == [first] * 3
    assert await rows(database) == (1, 3)


async def test_another_is_beside_it_until_one_is_chosen(
    blobs: Blobs, database: Database, clock: Clock
) -> None:
    first = await store(blobs, b"1")
    clock.now += timedelta(seconds=1)
    second = await store(blobs, b"2")
    assert await blobs.find("u", Kind.RESULT) == second
    assert await blobs.find("u", Kind.RESULT, sha256=first.sha256) == first
    await blobs.keep_only(first)
    assert await blobs.find("u", Kind.RESULT) == first
    assert await rows(database) == (1, 1)


async def test_what_is_given_up_leaves_nothing(blobs: Blobs, database: Database) -> None:
    upload = await blobs.begin("u", Kind.RESULT, 1)
    await upload.add(LARGE)
    await upload.give_up()
    assert await rows(database) == (0, 0)


async def test_what_was_left_behind_goes_with_the_next_that_begins_an_hour_later(
    blobs: Blobs, database: Database, clock: Clock
) -> None:
    left = await blobs.begin("u", Kind.RESULT, 1)
    await left.add(LARGE)
    whole = await store(blobs, b"1")
    clock.now += timedelta(minutes=59)
    await store(blobs, b"2", task="v")
    assert (await rows(database))[0] == 3
    clock.now += timedelta(minutes=2)
    await store(blobs, b"3", task="w")
    assert (await rows(database))[0] == 3
    assert await blobs.find("u", Kind.RESULT) == whole


async def test_who_reads_what_is_removed_meanwhile_is_told(blobs: Blobs) -> None:
    stored = await store(blobs, LARGE)
    pieces = blobs.read(stored)
    assert await anext(pieces)
    await blobs.remove("u")
    with pytest.raises(LookupError, match="is gone"):
        await anext(pieces)


async def test_many_upload_and_read_at_once(blobs: Blobs) -> None:
    async def one(number: int) -> bool:
        stored = await store(blobs, LARGE, attempt=number)
        return await read(blobs, stored) == LARGE

    assert await asyncio.gather(*(one(number) for number in range(1, 21))) == [True] * 20

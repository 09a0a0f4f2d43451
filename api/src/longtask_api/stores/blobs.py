"""Bytes of attempts, in the database: results, and tails of logs. None is ever in memory whole."""

import contextlib
import dataclasses
import enum
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import sqlalchemy as sa

from longtask_api.database.engine import Database
from longtask_api.database.tables import ARCHIVE, BLOBS, CHUNKS

#: A piece is read and written at once: small beside the memory, large beside a transaction's cost.
CHUNK_BYTES: Final = 512 * 1024
#: What began earlier and is not whole was given up: no upload may take that long.
_ABANDONED: Final = timedelta(hours=1)


class Kind(enum.StrEnum):
    """What the bytes are to the attempt."""

    RESULT = "result"
    LOG = "log"


@dataclasses.dataclass(frozen=True)
class Blob:
    """Bytes that are whole."""

    id: str
    task_uid: str
    kind: Kind
    run: str  #: the program's name; empty for that of a plain task, and for a pipeline as a whole
    attempt: int
    media_type: str
    size: int
    sha256: str

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """Read a row."""
        return cls(**{field.name: row[field.name] for field in dataclasses.fields(cls)})


class Blobs:
    """All that is kept of all attempts; raises DatabaseAway."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, task_uid: str, kind: Kind, attempt: int, *, run: str = "") -> "Upload":
        """Begin to store bytes of an attempt, beside what it has of that kind."""
        upload = Upload(self._database, task_uid, kind, run, attempt)
        now = self._clock()
        async with self._database.writing() as connection:
            partial = BLOBS.c.sha256.is_(None)
            abandoned = partial & (BLOBS.c.created_at < now - _ABANDONED)
            await connection.execute(sa.delete(BLOBS).where(abandoned))
            await connection.execute(
                sa.insert(BLOBS).values(
                    id=upload.id,
                    task_uid=task_uid,
                    kind=kind,
                    run=run,
                    attempt=attempt,
                    media_type="",
                    created_at=now,
                )
            )
        return upload

    async def put(
        self,
        task_uid: str,
        kind: Kind,
        attempt: int,
        media_type: str,
        content: bytes,
        *,
        run: str = "",
    ) -> None:
        """Store bytes that are at hand and few, in one transaction; the same again changes nothing.

        Args:
            task_uid: The task's.
            kind: What it is.
            attempt: The number of the attempt.
            media_type: What the bytes are.
            content: No more than a piece.
            run: The name of the program.
        """
        blob = {
            "id": uuid.uuid4().hex,
            "task_uid": task_uid,
            "kind": kind,
            "run": run,
            "attempt": attempt,
            "media_type": media_type,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "created_at": self._clock(),
        }
        with contextlib.suppress(sa.exc.IntegrityError):
            async with self._database.writing() as connection:
                await connection.execute(sa.insert(BLOBS).values(blob))
                if content:
                    chunk = {"blob_id": blob["id"], "start": 0, "content": content}
                    await connection.execute(sa.insert(CHUNKS).values(chunk))

    async def find(
        self,
        task_uid: str,
        kind: Kind,
        *,
        run: str | None = None,
        attempt: int | None = None,
        sha256: str | None = None,
    ) -> Blob | None:
        """Return what a task has of a kind, the newest of it; None if nothing.

        Args:
            task_uid: The task's.
            kind: What it is.
            run: Only what this program has.
            attempt: Only what this attempt has.
            sha256: Only what has this sum.
        """
        wanted = (BLOBS.c.task_uid == task_uid) & (BLOBS.c.kind == kind)
        wanted &= BLOBS.c.sha256.is_not(None) if sha256 is None else BLOBS.c.sha256 == sha256
        if run is not None:
            wanted &= BLOBS.c.run == run
        if attempt is not None:
            wanted &= BLOBS.c.attempt == attempt
        newest = sa.select(BLOBS).where(wanted).order_by(BLOBS.c.created_at.desc()).limit(1)
        async with self._database.reading() as connection:
            row = (await connection.execute(newest)).mappings().first()
        return None if row is None else Blob.of(row)

    async def read(
        self, blob: Blob, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `end`, piece by piece.

        Nothing is held between two pieces: who reads may be slow.

        Raises:
            LookupError: It was removed meanwhile.
        """
        end = blob.size if end is None else end
        while start < end:
            # The last piece that begins at or before it.
            piece = (
                sa.select(CHUNKS.c.start, CHUNKS.c.content)
                .where((CHUNKS.c.blob_id == blob.id) & (CHUNKS.c.start <= start))
                .order_by(CHUNKS.c.start.desc())
                .limit(1)
            )
            async with self._database.reading() as connection:
                row = (await connection.execute(piece)).first()
            content = b"" if row is None else row.content[start - row.start : end - row.start]
            if not content:
                raise LookupError(f"the blob {blob.id} is gone")
            yield content
            start += len(content)

    async def keep_only(self, blob: Blob) -> None:
        """Remove what else its attempt has of its kind."""
        same = _of_attempt(blob.task_uid, blob.kind, blob.run, blob.attempt)
        others = same & (BLOBS.c.id != blob.id)
        await self._remove(others)

    async def remove(self, *task_uids: str) -> None:
        """Remove all that tasks have, for good: when their resources and archived records go."""
        await self._remove(BLOBS.c.task_uid.in_(task_uids))

    async def not_archived(self, *, before: datetime, after: str, limit: int) -> list[str]:
        """Return the uids of tasks that have bytes from before then and are not archived.

        Args:
            before: When the bytes came.
            after: Only behind this uid; they come in order.
            limit: How many at the most.
        """
        archived = sa.select(1).where(ARCHIVE.c.task_uid == BLOBS.c.task_uid)
        asked = (
            sa.select(BLOBS.c.task_uid)
            .distinct()
            .where(BLOBS.c.created_at < before, BLOBS.c.task_uid > after, ~archived.exists())
            .order_by(BLOBS.c.task_uid)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list((await connection.execute(asked)).scalars())

    async def _remove(self, which: sa.ColumnElement[bool]) -> None:
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(BLOBS).where(which))


class Upload:
    """Bytes on their way into the database."""

    def __init__(
        self, database: Database, task_uid: str, kind: Kind, run: str, attempt: int
    ) -> None:
        self.id: Final = uuid.uuid4().hex
        self._database = database
        self._of = (task_uid, kind, run, attempt)
        self._sum = hashlib.sha256()
        self._size = 0
        self._pending = bytearray()

    async def add(self, data: bytes) -> None:
        """Take more bytes, few enough for the memory."""
        self._sum.update(data)
        self._size += len(data)
        self._pending += data
        while len(self._pending) >= CHUNK_BYTES:
            await self._store(CHUNK_BYTES)

    async def finish(self, media_type: str) -> Blob:
        """Store the last of it, and say that it is whole; if the same is there already, be that."""
        if self._pending:
            await self._store(len(self._pending))
        blob = Blob(self.id, *self._of, media_type, self._size, self._sum.hexdigest())
        try:
            return await self._settle(blob)
        except sa.exc.IntegrityError:
            # The same came at the same time, and is there now.
            return await self._settle(blob)

    async def _settle(self, blob: Blob) -> Blob:
        same = _of_attempt(*self._of) & (BLOBS.c.sha256 == blob.sha256)
        async with self._database.writing() as connection:
            row = (await connection.execute(sa.select(BLOBS).where(same))).mappings().first()
            if row is not None:
                await connection.execute(sa.delete(BLOBS).where(BLOBS.c.id == self.id))
                return Blob.of(row)
            whole = {"media_type": blob.media_type, "size": blob.size, "sha256": blob.sha256}
            await connection.execute(sa.update(BLOBS).where(BLOBS.c.id == self.id).values(whole))
        return blob

    async def give_up(self) -> None:
        """Remove what came of it."""
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(BLOBS).where(BLOBS.c.id == self.id))

    async def _store(self, length: int) -> None:
        content = bytes(self._pending[:length])
        start = self._size - len(self._pending)
        chunk = {"blob_id": self.id, "start": start, "content": content}
        async with self._database.writing() as connection:
            await connection.execute(sa.insert(CHUNKS).values(chunk))
        del self._pending[:length]


def _of_attempt(task_uid: str, kind: Kind, run: str, attempt: int) -> sa.ColumnElement[bool]:
    return (
        (BLOBS.c.task_uid == task_uid)
        & (BLOBS.c.kind == kind)
        & (BLOBS.c.run == run)
        & (BLOBS.c.attempt == attempt)
    )

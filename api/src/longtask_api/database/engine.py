"""The API's database: a file of SQLite, or PostgreSQL. Its tables are made and changed here.

Whoever needs it while it is away is told so, and everything else goes on: it is asked for results,
logs and what is archived, and for nothing that tasks need to run.
"""

import asyncio
import contextlib
import functools
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import aiosqlite
import asyncpg
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from longtask_api import errors
from longtask_api.database import migrations

_logger = logging.getLogger(__name__)

_CONNECTIONS: Final = 10
#: How long one waits for a free connection, for the server to take a new one, for SQLite's only
#: writer, and for all of a transaction.
_POOL_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 5.0
_BUSY_SECONDS: Final = 10.0
_MODE_SECONDS: Final = 0.02
_TRANSACTION_SECONDS: Final = 30.0
#: Errors of SQL that the database's state is not to blame for.
_OURS: Final = (exc.ProgrammingError, exc.IntegrityError, exc.DataError, exc.NotSupportedError)
#: Is told of each transaction: its kind, how many seconds it took, whether the database was away.
Note = Callable[[str, float, bool], None]


def _nobody(kind: str, seconds: float, is_away: bool) -> None:
    """Tell nobody."""


class Database:
    """The door to the database. What comes through it is SQLAlchemy's."""

    def __init__(self, engine: AsyncEngine, transaction_seconds: float, note: Note) -> None:
        self._engine = engine
        self._threads = _threads_of(engine)
        self._note = note
        self._transaction_seconds = transaction_seconds
        # SQLite has one writer at a time and lets others try again and again: in here they queue.
        self._writers = asyncio.Semaphore(_CONNECTIONS if self.is_shared else 1)
        self._is_prepared = False
        self._preparation: asyncio.Task[None] | None = None

    @classmethod
    def at(
        cls, url: str, *, transaction_seconds: float = _TRANSACTION_SECONDS, note: Note = _nobody
    ) -> "Database":
        """Return the database at a URL; nothing is asked of it yet.

        Args:
            url: `sqlite:///path`, or `postgresql://…` with what libpq would take.
            transaction_seconds: How long a transaction may take from its begin to its end.
            note: Is told of each transaction.
        """
        make = _sqlite if url.startswith("sqlite:") else _postgresql
        return cls(make(url), transaction_seconds, note)

    @property
    def is_shared(self) -> bool:
        """Tell whether other replicas may use it too."""
        return self._engine.dialect.name != "sqlite"

    def connections(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many are kept beside those."""
        pool = self._engine.pool
        if not isinstance(pool, sa.QueuePool):
            return 0, 0
        return pool.checkedout(), pool.checkedin()

    async def prepare(self) -> None:
        """Bring the tables to this version, unless they are; whoever asks meanwhile waits too.

        Raises:
            DatabaseAway: It does not answer; who needs it next tries again.
            NewerDatabase: A newer version was here.
        """
        if self._is_prepared:
            return
        if self._preparation is None or self._preparation.done():
            self._preparation = asyncio.create_task(self._prepare())
        await asyncio.shield(self._preparation)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads.

        Raises:
            DatabaseAway: The database does not answer.
        """
        await self._prepared()
        with self._noted("read"), _told_apart():
            async with (
                asyncio.timeout(self._transaction_seconds),
                self._engine.connect() as connection,
            ):
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction, and keep what was done in it unless there is an error.

        Keep it short: SQLite has one at a time.

        Raises:
            DatabaseAway: The database does not answer. What was done may be kept all the same.
        """
        await self._prepared()
        async with self.transaction(within=self._transaction_seconds) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def transaction(self, *, within: float | None) -> AsyncIterator[AsyncConnection]:
        """Open a transaction on the tables as they are, whatever their version."""
        with self._noted("write"), _told_apart():
            async with (
                asyncio.timeout(within),
                self._writers,
                self._engine.connect() as connection,
            ):
                await connection.execution_options(writes=True)
                async with connection.begin():
                    yield connection

    async def aclose(self) -> None:
        """Let go of all connections, and of their threads."""
        if self._preparation is not None and not self._preparation.done():
            self._preparation.cancel()
            await asyncio.gather(self._preparation, return_exceptions=True)
        await self._engine.dispose()
        for thread in tuple(self._threads):
            await asyncio.to_thread(thread.join, _BUSY_SECONDS)

    @contextlib.contextmanager
    def _noted(self, kind: str) -> Iterator[None]:
        began, is_away = time.monotonic(), False
        try:
            yield
        except errors.DatabaseAway:
            is_away = True
            raise
        finally:
            self._note(kind, time.monotonic() - began, is_away)

    async def _prepared(self) -> None:
        """Wait until it is prepared, but not for ever: to change large tables takes its time."""
        try:
            with _told_apart():
                async with asyncio.timeout(self._transaction_seconds):
                    await self.prepare()
        except migrations.NewerDatabase as error:
            # It came, or was changed, after our start, which would have told.
            _logger.error("The database is of no use", extra={"cause": str(error)})
            raise errors.DatabaseAway from error

    async def _prepare(self) -> None:
        async with self.transaction(within=None) as connection:
            await connection.run_sync(migrations.upgrade)
        self._is_prepared = True


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Tell a database that does not serve from statements that are wrong."""
    try:
        yield
    except _OURS:
        raise
    except exc.DBAPIError as error:
        if _is_unstorable(error):
            raise
        raise errors.DatabaseAway from error
    except (
        exc.TimeoutError,
        # While connecting, the driver's own.
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        sqlite3.OperationalError,
        OSError,
        TimeoutError,
    ) as error:
        raise errors.DatabaseAway from error


def _is_unstorable(error: exc.DBAPIError) -> bool:
    """Tell whether there is a value that no database takes, such as a text with a NUL in it."""
    cause = None if error.orig is None else error.orig.__cause__
    return isinstance(cause, (asyncpg.DataError, ValueError))


# --- connections


def _sqlite(url: str) -> AsyncEngine:
    engine = create_async_engine(
        sa.make_url(url).set(drivername="sqlite+aiosqlite"),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        connect_args={"timeout": _BUSY_SECONDS},
    )
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    # Transactions are begun by us alone: the driver's would let changes of tables out of them.
    connection.isolation_level = None
    connection.run_async(_set_modes)


async def _set_modes(connection: aiosqlite.Connection) -> None:
    # Readers never wait, and a write that was told of is on the disk.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        async with asyncio.timeout(_BUSY_SECONDS):
            await _set_mode(connection, pragma)


async def _set_mode(connection: aiosqlite.Connection, pragma: str) -> None:
    # SQLite waits for whoever writes, but not for whoever changes a new file's mode meanwhile.
    while True:
        try:
            return await (await connection.execute(f"PRAGMA {pragma}")).close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        await asyncio.sleep(_MODE_SECONDS)


def _begin_sqlite(connection: sa.Connection) -> None:
    # One that begins as a reader is refused at its first write if another has written meanwhile.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _threads_of(engine: AsyncEngine) -> weakref.WeakSet[threading.Thread]:
    """Keep in view in which threads the driver of SQLite works.

    A connection whose user is cut off is told to end and not waited for: its thread would answer
    to an event loop that may be closed by then.
    """
    threads = weakref.WeakSet[threading.Thread]()

    def connect(*args: Any, **keywords: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*args, **keywords)
        connection._thread.daemon = True
        threads.add(connection._thread)
        return connection

    def use_ours(_dialect: Any, _record: Any, _args: Any, keywords: dict[str, Any]) -> None:
        keywords["async_creator_fn"] = connect

    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "do_connect", use_ours)
    return threads


def _postgresql(url: str) -> AsyncEngine:
    # The driver reads the URL by itself, as libpq does: `sslmode`, several hosts, and so on.
    connect = functools.partial(
        asyncpg.connect,
        url,
        timeout=_CONNECT_SECONDS,
        server_settings={"application_name": "longtask-api"},
    )
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        # A restart of the server is not the next request's fault.
        pool_pre_ping=True,
    )

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

import postgres_support
from api_support import TOKEN, UNLIMITED
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, wiring
from longtask_api.database.engine import Database
from longtask_api.stores.archive import Archive
from longtask_crds import names
from longtask_crds.testing import NOW

FIBONACCI = {
    "description": "The n-th Fibonacci number",
    "inputSchema": {
        "type": "object",
        "required": ["n"],
        "additionalProperties": False,
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 100_000}},
    },
}


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    made.put(names.LONGTASKTYPES, "fibonacci", spec=FIBONACCI)
    return made


@pytest.fixture(scope="session")
def prepared(postgresql: postgres_support.Server) -> str:
    """Make one database with all its tables: a copy of it is there sooner than they are."""

    async def prepare(url: str) -> None:
        async with contextlib.aclosing(Database.at(url)) as made:
            await made.prepare()

    url = postgresql.new_database()
    asyncio.run(prepare(url))
    return url


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Make a database of the kind that is asked for; an empty URL is SQLite's file."""
    if request.config.getoption("--database") == "sqlite":
        return ""
    server: postgres_support.Server = request.getfixturevalue("postgresql")
    return server.new_database(like=request.getfixturevalue("prepared"))


@pytest.fixture
def configured(tmp_path: Path, database_url: str) -> settings.Settings:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    return settings.Settings(
        token_file=token_file,
        data_directory=tmp_path,
        database_url=database_url,
        callback_allow=("hooks.test:9000",),
        callback_deny=("34.0.0.0/8",),
        resource_cap={"cpu": "2", "memory": "1Gi"},
        **UNLIMITED,
    )


@pytest.fixture
def sender() -> MemorySender:
    return MemorySender()


@pytest.fixture
async def database(configured: settings.Settings) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(configured.database())) as made:
        yield made


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database)


@pytest.fixture
async def services(
    kubernetes: MemoryKubernetes, configured: settings.Settings, sender: MemorySender
) -> AsyncIterator[wiring.Services]:
    async with wiring.running(
        kubernetes, configured, clock=lambda: NOW, start_patience=0.05, sender=sender
    ) as made:
        await made.health.synced()
        kubernetes.requests.clear()
        yield made


@pytest.fixture
async def client(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)),
        base_url="http://api.test",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as made:
        yield made


@pytest.fixture
async def runner(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_tasks(services)),
        base_url="http://runner.test",
        headers={"Authorization": "Bearer pod-token"},
    ) as made:
        yield made

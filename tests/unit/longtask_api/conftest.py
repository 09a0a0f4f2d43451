from collections.abc import AsyncIterator

import httpx
import pytest

from longtask_api import app, backend, ports, runner_port, settings, testing

TOKEN = "correct-horse"
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
async def cluster() -> testing.MemoryCluster:
    made = testing.MemoryCluster()
    await made.put(ports.QUEUES, "default", spec={"maxRunning": 2})
    await made.put(ports.TYPES, "fibonacci", spec=FIBONACCI)
    return made


@pytest.fixture
def configured(tmp_path) -> settings.Settings:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    return settings.Settings(
        token_file=token_file,
        callback_allow=("hooks.test:9000",),
        resource_cap={"cpu": "2", "memory": "1Gi"},
    )


@pytest.fixture
def behind(cluster: testing.MemoryCluster, configured: settings.Settings) -> backend.Backend:
    return backend.Backend(cluster, configured, clock=lambda: testing.NOW, start_patience=0.05)


@pytest.fixture
async def client(behind: backend.Backend) -> AsyncIterator[httpx.AsyncClient]:
    application = app.create_app(behind)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as made,
    ):
        await behind.synced()
        yield made


@pytest.fixture
async def runner(
    behind: backend.Backend, client: httpx.AsyncClient
) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(runner_port.create_app(behind)),
        base_url="http://runner.test",
        headers={"Authorization": "Bearer pod-token"},
    ) as made:
        yield made

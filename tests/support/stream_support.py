"""The API on a real port, and who listens there."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import uvicorn
from httpx_sse import EventSource

from api_support import TOKEN, eventually, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.services import streams
from longtask_client import models, streaming
from longtask_crds import v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_condition, an_attempt

QUICK = streams.Pace(ping=0.2, check=0.1, place=0.05, batch=0)


@contextlib.asynccontextmanager
async def serving(services: wiring.Services, *, path_prefix: str = "") -> AsyncIterator[str]:
    """Serve the API of users on a port of its own; yield its URL."""
    config = uvicorn.Config(
        app.for_users(services, path_prefix=path_prefix),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    with contextlib.ExitStack() as stack:
        # The signals are pytest's.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
        task = asyncio.create_task(server.serve())
        stack.callback(task.cancel)
        while not server.started:  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            services.hub.close()
            server.should_exit = True
            await task


@dataclasses.dataclass
class Listener:
    """Listens over a real connection, and comes back as often as it likes."""

    http: httpx.AsyncClient
    subscription: streaming.Subscription
    told: list[streaming.Told] = dataclasses.field(default_factory=list)

    async def listen(self, *, most: int | None = None) -> int:
        """Listen until the stream ends, or so much was told; return the status code."""
        async with self.http.stream(
            "GET",
            self.subscription.path,
            params={k: v for k, v in self.subscription.parameters.items() if v not in (None, [])},
            headers=self.subscription.headers,
        ) as response:
            if response.status_code == 200:
                count = 0
                async with contextlib.aclosing(EventSource(response).aiter_sse()) as source:
                    async for sent in source:
                        told = self.subscription.take(sent)
                        if told is not None:
                            self.told.append(told)
                            count += 1
                        if count == most:
                            break
            return response.status_code

    def names(self) -> list[str]:
        return [told.name for told in self.told]


@contextlib.asynccontextmanager
async def talking(url: str, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, limits=limits, **more
    ) as client:
        yield client


async def knows(services: wiring.Services, kubernetes: MemoryKubernetes) -> None:
    """Return once everything is in the cache."""

    async def is_there() -> bool:
        return services.hub.position >= kubernetes.version

    kubernetes.bookmark()
    await eventually(is_there)


class Api(NamedTuple):
    services: wiring.Services
    http: httpx.AsyncClient

    def of_task(self, name: str = "a") -> Listener:
        return Listener(self.http, streaming.of_task(name))

    def of_tasks(self, **wanted: object) -> Listener:
        return Listener(self.http, streaming.of_tasks(models.TaskFilter(**wanted)))

    async def knows(self, kubernetes: MemoryKubernetes) -> None:
        """Return once everything is in the cache."""
        await knows(self.services, kubernetes)


@contextlib.asynccontextmanager
async def an_api(
    kubernetes: MemoryKubernetes, configured: settings.Settings, pace: streams.Pace = QUICK
) -> AsyncIterator[Api]:
    async with wiring.running(
        kubernetes, configured, clock=lambda: NOW, stream_pace=pace
    ) as services:
        await services.health.synced()
        async with serving(services) as url, talking(url) as http:
            yield Api(services, http)


@contextlib.asynccontextmanager
async def listening(one: Listener) -> AsyncIterator[asyncio.Task[int]]:
    """Listen meanwhile."""
    task = asyncio.create_task(one.listen())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Door:
    """A way to the API that can be cut off, as a proxy or a network may do."""

    def __init__(self, target: httpx.URL) -> None:
        self._target = target
        self._ways: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.ways = 0  #: how many were opened, ever

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield
            self.cut()

    def cut(self) -> None:
        """Break off what goes through."""
        for way in self._ways:
            way.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ways += 1
        there, back = await asyncio.open_connection(self._target.host, self._target.port)
        self._ways |= {writer, back}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pour(reader, back), _pour(there, writer))
        self._ways -= {writer, back}


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.closing(target):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()


@contextlib.asynccontextmanager
async def a_door(api: Api) -> AsyncIterator[Door]:
    """Open a way to the API that can be cut off."""
    door = Door(api.http.base_url)
    async with door.open():
        yield door


def told(one: Listener, *wanted: str) -> Callable[[], Awaitable[bool]]:
    async def is_told() -> bool:
        return all(one.names().count(name) >= wanted.count(name) for name in wanted)

    return is_told


def are_open(api: Api, count: int) -> Callable[[], Awaitable[bool]]:
    """Tell whether so many streams are open: what happens from now on reaches them."""

    async def is_so() -> bool:
        return len(api.services.hub) == count

    return is_so


def put_started(kubernetes: MemoryKubernetes, name: str = "a", **status: object) -> None:
    attempt = an_attempt(started_at=NOW).to_json()
    known = {"queuedAt": "2026-01-02T03:04:05Z", "attempt": 1, "attempts": [attempt]}
    put_task(kubernetes, name, status={"phase": "Running", **known, **status})


def put_ended(kubernetes: MemoryKubernetes, name: str = "a", **status: object) -> None:
    done = a_condition(v1alpha1.ConditionType.SUCCEEDED)
    ended = an_attempt(started_at=NOW, finished_at=NOW, reason="Completed").to_json()
    known = {
        "phase": "Succeeded",
        "conditions": [FINISHED.to_json(), done.to_json()],
        "finishedAt": "2026-01-02T03:04:05Z",
        "attempts": [ended],
    }
    put_task(kubernetes, name, status=known | status)

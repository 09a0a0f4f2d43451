"""The API on a real port, and who listens there."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from httpx_sse import EventSource

from api_support import TOKEN
from longtask_api import app, wiring
from longtask_client import streaming


@contextlib.asynccontextmanager
async def serving(services: wiring.Services) -> AsyncIterator[str]:
    """Serve the API of users on a port of its own; yield its URL."""
    config = uvicorn.Config(
        app.for_users(services), host="127.0.0.1", port=0, lifespan="off", log_config=None
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
        base_url=url, headers=headers, timeout=10, limits=limits, **more
    ) as client:
        yield client

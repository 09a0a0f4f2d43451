"""A receiver of webhooks: a real server on the loopback interface that answers from a script."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import standardwebhooks
from aiohttp import web

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Got(NamedTuple):
    """A request that came."""

    path: str
    headers: Any
    body: bytes

    @property
    def id(self) -> str:
        return str(self.headers["webhook-id"])

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    def verify(self, key: str) -> None:
        """Look at the signature as a receiver does; raises if it is wrong."""
        standardwebhooks.Webhook(key).verify(self.body, self.headers)


class Receiver:
    """Keeps what comes, and answers what it is told to answer, then 204."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.replies: list[Reply] = []
        self.always: Reply | None = None
        self.url = ""
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.got.append(Got(request.path_qs, request.headers.copy(), body))
        if self.replies:
            return await self.replies.pop(0)(request)
        if self.always is not None:
            return await self.always(request)
        return web.Response(status=204)


def status(code: int, **headers: str) -> Reply:
    """Return what answers with a status."""

    async def reply(_: web.Request) -> web.Response:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, headers=said)

    return reply


async def never(_: web.Request) -> web.StreamResponse:
    """Answer nothing for as long as anybody waits."""
    await asyncio.Event().wait()
    raise AssertionError("nobody rings")


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, found.port = runner.addresses[0][:2]
    found.url = f"http://{host}:{found.port}"
    try:
        yield found
    finally:
        await runner.cleanup()

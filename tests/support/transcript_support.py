"""Transcripts in pages: what is typed, what happens meanwhile, and what is shown.

A block of `console` has lines `$ …` and below each what is printed. `…` stands for anything in a
line. Between blocks a comment says what becomes of a task meanwhile: `<!-- NAME: {status} -->`.
"""

import asyncio
import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import yaml

from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_crds import names
from longtask_crds.testing import NOW

_PART = re.compile(r"^```console\n(.*?)^```$|^<!-- ([\w-]+): (\{.*?\}) -->$", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Typed:
    """A command, and what the page says that it prints."""

    line: str
    shown: str


@dataclasses.dataclass(frozen=True)
class Meanwhile:
    """What becomes of a task."""

    name: str
    status: dict[str, Any]


def parts(page: str) -> Iterator[Typed | Meanwhile]:
    """Yield what happens in a page, in its order."""
    for found in _PART.finditer(page):
        if found[1] is None:
            yield Meanwhile(found[2], yaml.safe_load(found[3]))
            continue
        for one in re.split(r"^\$ ", found[1], flags=re.M)[1:]:
            line, _, shown = one.partition("\n")
            yield Typed(line, shown)


def fits(shown: str, pattern: str) -> bool:
    """Tell whether what was shown is what the page says."""
    return re.fullmatch(re.escape(pattern).replace("…", ".*"), shown) is not None


class Installation(httpx.BaseTransport):
    """The real API with a Kubernetes in memory, in a thread of its own."""

    def __init__(self, kubernetes: MemoryKubernetes, configured: settings.Settings) -> None:
        self._kubernetes = kubernetes
        self._configured = configured
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._open = contextlib.AsyncExitStack()

    def __enter__(self) -> "Installation":
        self._thread.start()
        self._run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Let the API answer."""
        return self._run(self._answer(request))

    def happen(self, then: Meanwhile) -> None:
        """Let something become of a task, and the API hear of it."""
        self._run(self._happen(then))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    async def _begin(self) -> None:
        running = wiring.running(
            self._kubernetes, self._configured, clock=lambda: NOW, start_patience=0.05
        )
        services = await self._open.enter_async_context(running)
        await services.health.synced()
        self._transport = httpx.ASGITransport(app.for_users(services))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        asked = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        response = await self._transport.handle_async_request(asked)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)

    async def _happen(self, then: Meanwhile) -> None:
        before = self._kubernetes.objects(names.LONGTASKS)[names.ObjectKey("longtasks", then.name)]
        self._kubernetes.put(
            names.LONGTASKS, then.name, status={**before.get("status", {}), **then.status}
        )
        for _ in range(100):  # the watches are told at the loop's next turns
            await asyncio.sleep(0)

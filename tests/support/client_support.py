"""An API in memory, behind httpx's transport: nothing is patched."""

import asyncio
import dataclasses
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from longtask_client import aio, client

URL = "http://longtask.test/base"


@dataclasses.dataclass
class FakeApi:
    """Answers each request by the first route that fits, and keeps what was asked."""

    routes: list[tuple[str, str, Callable[[httpx.Request], httpx.Response]]] = dataclasses.field(
        default_factory=list
    )
    requests: list[httpx.Request] = dataclasses.field(default_factory=list)
    slept: list[float] = dataclasses.field(default_factory=list)
    now: float = 0.0

    def on(self, method: str, path: str, *answers: Any, status: int = 200) -> None:
        """Answer in turn; the last answer stays. A dict is JSON, a str text, an error is raised."""
        left = list(answers)

        def answer(request: httpx.Request) -> httpx.Response:
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, Exception):
                raise found
            if isinstance(found, httpx.Response):
                # A copy: a client binds what it gets to itself.
                return httpx.Response(found.status_code, headers=found.headers, stream=found.stream)
            if isinstance(found, str):
                return httpx.Response(status, text=found)
            return httpx.Response(status, json=found)

        self.routes.append((method, f"/base{path}", answer))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for method, path, answer in self.routes:
            if (method, path) == (request.method, request.url.path):
                return answer(request)
        if request.url.path.endswith("/events"):
            return a_problem(501)  # what follows tasks looks again and again then
        raise AssertionError(f"unexpected: {request.method} {request.url}")

    def connect(self, url: str = URL, token: str | None = "secret") -> client.Client:
        return client.Client(
            url,
            token,
            transport=httpx.MockTransport(self),
            sleep=self._sleep,
            clock=lambda: self.now,
        )

    def connect_async(self, url: str = URL, token: str | None = "secret") -> aio.AsyncClient:
        async def sleep(seconds: float) -> None:
            self._sleep(seconds)

        return aio.AsyncClient(
            url,
            token,
            transport=httpx.MockTransport(self),
            sleep=sleep,
            clock=lambda: self.now,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def body(self) -> Any:
        """The JSON of the last request."""
        return json.loads(self.requests[-1].content)


class Awaited:
    """The asynchronous client, or a task of it, told as the synchronous one is."""

    def __init__(self, told: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._told, self._loop = told, loop

    def __enter__(self) -> "Awaited":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._told.close())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Awaited) and bool(self._told == other._told)

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._told, name)
        return functools.partial(self._call, found) if inspect.ismethod(found) else found

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        made = method(*args, **kwargs)
        if inspect.isasyncgen(made):
            return self._each(made)
        value = self._loop.run_until_complete(made) if inspect.isawaitable(made) else made
        return Awaited(value, self._loop) if isinstance(value, aio.AsyncTaskHandle) else value

    def _each(self, made: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()
        while (value := self._loop.run_until_complete(anext(made, end))) is not end:
            yield value


@dataclasses.dataclass
class AwaitedApi(FakeApi):
    """Is asked by the asynchronous client."""

    loop: asyncio.AbstractEventLoop = dataclasses.field(default_factory=asyncio.new_event_loop)

    def connect(self, url: str = URL, token: str | None = "secret") -> Any:
        return Awaited(self.connect_async(url, token), self.loop)


def a_task(task_id: str = "sleep-a", phase: str = "Queued", **changed: Any) -> dict[str, Any]:
    return {
        "id": task_id,
        "namespace": "longtasks",
        "type": "sleep",
        "phase": phase,
        "percent": None,
        "message": None,
        "reason": None,
        "waiting": None,
        "queue": "default",
        "queuePosition": None,
        "estimatedStart": None,
        "disruptions": 0,
        "retryAt": None,
        "priority": 50,
        "attempt": 0,
        "attempts": [],
        "step": None,
        "steps": [],
        "result": None,
        "resultUrl": None,
        "callback": None,
        "owner": None,
        "ownerName": None,
        "labels": {},
        "retryOf": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "queuedAt": None,
        "startedAt": None,
        "finishedAt": None,
        "links": {},
    } | changed


def a_problem(status: int, **changed: Any) -> httpx.Response:
    document = {"type": "urn:longtask:problem:x", "title": "It is so", "status": status}
    return httpx.Response(
        status,
        content=json.dumps(document | changed),
        headers={"Content-Type": "application/problem+json"},
    )

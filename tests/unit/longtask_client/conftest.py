"""An API in memory, behind httpx's transport: nothing is patched."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from longtask_client import client

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
                return found
            if isinstance(found, str):
                return httpx.Response(status, text=found)
            return httpx.Response(status, json=found)

        self.routes.append((method, f"/base{path}", answer))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for method, path, answer in self.routes:
            if (method, path) == (request.method, request.url.path):
                return answer(request)
        raise AssertionError(f"unexpected: {request.method} {request.url}")

    def connect(self, url: str = URL, token: str | None = "secret") -> client.Client:
        return client.Client(
            url,
            token,
            transport=httpx.MockTransport(self),
            sleep=self._sleep,
            clock=lambda: self.now,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def body(self) -> Any:
        """The JSON of the last request."""
        return json.loads(self.requests[-1].content)


def _task(task_id: str = "sleep-a", phase: str = "Queued", **changed: Any) -> dict[str, Any]:
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
        "labels": {},
        "retryOf": None,
        "createdAt": "2026-01-01T00:00:00Z",
        "queuedAt": None,
        "startedAt": None,
        "finishedAt": None,
        "links": {},
    } | changed


def _problem(status: int, **changed: Any) -> httpx.Response:
    document = {"type": "urn:longtask:problem:x", "title": "It is so", "status": status}
    return httpx.Response(
        status,
        content=json.dumps(document | changed),
        headers={"Content-Type": "application/problem+json"},
    )


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def a_task() -> Callable[..., dict[str, Any]]:
    """Builds a task as the API shows it."""
    return _task


@pytest.fixture
def a_problem() -> Callable[..., httpx.Response]:
    """Builds an answer that is a problem."""
    return _problem

"""Two replicas over one Kubernetes; the watch of the second one is as slow as the test wants."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import httpx
import pytest

from api_support import TOKEN, put_task
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, errors, settings, versions, wiring
from longtask_api.services import health
from longtask_crds.testing import NOW

HEADER = versions.HEADER


class Behind:
    """Hands the lines of watches on when it is let."""

    def __init__(self, kubernetes: MemoryKubernetes) -> None:
        self._kubernetes = kubernetes
        self.may_go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        async with self._kubernetes.open(request) as answer:
            yield _Held(answer, self.may_go_on) if "watch" in (request.query or {}) else answer


@dataclasses.dataclass
class _Held:
    answer: Response
    may_go_on: asyncio.Event

    def __getattr__(self, name: str) -> object:
        return getattr(self.answer, name)

    async def lines(self) -> AsyncIterator[bytes]:
        async for line in self.answer.lines():
            await self.may_go_on.wait()
            yield line


@dataclasses.dataclass
class Replicas:
    one: httpx.AsyncClient
    other: httpx.AsyncClient
    behind: Behind


@pytest.fixture
async def replicas(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> AsyncIterator[Replicas]:
    behind = Behind(kubernetes)
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for transport in (kubernetes, behind):
            running = wiring.running(transport, configured, clock=lambda: NOW)
            services = await stack.enter_async_context(running)
            await services.health.synced()
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app.for_users(services)),
                base_url="http://api.test",
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            clients.append(await stack.enter_async_context(client))
        yield Replicas(*clients, behind)


async def let_go_on(behind: Behind) -> None:
    """Let the watch go on once everybody who waits for it does."""
    for _ in range(20):
        await asyncio.sleep(0)
    behind.may_go_on.set()


async def test_what_was_written_is_read_at_a_replica_that_was_behind(
    kubernetes: MemoryKubernetes, replicas: Replicas
) -> None:
    made = await replicas.one.post("/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}})
    listed = replicas.other.get("/api/v1/tasks", headers={HEADER: made.headers[HEADER]})
    answer, _ = await asyncio.gather(listed, let_go_on(replicas.behind))
    assert [task["id"] for task in answer.json()["items"]] == [made.json()["id"]]


@pytest.mark.parametrize("verb", ["cancel", "change", "delete"])
async def test_each_write_says_what_it_wrote(
    verb: str, kubernetes: MemoryKubernetes, replicas: Replicas
) -> None:
    replicas.behind.may_go_on.set()
    put_task(kubernetes)
    path = "/api/v1/tasks/a"
    before = await replicas.other.get(path)
    replicas.behind.may_go_on.clear()
    match verb:
        case "cancel":
            written = await replicas.one.post(f"{path}:cancel")
        case "change":
            written = await replicas.one.patch(path, json={"priority": 99})
        case _:
            written = await replicas.one.delete(path)
    assert written.is_success
    reading = replicas.other.get(path, headers={HEADER: written.headers[HEADER]})
    after, _ = await asyncio.gather(reading, let_go_on(replicas.behind))
    assert before.json() != after.json()
    assert after.status_code == (404 if verb == "delete" else 200)


async def test_a_paused_queue_is_paused_everywhere(replicas: Replicas) -> None:
    paused = await replicas.one.post("/api/v1/queues/default:pause")
    asking = replicas.other.get("/api/v1/queues/default", headers={HEADER: paused.headers[HEADER]})
    asked, _ = await asyncio.gather(asking, let_go_on(replicas.behind))
    assert asked.json()["paused"]


async def test_an_answer_says_what_was_asked_for_and_what_was_written(replicas: Replicas) -> None:
    replicas.behind.may_go_on.set()
    paused = await replicas.one.post("/api/v1/queues/default:pause")
    made = await replicas.one.post(
        "/api/v1/tasks",
        json={"type": "fibonacci", "input": {"n": 1}},
        headers={HEADER: paused.headers[HEADER]},
    )
    assert set(versions.parse(made.headers[HEADER])) == {"longtaskqueues", "longtasks"}


async def test_without_a_write_an_answer_says_nothing(replicas: Replicas) -> None:
    assert HEADER not in (await replicas.one.get("/api/v1/tasks")).headers


async def test_a_replica_that_stays_behind_says_so(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_BEHIND", 0.01)
    made = await replicas.one.post("/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}})
    refused = await replicas.other.get("/api/v1/tasks", headers={HEADER: made.headers[HEADER]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("header", ["", "7", "longtasks=", "longtasks=-1", "pods=1", "a=1;;"])
async def test_a_header_that_is_none_of_ours_is_refused(header: str, replicas: Replicas) -> None:
    refused = await replicas.one.get("/api/v1/tasks", headers={HEADER: header})
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (
        400,
        "malformed-request",
    )


def test_what_is_named_twice_counts_as_the_later_one() -> None:
    assert versions.parse("longtasks=7; longtasks=5") == {"longtasks": 7}
    assert versions.text({"b": 2, "a": 1}) == "a=1;b=2"
    with pytest.raises(errors.Malformed):
        versions.parse("longtasks=" + "9" * 21)

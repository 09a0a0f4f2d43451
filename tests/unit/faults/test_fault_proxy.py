"""The proxy of the fault runs, between aiohttp and a server in memory."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl
from aiohttp import web

from fault_proxy import (
    Bend,
    Call,
    Crash,
    Cut,
    Delay,
    Effect,
    Proxy,
    Refuse,
    Rule,
    Upstream,
    described,
    error_line,
)

JOBS = "/apis/batch/v1/namespaces/n/jobs"
TASK = "/apis/longtask.dev/v1alpha1/namespaces/n/longtasks/a"


def status_patch(**values: Any) -> bytes:
    changes = [{"op": "add", "path": f"/status/{key}", "value": v} for key, v in values.items()]
    return json.dumps(changes).encode()


@pytest.mark.parametrize(
    ("method", "target", "body", "call"),
    [
        pytest.param("GET", JOBS, b"", Call("list", "jobs", ""), id="list"),
        pytest.param("GET", f"{JOBS}?watch=true", b"", Call("watch", "jobs", ""), id="watch"),
        pytest.param("GET", TASK, b"", Call("get", "longtasks", "a"), id="get"),
        pytest.param("DELETE", "/api/v1/nodes/x", b"", Call("delete", "nodes", "x"), id="global"),
        pytest.param(
            "PATCH",
            f"{TASK}/status",
            status_patch(phase="Starting", attempts=[]),
            Call("patch", "longtasks/status", "a", "W1"),
            id="claim",
        ),
        pytest.param("POST", JOBS, b"{}", Call("create", "jobs", "", "W2"), id="the-job"),
        pytest.param(
            "PATCH",
            f"{TASK}/status",
            status_patch(phase="Running"),
            Call("patch", "longtasks/status", "a", "W3"),
            id="that-it-runs",
        ),
        pytest.param(
            "PATCH",
            f"{TASK}/status",
            status_patch(phase="Failed", callback={}),
            Call("patch", "longtasks/status", "a", "W4"),
            id="outcome",
        ),
        pytest.param(
            "PATCH",
            f"{TASK}/status",
            status_patch(callback={}),
            Call("patch", "longtasks/status", "a", "W5"),
            id="delivery",
        ),
        pytest.param(
            "PATCH",
            f"{JOBS}/j",
            b'{"spec": {"ttlSecondsAfterFinished": 600}}',
            Call("patch", "jobs", "j", "W6"),
            id="release",
        ),
        pytest.param(
            "POST", f"{JOBS}?dryRun=All", b"{}", Call("try", "jobs", ""), id="what-is-not-stored"
        ),
        pytest.param(
            "PATCH",
            f"{TASK}/status",
            status_patch(phase="Queued"),
            Call("patch", "longtasks/status", "a"),
            id="another-status",
        ),
    ],
)
def test_calls_are_told_apart(method: str, target: str, body: bytes, call: Call) -> None:
    assert described(method, yarl.URL(target), body) == call


def test_a_rule_takes_each_third_call_that_fits_twice() -> None:
    rule = Rule(Cut(after=True), verbs=frozenset({"patch"}), every=3, times=2)
    patch, get = Call("patch", "jobs", "a"), Call("get", "jobs", "a")
    taken = [rule.takes(call) for call in (get, patch, patch, get, patch, *[patch] * 6)]
    assert [number for number, taken in enumerate(taken) if taken] == [4, 7]
    assert rule.hits == 2


class Server:
    """Counts what is done, and says three lines to each watch."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.done.append(f"{request.method} {request.raw_path}")
        if "watch" not in request.query:
            said = {"you": request.headers.get("Authorization"), "body": await request.text()}
            return web.json_response(said)
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(3):
            await response.write(json.dumps({"type": "MODIFIED", "number": number}).encode())
            await response.write(b"\n")
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = "http://{}:{}".format(*runner.addresses[0])
    yield server
    await runner.cleanup()


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Any:
    with Proxy(Upstream(server.url, None), tmp_path) as proxy:
        yield proxy


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[aiohttp.ClientSession]:
    tls = ssl.create_default_context(cadata=proxy.authority.decode())
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(proxy.url, connector=connector) as session:
        yield session


async def post(session: aiohttp.ClientSession) -> tuple[int, Any]:
    headers = {"Authorization": "Bearer x"}
    async with session.post(JOBS, data=b"{}", headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_call_passes_as_it_is(
    session: aiohttp.ClientSession, server: Server, proxy: Proxy
) -> None:
    assert await post(session) == (200, {"you": "Bearer x", "body": "{}"})
    assert server.done == [f"POST {JOBS}"]
    (entry,) = proxy.history
    assert (entry.call, entry.status, entry.fault) == (Call("create", "jobs", "", "W2"), 200, "")


@pytest.mark.parametrize(
    ("effect", "done"),
    [
        pytest.param(Cut(after=False), 0, id="before"),
        pytest.param(Cut(after=True), 1, id="after"),
        pytest.param(Crash(lambda: None, after=False), 0, id="a-crash-before"),
        pytest.param(Crash(lambda: None, after=True), 1, id="a-crash-after"),
    ],
)
async def test_a_connection_breaks(
    session: aiohttp.ClientSession, server: Server, proxy: Proxy, effect: Effect, done: int
) -> None:
    with proxy.breaking(Rule(effect, times=1)) as (rule,):
        with pytest.raises(aiohttp.ClientError):
            await post(session)
        assert (len(server.done), rule.hits) == (done, 1)
        assert (await post(session))[0] == 200


async def test_a_refusal_is_the_api_servers(
    session: aiohttp.ClientSession, server: Server, proxy: Proxy
) -> None:
    with proxy.breaking(Rule(Refuse(429, "TooManyRequests", retry_after=7))):
        async with session.get(JOBS) as answer:
            body = await answer.json()
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert (body["kind"], body["reason"], body["code"]) == ("Status", "TooManyRequests", 429)
    assert server.done == []
    assert (await post(session))[0] == 200


async def test_a_delayed_call_is_done_all_the_same(
    session: aiohttp.ClientSession, proxy: Proxy
) -> None:
    began = asyncio.get_running_loop().time()
    with proxy.breaking(Rule(Delay(0.1))):
        assert (await post(session))[0] == 200
    assert asyncio.get_running_loop().time() - began >= 0.1


async def numbers(session: aiohttp.ClientSession) -> list[Any]:
    async with session.get(f"{JOBS}?watch=true") as answer:
        return [json.loads(line).get("number", "error") async for line in answer.content]


@pytest.mark.parametrize(
    ("bend", "seen"),
    [
        pytest.param(lambda line: [line], [0, 1, 2], id="as-it-is"),
        pytest.param(lambda line: [line, line], [0, 0, 1, 1, 2, 2], id="repeated"),
        pytest.param(lambda line: [] if b"1" in line else [line], [0, 2], id="swallowed"),
        pytest.param(
            lambda line: [error_line(410, "Expired")] if b"1" in line else [line],
            [0, "error", 2],
            id="replaced",
        ),
        pytest.param(lambda line: [], [], id="silent"),
    ],
)
async def test_a_watch_is_bent(
    session: aiohttp.ClientSession, proxy: Proxy, bend: Any, seen: list[Any]
) -> None:
    with proxy.breaking(Rule(Bend(bend), verbs=frozenset({"watch"}))):
        assert await numbers(session) == seen
    assert await numbers(session) == [0, 1, 2]


async def test_nobody_is_there_for_a_while(
    session: aiohttp.ClientSession, server: Server, proxy: Proxy
) -> None:
    with proxy.away(), pytest.raises(aiohttp.ClientError):
        await post(session)
    assert server.done == []
    assert (await post(session))[0] == 200

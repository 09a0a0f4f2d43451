"""What really goes over the wire to an API server, and how its answers are read."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import pytest
from aiohttp import web

from longtask_adapters.kube import accounts, connection, errors, transport

PATH = "/apis/longtask.dev/v1alpha1/namespaces/a/longtasks"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Stands in place of the API server; answers one thing to everything."""

    def __init__(self) -> None:
        self.answer: Answer = json_answer({})
        self.asked: list[tuple[web.Request, bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request, await request.read()))
        return await self.answer(request)


def json_answer(what: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(what, status=status, headers=headers)

    return answer


def told(code: int, message: str, reason: str = "") -> Answer:
    return json_answer({"kind": "Status", "message": message, "reason": reason}, code)


def text_answer(status: int, words: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=words, status=status)

    return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


def a_kubeconfig(folder: Path, server: str, token: str = "sesame") -> Path:
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return file


@pytest.fixture
async def real(server: Server, tmp_path: Path) -> AsyncIterator[connection.Connection]:
    file = a_kubeconfig(tmp_path, server.url)
    async with transport.KubernetesTransport.connect(kubeconfig=file) as found:
        yield connection.Connection(found, user_agent="longtask-test")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        pytest.param(told(404, "no such task"), errors.NotFound, "no such task", id="404"),
        pytest.param(told(409, "modified", "Conflict"), errors.Conflict, "modified", id="409"),
        pytest.param(told(422, "invalid"), errors.Rejected, "invalid", id="422"),
        pytest.param(told(403, "forbidden"), errors.NoRight, "forbidden", id="403-of-a-read"),
        pytest.param(told(401, "who?"), errors.Unavailable, "who", id="401-may-be-a-new-token"),
        pytest.param(told(500, "oops"), errors.Unavailable, "oops", id="500"),
        pytest.param(
            text_answer(429, "Too many requests, please try again later.\n"),
            errors.TooManyRequests,
            "Too many requests",
            id="a-busy-server-answers-in-plain-text",
        ),
        pytest.param(
            text_answer(404, "404 page not found\n"),
            errors.NotFound,
            "page not found",
            id="before-the-crds-are-there",
        ),
        pytest.param(text_answer(502, "<html>"), errors.Unavailable, "<html>", id="a-proxy"),
        pytest.param(text_answer(503, ""), errors.Unavailable, "HTTP 503", id="no-words"),
        pytest.param(text_answer(500, "[1]"), errors.Unavailable, "HTTP 500", id="strange-words"),
        pytest.param(text_answer(200, "<html>"), errors.Unavailable, "cannot be read", id="portal"),
        pytest.param(text_answer(200, '{"a": ['), errors.Unavailable, "cannot be read", id="cut"),
        pytest.param(text_answer(200, "[1]"), errors.Unavailable, "cannot be read", id="a-list"),
    ],
)
async def test_an_answer_is_one_of_our_errors(
    server: Server,
    real: connection.Connection,
    answer: Answer,
    error: type[errors.ClusterError],
    words: str,
) -> None:
    server.answer = answer
    with pytest.raises(errors.ClusterError, match=words) as caught:
        await real.get(PATH + "/report")
    assert type(caught.value) is error


async def test_nobody_there_is_unavailable(tmp_path: Path, nobodys_port: int) -> None:
    file = a_kubeconfig(tmp_path, f"http://127.0.0.1:{nobodys_port}")
    async with transport.KubernetesTransport.connect(kubeconfig=file) as found:
        with pytest.raises(errors.Unavailable, match="GET /api: "):
            await connection.Connection(found, user_agent="t").get("/api")


async def test_an_answer_that_breaks_off_is_unavailable(
    server: Server, real: connection.Connection
) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return answer

    server.answer = broken
    with pytest.raises(errors.Unavailable):
        await real.get(PATH)


async def test_an_answer_that_does_not_come_is_unavailable(server: Server, tmp_path: Path) -> None:
    released = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    server.answer = silent
    request = transport.Request("GET", PATH, timeouts=transport.Timeouts(total=0.05))
    file = a_kubeconfig(tmp_path, server.url)
    async with transport.KubernetesTransport.connect(kubeconfig=file) as found:
        with pytest.raises(errors.Unavailable, match="TimeoutError"):
            async with found.open(request):
                pass
    released.set()


@pytest.mark.parametrize(
    ("ask", "method", "content_type", "body"),
    [
        pytest.param(lambda c: c.get(PATH), "GET", "application/json", None, id="get"),
        pytest.param(
            lambda c: c.post(PATH, {"a": 1}), "POST", "application/json", {"a": 1}, id="post"
        ),
        pytest.param(
            lambda c: c.patch(PATH, {"a": None}),
            "PATCH",
            "application/merge-patch+json",
            {"a": None},
            id="a-mapping-is-a-merge-patch",
        ),
        pytest.param(
            lambda c: c.patch(PATH, [{"op": "remove", "path": "/a"}]),
            "PATCH",
            "application/json-patch+json",
            [{"op": "remove", "path": "/a"}],
            id="a-list-is-a-json-patch",
        ),
        pytest.param(
            lambda c: c.patch(PATH, []), "PATCH", "application/json-patch+json", [], id="empty"
        ),
        pytest.param(
            lambda c: c.delete(PATH, uid="u"),
            "DELETE",
            "application/json",
            {"propagationPolicy": "Background", "preconditions": {"uid": "u"}},
            id="delete",
        ),
    ],
)
async def test_what_goes_over_the_wire(
    server: Server, real: connection.Connection, ask: Any, method: str, content_type: str, body: Any
) -> None:
    await ask(real)
    ((request, sent),) = server.asked
    assert (request.method, request.path) == (method, PATH)
    assert request.headers["Content-Type"] == content_type
    assert request.headers["User-Agent"] == "longtask-test"
    assert request.headers["Authorization"] == "Bearer sesame"
    assert (json.loads(sent) if sent else None) == body
    manager = "longtask-test" if method in ("POST", "PATCH") else None
    assert request.query.get("fieldManager") == manager


async def test_the_token_is_asked_for_each_time(server: Server) -> None:
    tokens = iter(["Bearer one", "Bearer two"])

    async def authorization() -> dict[str, str]:
        return {"Authorization": next(tokens)}

    account = accounts.Account(server.url, False, authorization)
    async with aiohttp.ClientSession() as session:
        real = transport.KubernetesTransport(account, session)
        found = connection.Connection(real, user_agent="t")
        await found.get("/a")
        await found.get("/b")
    sent = [request.headers["Authorization"] for request, _ in server.asked]
    assert sent == ["Bearer one", "Bearer two"]


@pytest.fixture
def pod_account(tmp_path: Path) -> Path:
    """What a pod finds."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text(Path(certifi.where()).read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("10.0.0.1", "https://10.0.0.1:6443", id="ipv4"),
        pytest.param("fd00::1", "https://[fd00::1]:6443", id="ipv6"),
    ],
)
async def test_a_pods_account(
    pod_account: Path, monkeypatch: pytest.MonkeyPatch, host: str, expected: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    now = 0.0
    monkeypatch.setattr(accounts.time, "monotonic", lambda: now)
    async with accounts.Account.find(folder=pod_account) as account:
        assert account.host == expected
        assert isinstance(account.tls, ssl.SSLContext)
        assert await account.authorization() == {"Authorization": "Bearer first"}
        (pod_account / "token").write_text("second\n")
        now = 61.0
        assert await account.authorization() == {"Authorization": "Bearer second"}
        (pod_account / "token").unlink()
        now = 122.0
        with pytest.raises(OSError, match="token"):
            await account.authorization()


async def test_an_account_without_a_place_is_told(
    pod_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.ClusterError, match="KUBERNETES_SERVICE_HOST"):
        async with accounts.Account.find(folder=pod_account):
            pass


async def test_nothing_is_compressed_and_no_cookie_is_kept(
    server: Server, real: connection.Connection
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Set-Cookie": "a=b"})

    server.answer = answer
    await real.get("/a")
    await real.get("/a")
    assert {request.headers["Accept-Encoding"] for request, _ in server.asked} == {"identity"}
    assert not any("Cookie" in request.headers for request, _ in server.asked)


async def test_the_library_for_kubeconfigs_is_not_needed_in_a_pod() -> None:
    code = "import sys, longtask_adapters.kube.transport; print('kubernetes' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate())[0] == b"False\n"


async def test_connections_are_kept(server: Server, real: connection.Connection) -> None:
    ports = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    server.answer = answer
    for _ in range(3):
        await real.get("/a")
    assert len(ports) == 1


async def test_a_long_list_comes_page_by_page(server: Server, real: connection.Connection) -> None:
    pages = [
        {"metadata": {"resourceVersion": "7", "continue": "a b"}, "items": [{"n": 1}]},
        {"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]},
    ]
    server.answer = lambda request: json_answer(pages.pop(0))(request)
    found = [page async for page in real.pages(PATH, {"labelSelector": "x"}, limit=1)]
    assert found == [
        connection.Page(is_first=True, version=7, items=[{"n": 1}]),
        connection.Page(is_first=False, version=7, items=[{"n": 2}]),
    ]
    first, second = (request.path_qs for request, _ in server.asked)
    assert first == f"{PATH}?labelSelector=x&limit=1"
    assert second == f"{first}&continue=a+b"


@pytest.mark.parametrize(
    ("bytes_each", "second"),
    [
        pytest.param(65_536, 15, id="of-large-objects-few"),
        pytest.param(25_000, 41, id="of-smaller-ones-more"),
        pytest.param(100, 100, id="of-small-ones-as-many-as-would-do-if-large-ones-follow"),
        pytest.param(1_500_000, 10, id="some-at-least"),
    ],
)
async def test_a_page_is_as_long_as_its_objects_let_it(
    server: Server, real: connection.Connection, bytes_each: int, second: int
) -> None:
    item = {"text": "x" * (bytes_each - 14)}
    pages = [
        {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [item] * 10},
        {"metadata": {"resourceVersion": "7"}, "items": []},
    ]
    server.answer = lambda request: json_answer(pages.pop(0))(request)
    async for _ in real.pages(PATH):
        pass
    limits = [int(request.query["limit"]) for request, _ in server.asked]
    assert limits == [10, pytest.approx(second, rel=0.02)]


async def test_a_watch_is_read_line_by_line(server: Server, real: connection.Connection) -> None:
    large = {"type": "ADDED", "object": {"text": "x" * 300_000}}
    mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    went_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(json.dumps(large).encode() + b"\n" + json.dumps(mark).encode()[:5])
        await went_on.wait()
        await stream.write(json.dumps(mark).encode()[5:] + b"\n")
        return stream

    server.answer = answer
    events = real.watch(PATH, 7)
    assert (await anext(events)).type is connection.EventType.CONNECTED
    assert await anext(events) == connection.Event(connection.EventType.ADDED, large["object"])
    went_on.set()
    assert (await anext(events)).object == mark["object"]
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    ((request, _),) = server.asked
    assert (request.query["watch"], request.query["resourceVersion"]) == ("true", "7")
    assert 240 <= int(request.query["timeoutSeconds"]) <= 300


async def test_a_log_comes_as_it_is_written(server: Server, real: connection.Connection) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"one\ntw")
        await stream.write(b"o\n")
        return stream

    server.answer = answer
    async with real.stream(PATH + "/p/log", {"follow": "true"}) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\n"


async def test_nothing_says_where_the_cluster_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.ClusterError, match="Nothing says where"):
        async with transport.KubernetesTransport.connect(kubeconfig=tmp_path / "none"):
            pass

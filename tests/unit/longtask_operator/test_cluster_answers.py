"""How the door reads what is answered: by a busy API server, a proxy, or nobody."""

from collections.abc import AsyncIterator, Callable

import kubernetes.aio.client
import pytest
from aiohttp import web

from longtask_operator import cluster, errors

Answer = Callable[[], web.Response]


class Server:
    """Stands in place of the API server; answers one thing to everything."""

    def __init__(self) -> None:
        self.answer: Answer = web.Response
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        return self.answer()


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def door(server: Server) -> AsyncIterator[cluster.KubernetesCluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found = a_door(f"http://{host}:{port}")
    yield found
    await found.close()
    await runner.cleanup()


def a_door(host: str) -> cluster.KubernetesCluster:
    configuration = kubernetes.aio.client.Configuration(host=host)
    return cluster.KubernetesCluster(kubernetes.aio.client.ApiClient(configuration), "longtasks")


def told(code: int, message: str) -> Answer:
    status = {"kind": "Status", "message": message, "code": code}
    return lambda: web.json_response(status, status=code)


def text(code: int, words: str) -> Answer:
    return lambda: web.Response(text=words, status=code)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        pytest.param(told(404, "no such task"), errors.NotFound, "no such task", id="404"),
        pytest.param(told(409, "modified"), errors.Conflict, "modified", id="409"),
        pytest.param(told(422, "invalid"), errors.Rejected, "invalid", id="422"),
        pytest.param(told(403, "forbidden"), errors.Rejected, "forbidden", id="403"),
        pytest.param(told(401, "who?"), errors.Unavailable, "who", id="401-may-be-a-new-token"),
        pytest.param(told(500, "oops"), errors.Unavailable, "oops", id="500"),
        pytest.param(
            text(429, "Too many requests, please try again later.\n"),
            errors.Unavailable,
            "Too many requests",
            id="a-busy-server-answers-in-plain-text",
        ),
        pytest.param(
            text(404, "404 page not found\n"),
            errors.NotFound,
            "page not found",
            id="before-the-crds-are-there",
        ),
        pytest.param(text(502, "<html>"), errors.Unavailable, "<html>", id="a-proxy"),
        pytest.param(text(503, ""), errors.Unavailable, "Service Unavailable", id="no-words"),
        pytest.param(text(500, "[1]"), errors.Unavailable, "Internal", id="strange-words"),
        pytest.param(text(200, "<html>"), errors.Unavailable, "no JSON", id="a-captive-portal"),
        pytest.param(text(200, '{"items": ['), errors.Unavailable, "no JSON", id="a-cut-answer"),
    ],
)
async def test_an_answer_is_one_of_our_errors(
    server: Server,
    door: cluster.KubernetesCluster,
    answer: Answer,
    error: type[errors.ClusterError],
    words: str,
) -> None:
    server.answer = answer
    with pytest.raises(error, match=words):
        await door.get_task("report")


async def test_nobody_there_is_unavailable(unused_tcp_port: int) -> None:
    door = a_door(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(errors.Unavailable):
        await door.get_task("report")
    await door.close()


async def test_a_long_list_comes_page_by_page(
    server: Server, door: cluster.KubernetesCluster
) -> None:
    pages = [
        {"metadata": {"resourceVersion": "7", "continue": "a b"}, "items": [{"n": 1}]},
        {"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]},
    ]
    server.answer = lambda: web.json_response(pages.pop(0))
    assert await door.list_labelled("pods") == (7, [{"n": 1}, {"n": 2}])
    first, second = server.asked
    assert "labelSelector=longtask.dev/task&" in first
    assert second == f"{first}&continue=a+b"

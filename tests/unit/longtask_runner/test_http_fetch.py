"""http-fetch against a server on the loopback interface, which only the allow list opens."""

import base64
import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest

from longtask_crds import address_guard
from longtask_runner import errors
from longtask_runner.tasks import guarded_http, http_fetch


class ByteServer:
    """Answers each connection with given bytes, keeps what it was asked."""

    def __init__(self, answer: bytes, *, hold: bool = False) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/path?q=1"
        self.guard = address_guard.Guard.from_lists(allow=[f"127.0.0.1:{self.port}"])
        self.answer = answer
        self.release = threading.Event()
        if not hold:
            self.release.set()
        self.asked: list[bytes] = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
                    head += data
                self.asked.append(head)
                # A client that has read enough resets the connection.
                with contextlib.suppress(ConnectionError):
                    connection.sendall(self.answer)
                self.release.wait(20)

    def close(self) -> None:
        self.release.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator:
    servers = []

    def start(answer: bytes, **options: bool) -> ByteServer:
        servers.append(ByteServer(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def response(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


TEXT = "Content-Type: text/plain; charset=utf-8\r\n"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(
            response("f\u00fcr".encode(), headers=TEXT),
            {"status": 200, "contentType": "text/plain; charset=utf-8", "body": "f\u00fcr"},
            id="text",
        ),
        pytest.param(
            response(b"\xff\x00"),
            {"status": 200, "contentType": "", "bodyBase64": "/wA="},
            id="bytes-go-in-base64",
        ),
        pytest.param(
            response(b"a\0b"),
            {"status": 200, "contentType": "", "bodyBase64": base64.b64encode(b"a\0b").decode()},
            id="so-does-text-with-nul",
        ),
        pytest.param(
            response(b"", status="204 No Content"),
            {"status": 204, "contentType": "", "body": ""},
            id="nothing",
        ),
        pytest.param(
            response(b"no", status="404 Not Found"),
            {"status": 404, "contentType": "", "body": "no"},
            id="an-error-status-is-a-result",
        ),
        pytest.param(
            response(b"", status="302 Found", headers="Location: http://10.0.0.1/\r\n"),
            {"status": 302, "contentType": "", "body": ""},
            id="a-redirect-is-the-result-not-followed",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            {"status": 200, "contentType": "", "body": "abc"},
            id="in-chunks",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            {"status": 200, "contentType": "", "body": "until the end"},
            id="until-the-connection-ends",
        ),
    ],
)
def test_an_answer_becomes_the_result(serve, answer: bytes, result: dict) -> None:
    server = serve(answer)
    assert http_fetch.fetch(server.url, guard=server.guard) == result
    assert len(server.asked) == 1


def test_the_request_carries_nothing_of_the_pod(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = serve(response(b"x"))
    http_fetch.fetch(server.url, guard=server.guard)
    lines = server.asked[0].decode().split("\r\n")
    assert lines[0] == "GET /path?q=1 HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        "Host", "User-Agent", "Accept-Encoding",
    }  # fmt: skip
    assert f"Host: 127.0.0.1:{server.port}" in lines


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response(b"a" * 4096), id="with-its-length"),
        pytest.param(response(b"a" * 1_000_000), id="much-too-large"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * 5000, id="without-its-length"),
    ],
)
def test_a_body_above_the_limit_fails_and_says_so(serve, answer: bytes, monkeypatch) -> None:
    monkeypatch.setattr(http_fetch, "BODY_LIMIT", 4095)
    server = serve(answer)
    with pytest.raises(errors.ResultTooLarge, match="more than 4095 bytes"):
        http_fetch.fetch(server.url, guard=server.guard)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(b"", "RemoteDisconnected", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", "BadStatusLine", id="another-protocol"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "IncompleteRead", id="a-cut-body"
        ),
    ],
)
def test_a_broken_answer_is_tried_again(serve, answer: bytes, words: str) -> None:
    server = serve(answer)
    with pytest.raises(errors.TryAgain, match=words):
        http_fetch.fetch(server.url, guard=server.guard)


def test_an_answer_that_never_ends_is_left_in_time(serve) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", hold=True)
    # Each look at the clock is ten seconds later, so the third wait finds no time left.
    ticks = itertools.count(0, 10)
    with pytest.raises(TimeoutError, match="within 30 s"):
        guarded_http.get(
            server.url, guard=server.guard, limit=100, headers={}, clock=lambda: float(next(ticks))
        )


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # nobody else has the port, and nobody listens
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        guard = address_guard.Guard.from_lists(allow=[place])
        with pytest.raises(errors.TryAgain, match="ConnectionRefusedError"):
            http_fetch.fetch(f"http://{place}/", guard=guard)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(["127.0.0.1"], id="loopback"),
        pytest.param(["::ffff:127.0.0.1"], id="mapped"),
        pytest.param(["169.254.169.254", "8.8.8.8"], id="the-first-of-two"),
    ],
)
def test_a_name_that_leads_inside_is_refused_before_any_socket(
    answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_host: str, port: int, **_: object) -> list:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answers]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was made"))
    with pytest.raises(errors.AddressRefused, match="AddressNotPublic"):
        http_fetch.fetch("https://rebound.example/", guard=address_guard.Guard())


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://8.8.8.8/", id="by-its-number"),
        pytest.param("https://[2001:4860::8888]/", id="by-its-number-of-six"),
        pytest.param("https://[64:ff9b::8.8.8.8]/", id="by-a-translated-number"),
        pytest.param("https://denied.example/", id="by-a-name-that-leads-there"),
    ],
)
def test_a_denied_public_network_is_refused_before_any_socket(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_host: str, port: int, **_: object) -> list:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was made"))
    monkeypatch.setenv("HTTP_FETCH_DENY", "1.1.1.0/24, 8.8.8.0/24,2001:4860::/32")
    with pytest.raises(errors.AddressRefused, match="AddressDenied"):
        http_fetch.http_fetch(url)


def test_exactly_the_checked_address_is_dialled(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(response(b"x"))
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: next(answers))
    result = http_fetch.fetch(f"https://name.example:{server.port}/".replace("https", "http"),
        guard=address_guard.Guard.from_lists(
            allow=["name.example", f"127.0.0.1:{server.port}"]))  # fmt: skip
    assert result["body"] == "x"
    assert f"Host: name.example:{server.port}".encode() in server.asked[0]


def test_the_allow_list_comes_from_the_environment(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(response(b"x"))
    with pytest.raises(errors.AddressRefused):
        http_fetch.http_fetch(server.url)
    monkeypatch.setenv("HTTP_FETCH_ALLOW", f" 10.0.0.0/8, 127.0.0.1:{server.port},")
    assert http_fetch.http_fetch(server.url)["body"] == "x"


def test_headers_cannot_be_injected_by_the_url(serve) -> None:
    server = serve(response(b"x"))
    with pytest.raises(errors.AddressRefused, match="InvalidUrl"):
        http_fetch.fetch(server.url + " HTTP/1.1\r\nX: y", guard=server.guard)
    assert server.asked == []

"""How a program says that it ends, and that nobody waits for long to hear it."""

import http.server
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from longtask_runner import ending, last_words, leaving

SUCCESS = ending.Ending(0, b'{"n":18446744073709551615}')
#: For so many seconds a busy machine may do something else.
BUSY = 10


def say(end: ending.Ending, url: str, pod) -> None:
    last_words.say(end, url=url, token_file=str(pod.token))


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take as long as it likes: a busy machine lets an answer wait."""
    monkeypatch.setattr(last_words, "PATIENCE_SECONDS", 60.0)


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param(SUCCESS, {"exitCode": 0, "result": {"n": 2**64 - 1}}, id="a-result"),
        pytest.param(
            ending.Ending(0, b"", result_size=5000), {"exitCode": 0}, id="a-result-that-was-sent"
        ),
        pytest.param(
            ending.Ending(75, 'TryAgain: "\u00e9"'.encode()),
            {"exitCode": 75, "message": 'TryAgain: "\u00e9"'},
            id="a-failure",
        ),
    ],
)
def test_it_says_how_it_ends(pod, api, capfd, end: ending.Ending, said: dict) -> None:
    say(end, api.url + "/prefix/", pod)
    path, headers, body = api.outcomes.get(timeout=60)
    assert (path, body) == ("/prefix/runner/v1/outcome", said)
    assert headers["Authorization"] == "Bearer a-token"
    assert headers["Host"] == api.url.removeprefix("http://")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize(
    ("answers", "times", "words"),
    [
        pytest.param([(503, b"")], 2, None, id="what-may-pass-is-tried-again"),
        pytest.param([(409, b"")], 1, "HTTP status 409", id="a-refusal-is-not"),
        pytest.param([(404, b"")], 1, "HTTP status 404", id="nor-an-api-that-does-not-know-it"),
    ],
)
def test_what_it_makes_of_an_answer(
    pod, api, capfd, answers: list, times: int, words: str | None
) -> None:
    for answer in answers:
        api.outcome_answers.put(answer)
    say(SUCCESS, api.url, pod)
    assert len(api.said()) == times
    err = capfd.readouterr().err
    assert err == "" if words is None else words in err


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://127.0.0.1:1", id="nobody-listens"),
        pytest.param("http://[::1]:1", id="nobody-listens-at-another-address"),
        pytest.param("http://nowhere.invalid:80", id="no-such-name"),
    ],
)
def test_an_api_that_is_away_costs_no_more_than_a_second(pod, capfd, url: str) -> None:
    began = time.monotonic()
    say(SUCCESS, url, pod)
    assert time.monotonic() - began < last_words.PATIENCE_SECONDS + BUSY
    assert "how it ends was not reported" in capfd.readouterr().err


@pytest.mark.usefixtures("_patient")
def test_a_connection_that_is_not_made_at_once_is_tried_again(pod, capfd, monkeypatch) -> None:
    """A full queue of connections drops the next one, as policies do that do not know a pod yet."""

    def answer() -> None:
        connection = server.accept()[0]
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def make_room(_seconds: float) -> None:
        server.accept()[0].close()
        answering.start()

    answering = threading.Thread(target=answer)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname()),
    ):
        monkeypatch.setattr(last_words.time, "sleep", make_room)
        say(SUCCESS, f"http://127.0.0.1:{server.getsockname()[1]}", pod)
        answering.join()
    assert capfd.readouterr().err == ""


def test_one_that_never_answers_costs_two_seconds(pod, capfd) -> None:
    heard = threading.Event()
    over = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.set()
            over.wait()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        began = time.monotonic()
        say(SUCCESS, f"http://127.0.0.1:{server.server_port}", pod)
        took = time.monotonic() - began
        assert heard.wait(60)
        assert took < last_words.PATIENCE_SECONDS + BUSY
        assert "how it ends was not reported" in capfd.readouterr().err
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def test_without_a_token_it_only_says_so(pod, api, capfd) -> None:
    pod.token.unlink()
    say(SUCCESS, api.url, pod)
    assert api.said() == []
    assert "FileNotFoundError" in capfd.readouterr().err


def test_a_success_stays_one_where_no_more_threads_may_be(pod, api) -> None:
    """As a container's limit of processes has it; the task may have left some that do not end."""
    source = (
        "import _thread\nfrom longtask_runner import task\n"
        'def refuse(*_): raise RuntimeError("can\'t start new thread")\n'
        "@task\ndef crowded(): _thread.start_new_thread = refuse\n"
    )
    pod.install("crowded", {"crowded": "crowded:crowded"}, crowded=source)
    pod.input.write_text("{}")
    done = pod.run("crowded", LONGTASK_API_URL=api.url)
    assert done.returncode == 0, done.stderr
    assert "can't start new thread" in done.stderr
    assert api.said() == []


@pytest.fixture
def tls(tmp_path: pathlib.Path, api, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same API behind TLS, by a certificate that is trusted."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), api.server.RequestHandlerClass)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("_patient")
def test_it_says_so_by_tls_too(pod, api, tls: str) -> None:
    say(SUCCESS, tls, pod)
    assert api.said() == [{"exitCode": 0, "result": {"n": 2**64 - 1}}]


# --- which ends are told ---


@pytest.mark.parametrize(
    ("task", "said"),
    [
        pytest.param("fibonacci", 0, id="a-success"),
        pytest.param("fail", 1, id="a-failure-with-its-words"),
        pytest.param("leave", None, id="a-failure-without"),
        pytest.param("leftover", None, id="not-while-its-threads-run"),
    ],
)
def test_a_task_says_how_it_ends_once_its_output_is_written(
    pod, api, task: str, said: int | None
) -> None:
    source = (
        "import sys, threading\nfrom longtask_runner import task\n"
        "@task\ndef fail(): raise ValueError('boom')\n"
        "@task\ndef leave(): sys.exit(3)\n"
        "def stay(): threading.main_thread().join()\n"
        "@task\ndef leftover(): threading.Thread(target=stay).start()\n"
    )
    names = {name: f"ends:{name}" for name in ("fail", "leave", "leftover")}
    pod.install("ends", names, ends=source)
    pod.be_patient()
    pod.input.write_text('{"n": 9}' if task == "fibonacci" else "{}")
    done = pod.run(task, LONGTASK_API_URL=api.url)
    heard = api.said()
    assert [one["exitCode"] for one in heard] == ([] if said is None else [said])
    if heard:
        assert done.returncode == said
        assert str(heard[0].get("message", "")) in pod.output.read_text()
    assert re.search("ended|succeeded", done.stderr)


def test_who_was_told_to_end_says_nothing(pod, api) -> None:
    pod.be_patient()
    api.answers.put((200, b'{"cancelRequested": true}'))
    pod.input.write_text('{"seconds": 600}')
    assert pod.run("sleep", LONGTASK_API_URL=api.url).returncode == 143
    assert api.said() == []


def test_threads_that_nobody_waits_for_hold_nothing_up() -> None:
    over = threading.Event()
    daemon = threading.Thread(target=over.wait, daemon=True)
    daemon.start()
    assert not leaving.is_held_up()
    other = threading.Thread(target=over.wait)
    other.start()
    assert leaving.is_held_up()
    over.set()
    other.join()
    daemon.join()

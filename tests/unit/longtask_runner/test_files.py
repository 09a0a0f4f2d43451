"""Whole results of earlier steps come as files, over a real connection."""

import pathlib
import socket
import threading

import pytest

from clock_support import Seconds
from longtask_crds import runner_contract
from longtask_runner import errors, files, runner_port

LARGE = b"x" * 1_000_000


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def fetch(api, pod, clock: Seconds, tmp_path: pathlib.Path):
    """Return what fetches a step's result from the API, or from another address."""

    def fetch(name: str = "convert", *, url: str = api.url) -> bytes:
        port = runner_port.RunnerPort(url=url, token_file=str(pod.token), clock=clock)
        size = files.fetch(port, name, folder=str(tmp_path), clock=clock, sleep=clock.sleep)
        content = (tmp_path / name).read_bytes()
        assert len(content) == size
        return content

    return fetch


def test_it_comes_whole_into_a_file_of_the_steps_name(api, fetch) -> None:
    api.answers.put((200, LARGE))
    assert fetch() == LARGE
    path, headers, _ = api.requests.get(timeout=60)
    assert path == "/runner/v1/steps/convert/result"
    assert headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize("status", [500, 503, 429, 409])
def test_what_may_pass_is_tried_again(api, fetch, clock: Seconds, capsys, status: int) -> None:
    api.answers.put((status, b'{"detail": "not now"}'))
    assert fetch() == b'{"n": 1}'
    assert len(clock.pauses) == 1
    assert f"did not come: HTTP status {status}: not now" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 404, 422])
def test_what_will_not_pass_is_not(api, fetch, clock: Seconds, status: int) -> None:
    api.answers.put((status, b'{"detail": "never"}'))
    with pytest.raises(errors.ResultNotDelivered, match=f"step convert .*{status}: never"):
        fetch()
    assert clock.pauses == []


def test_an_api_that_stays_away_is_waited_for_for_ten_minutes(fetch, clock: Seconds) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ResultNotDelivered, match="did not come"):
            fetch(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert 590 < clock.now <= 600


def test_half_a_result_is_none(api, fetch, clock: Seconds) -> None:
    """The first connection breaks in the middle of the answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for sent in (b"half", b"all of it"):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + sent)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            assert fetch(url=f"http://127.0.0.1:{server.getsockname()[1]}") == b"all of it"
        finally:
            thread.join()
    assert len(clock.pauses) == 1


@pytest.fixture
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, pod, api) -> None:
    monkeypatch.setattr(runner_contract, "FILES_FOLDER", str(tmp_path))
    monkeypatch.setenv("LONGTASK_TOKEN_FILE", str(pod.token))
    monkeypatch.setenv("LONGTASK_API_URL", api.url)
    monkeypatch.setattr("sys.argv", ["files", "one", "two"])


@pytest.mark.usefixtures("_folder")
def test_all_that_are_named_are_fetched(tmp_path: pathlib.Path, capsys) -> None:
    files.main()
    assert [(tmp_path / name).read_text() for name in ("one", "two")] == ['{"n": 1}'] * 2
    assert "fetched the result of the step two: 8 bytes" in capsys.readouterr().err


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("url", [pytest.param("", id="no-api"), pytest.param(None, id="refused")])
def test_without_one_the_exit_code_says_try_again(
    api, monkeypatch: pytest.MonkeyPatch, capsys, url: str | None
) -> None:
    if url is not None:
        monkeypatch.setenv("LONGTASK_API_URL", url)
    api.answers.put((404, b'{"detail": "there is no such step"}'))
    with pytest.raises(SystemExit) as ended:
        files.main()
    assert ended.value.code == 75
    told = "there is no API" if url == "" else "there is no such step"
    assert told in capsys.readouterr().err

"""The command as a process, on a terminal, against a server on this host."""

import contextlib
import http.server
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class Api(http.server.BaseHTTPRequestHandler):
    """A task that ends when it was looked at often enough, or never."""

    looks = 0
    ends_after: int | None = 4
    task: dict[str, Any]
    answers: dict[str, Any]
    seen = threading.Event()

    def do_GET(self) -> None:
        cls = type(self)
        cls.looks += 1
        ended = cls.ends_after is not None and cls.looks >= cls.ends_after
        state = {"phase": "Succeeded" if ended else "Running", "percent": 100 if ended else 37}
        answer = cls.answers.get(self.path.partition("?")[0], cls.task | state)
        # Unescaped, as the API sends it: only below 0x20 JSON must be escaped.
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        cls.seen.set()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's
        """Say nothing."""


@pytest.fixture
def server(a_task: Any) -> Iterator[type[Api]]:
    own = {"task": a_task("a", "Succeeded"), "answers": {}, "seen": threading.Event()}
    handler = type("Handler", (Api,), own)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        handler.url = f"http://127.0.0.1:{running.server_port}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler
        running.shutdown()
        thread.join()


#: As from a terminal: what starts in the background inherits that Ctrl-C is ignored.
COMMAND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("longtask_client", run_name="__main__")
"""


def start(
    server: Any,
    *words: str,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> subprocess.Popen[str]:
    variables = {"LONGTASK_URL": server.url, "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env=os.environ | variables | environment,
    )


def all_of(terminal: int) -> bytes:
    """What comes to a terminal until its other side is closed."""
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    return shown


TASKS = "/api/v1/tasks"
EVIL = "red \x9b31m"  # a control sequence in one character above ASCII
A_TYPE = {"name": "x", "description": EVIL, "inputSchema": {"title": EVIL}, "defaults": None}


@pytest.mark.parametrize(
    ("words", "path", "answer"),
    [
        pytest.param(["result", "a"], f"{TASKS}/a/result", f'"{EVIL}"', id="a-result"),
        pytest.param(["logs", "a"], f"{TASKS}/a/logs", EVIL, id="a-log"),
        pytest.param(["types", "x"], "/api/v1/types/x", A_TYPE, id="a-type"),
        pytest.param(["types", "x", "-o", "json"], "/api/v1/types/x", A_TYPE, id="a-type-as-json"),
    ],
)
def test_data_cannot_steer_a_terminal_and_is_whole_elsewhere(
    server: type[Api], words: list[str], path: str, answer: object
) -> None:
    server.answers[path] = answer
    ours, theirs = pty.openpty()
    process = start(server, *words, stdout=theirs)
    os.close(theirs)
    shown = all_of(ours).decode()
    assert (process.communicate(timeout=120)[1], process.returncode) == ("", 0)
    assert "red \ufffd31m" in shown
    assert "\x9b" not in shown
    piped, _ = start(server, *words).communicate(timeout=120)
    assert "red \x9b31m" in piped


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STEPS = [
    {"name": "b", "phase": "Succeeded", "attempt": 1, "jobName": "j"},
    {
        "name": "c",
        "phase": "Failed",
        "reason": "ProgramFailed",
        "message": "no such font",
        "attempt": 1,
        "jobName": "j",
        "begunAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:03Z",
    },
    {"name": "d", "phase": "Pending"},
]


def test_a_terminal_gets_a_live_bar(server: type[Api]) -> None:
    ours, theirs = pty.openpty()
    process = start(server, "wait", "a", stderr=theirs, NO_COLOR="1")
    os.close(theirs)
    shown = all_of(ours)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out == "a\n"
    assert b"37%" in shown
    assert "━".encode() in shown
    assert shown.rstrip().endswith(b"a succeeded")
    assert b"\x1b[3" not in shown  # no colour


def test_a_terminal_gets_a_live_tree_and_keeps_the_last_one(server: type[Api]) -> None:
    server.task = server.task | {"step": "2/3 b", "steps": STEPS}
    ours, theirs = pty.openpty()
    process = start(server, "wait", "a", stderr=theirs, NO_COLOR="1")
    os.close(theirs)
    shown = all_of(ours).decode()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Running, 2/3 b" in shown
    last = CONTROL.sub("", shown).rsplit("✓ a ", 1)[1]
    lines = [line.strip() for line in last.splitlines()]
    assert lines[1].startswith("├─ ✓ b ")
    assert lines[2].startswith("├─ ✗ c ")
    assert lines[2].endswith("3s  ProgramFailed: no such font")
    assert lines[3] == "└─ · d"
    assert lines[4].startswith("a succeeded")


def test_get_shows_the_tree_on_a_terminal(server: type[Api]) -> None:
    server.task = server.task | {"step": "2/3 b", "steps": STEPS}
    ours, theirs = pty.openpty()
    process = start(server, "get", "a", stdout=theirs, NO_COLOR="1")
    os.close(theirs)
    shown = all_of(ours).decode()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert "a pipeline of 3 steps" in shown
    assert "├─ ✗ c" in CONTROL.sub("", shown)


def test_an_interrupt_leaves_the_task_running(server: type[Api]) -> None:
    server.ends_after = None
    process = start(server, "wait", "a")
    assert server.seen.wait(timeout=120)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "tasks go on" in talk
    assert "Traceback" not in talk


def test_a_reader_that_goes_away_is_no_error(server: type[Api]) -> None:
    process = start(server, "get", "a")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=120) == 0

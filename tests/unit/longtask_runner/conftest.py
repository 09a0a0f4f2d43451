"""A pod without a cluster: files, environment, and an API on the loopback interface."""

import hashlib
import http.server
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[3]
RESULT_LIMIT = 8 * 1024 * 1024


class FakeApi:
    """The runner port: keeps each request, answers from a script, then with no wish to cancel."""

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue = queue.SimpleQueue()
        self.answers: queue.SimpleQueue = queue.SimpleQueue()
        #: How programs said that they end, and what they are answered.
        self.outcomes: queue.SimpleQueue = queue.SimpleQueue()
        self.outcome_answers: queue.SimpleQueue = queue.SimpleQueue()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = (self.path, dict(self.headers), body)
                if self.path.endswith("/outcome"):
                    api.outcomes.put(asked)
                    answers, usual = api.outcome_answers, b'{"reportedAt": "2026-01-02T03:04:05Z"}'
                else:
                    api.requests.put(asked)
                    answers, usual = api.answers, b'{"cancelRequested": false}'
                self.answer(200, usual, answers)

            def do_PUT(self) -> None:
                size = int(self.headers["Content-Length"])
                if size > RESULT_LIMIT:
                    # It hangs up while the rest is still to come, as servers do.
                    return self.answer(413, b'{"detail": "A result may have less."}')
                body = self.rfile.read(size)
                api.requests.put((self.path, dict(self.headers), body))
                digest = hashlib.sha256(body).hexdigest()
                self.answer(200, json.dumps({"size": size, "sha256": digest}).encode())

            def do_GET(self) -> None:
                api.requests.put((self.path, dict(self.headers), b""))
                self.answer(200, b'{"n": 1}')

            def answer(
                self, usual: int, text: bytes, answers: queue.SimpleQueue = self.answers
            ) -> None:
                try:
                    status, answer = answers.get_nowait()
                except queue.Empty:
                    status, answer = usual, text
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def next_body(self) -> dict:
        return self.requests.get(timeout=60)[2]

    def said(self) -> list[dict]:
        """Return how programs said that they end, until now."""
        return [self.outcomes.get()[2] for _ in range(self.outcomes.qsize())]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Pod:
    """One attempt's container: what the operator puts in, what comes out."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.input = folder / "input.json"
        self.checkpoint = folder / "checkpoint.json"
        self.output = folder / "termination-log"
        self.token = folder / "token"
        self.packages = folder / "packages"
        self.input.write_text("{}")
        self.checkpoint.write_text("")
        self.output.write_text("")
        self.token.write_text("a-token\n")
        self.packages.mkdir()
        project = tomllib.loads((ROOT / "runner/pyproject.toml").read_text())["project"]
        self.install("longtask_runner", project["entry-points"]["longtask.tasks"])
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(
                [str(self.packages), str(ROOT / "runner/src"), str(ROOT / "crds/src")]
            ),
            "LONGTASK_NAME": "a-task",
            "LONGTASK_NAMESPACE": "longtasks",
            "LONGTASK_UID": "a-uid",
            "LONGTASK_ATTEMPT": "2",
            "LONGTASK_INPUT_FILE": str(self.input),
            "LONGTASK_OUTPUT_FILE": str(self.output),
            "LONGTASK_CHECKPOINT_FILE": str(self.checkpoint),
            "LONGTASK_TOKEN_FILE": str(self.token),
        }

    def install(self, package: str, tasks: dict[str, str], **modules: str) -> None:
        """Put a package's metadata and modules on the import path."""
        metadata = self.packages / f"{package}-1.0.dist-info"
        metadata.mkdir()
        lines = [f"{name} = {target}" for name, target in tasks.items()]
        text = "\n".join(["[console_scripts]", "x = y:z", "", "[longtask.tasks]", *lines, ""])
        (metadata / "entry_points.txt").write_text(text)
        for module, source in modules.items():
            (self.packages / f"{module}.py").write_text(source)

    def be_patient(self) -> None:
        """Let programs wait for the API as long as a machine may stand still."""
        (self.packages / "sitecustomize.py").write_text(
            "from longtask_runner import last_words, main, runner_port\n"
            "last_words.PATIENCE_SECONDS = main.FLUSH_SECONDS = main.FINAL_SECONDS = 60.0\n"
            "runner_port.TIMEOUT_SECONDS = 60.0\n"
        )

    def start(self, task: str, **env: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "longtask_runner"],
            env=self.env | {"LONGTASK_TYPE": task} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, task: str, **env: str) -> subprocess.CompletedProcess:
        process = self.start(task, **env)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture
def pod(tmp_path: pathlib.Path) -> Pod:
    return Pod(tmp_path)

"""The examples do what they say."""

import base64
import datetime
import http.client
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tomllib

import pytest
import standardwebhooks
import yaml

from longtask_crds import v1alpha1

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples"
SCRIPT = yaml.safe_load((EXAMPLES / "shell/count-words.yaml").read_text())
KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda file: str(file.relative_to(EXAMPLES))
)
def test_each_resource_is_one(file: pathlib.Path) -> None:
    raw = yaml.safe_load(file.read_text())
    model = {"LongTask": v1alpha1.LongTask, "LongTaskType": v1alpha1.LongTaskType}[raw["kind"]]
    model.model_validate(raw)


def start_script(pod) -> subprocess.Popen:
    container = SCRIPT["spec"]["container"]
    return subprocess.Popen([*container["command"], *container["args"]], env=pod.env)


def test_the_shell_script_counts_words(pod) -> None:
    pod.input.write_text(json.dumps(SCRIPT["spec"]["input"]))
    (pod.folder / "sleep").write_text("#!/bin/sh\n")
    (pod.folder / "sleep").chmod(0o755)
    pod.env["PATH"] = f"{pod.folder}:{os.environ['PATH']}"
    assert start_script(pod).wait(60) == 0
    assert json.loads(pod.output.read_text()) == {"words": 10}


def test_the_shell_script_refuses_an_empty_input_for_good(pod) -> None:
    pod.input.write_text("")
    assert start_script(pod).wait(60) == 65
    assert pod.output.read_text().startswith("InvalidInput: ")


def test_the_shell_script_ends_on_sigterm(pod) -> None:
    pod.input.write_text("{}")
    started = pod.folder / "started"
    os.mkfifo(started)
    (pod.folder / "sleep").write_text(f"#!/bin/sh\necho >{started}\nexec /bin/sleep 5\n")
    (pod.folder / "sleep").chmod(0o755)
    pod.env["PATH"] = f"{pod.folder}:{os.environ['PATH']}"
    process = start_script(pod)
    started.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert pod.output.read_text() == "Cancelled: SIGTERM was received\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        pytest.param("v1/result", "/runner/v1/result", b'{"a": 1}', id="a-large-result"),
        pytest.param(
            "v1/outcome",
            "/runner/v1/outcome",
            {"exitCode": 0, "result": {"n": 1}},
            id="last-report",
        ),
        pytest.param(
            "v1/progress",
            "/runner/v1/progress",
            {"percent": 40, "checkpoint": {"next": 41}},
            id="progress",
        ),
    ],
)
def test_the_commands_of_the_contract_do_what_they_say(pod, api, words, path, body) -> None:
    text = (EXAMPLES.parent / "docs/container-contract.md").read_text()
    (script,) = (one for one in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if words in one)
    (pod.folder / "result.json").write_text('{"a": 1}')
    env = pod.env | {"LONGTASK_API_URL": api.url}
    subprocess.run(["sh", "-euc", script], env=env, cwd=pod.folder, check=True, timeout=60)
    came = api.outcomes if path.endswith("outcome") else api.requests
    asked, headers, sent = came.get(timeout=60)
    assert (asked, sent) == (path, body)
    assert headers["Authorization"] == "Bearer a-token"
    assert headers["Content-Type"] == "application/json"


def test_the_python_task_runs_by_its_entry_point(pod) -> None:
    project = tomllib.loads((EXAMPLES / "python-task/pyproject.toml").read_text())["project"]
    pod.install("my_tasks", project["entry-points"]["longtask.tasks"])
    pod.env["PYTHONPATH"] += f"{os.pathsep}{EXAMPLES / 'python-task/src'}"
    task = yaml.safe_load((EXAMPLES / "python-task/task.yaml").read_text())["spec"]
    pod.input.write_text(json.dumps(task["input"]))
    done = pod.run(task["type"])
    assert done.returncode == 0, done.stderr
    words = json.loads(pod.output.read_text())["words"]
    assert (len(words), words["the"]) == (3, 2)


def test_type_and_task_of_the_python_example_have_the_same_name() -> None:
    project = tomllib.loads((EXAMPLES / "python-task/pyproject.toml").read_text())["project"]
    named = yaml.safe_load((EXAMPLES / "python-task/type.yaml").read_text())["metadata"]["name"]
    assert list(project["entry-points"]["longtask.tasks"]) == [named]


@pytest.fixture(scope="module")
def receiver():
    spec = importlib.util.spec_from_file_location("receiver", EXAMPLES / "receivers/receiver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headers_of(*, stamp: str | None = None, signature: str | None = None, body: str = "{}"):
    headers = http.client.HTTPMessage()
    headers["Webhook-Id"] = "msg_1"
    headers["Webhook-Timestamp"] = stamp or str(int(NOW.timestamp()))
    headers["Webhook-Signature"] = signature or standardwebhooks.Webhook(KEY).sign(
        "msg_1", NOW, body
    )
    return headers


@pytest.mark.parametrize(
    ("headers", "body", "later", "genuine"),
    [
        pytest.param(headers_of(), b"{}", 0, True, id="a-genuine-one"),
        pytest.param(headers_of(), b"{}", 299, True, id="four-minutes-late"),
        pytest.param(headers_of(), b"{}", 301, False, id="five-minutes-late"),
        pytest.param(headers_of(), b"{}", -301, False, id="from-the-future"),
        pytest.param(headers_of(), b"{ }", 0, False, id="another-body"),
        pytest.param(headers_of(signature="v1,AAAA"), b"{}", 0, False, id="another-signature"),
        pytest.param(headers_of(signature="v1,\u00e9"), b"{}", 0, False, id="not-ascii"),
        pytest.param(
            headers_of(signature="v1,AAAA " + headers_of()["webhook-signature"]),
            b"{}",
            0,
            True,
            id="the-second-of-two-while-a-key-is-rotated",
        ),
        pytest.param(headers_of(stamp="x"), b"{}", 0, False, id="no-timestamp"),
        pytest.param(headers_of(stamp="\u00b2"), b"{}", 0, False, id="a-superscript-timestamp"),
        pytest.param(http.client.HTTPMessage(), b"{}", 0, False, id="no-headers"),
    ],
)
def test_the_receiver_tells_genuine_from_forged(receiver, headers, body, later, genuine) -> None:
    now = NOW.timestamp() + later
    assert receiver.is_genuine(headers, body, key=KEY, now=now) is genuine

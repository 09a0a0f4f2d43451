"""A pod that was started ahead waits for its task, and then is as any other."""

import json
import signal

import pytest

from longtask_crds import runner_contract
from longtask_runner import errors, runner_port, waiting

WORK = {
    "name": "report",
    "namespace": "longtasks",
    "uid": "uid-1",
    "attempt": 2,
    "step": "",
    "input": {"n": 10},
    "checkpoint": {"page": 3},
    "deadline": "2026-01-02T03:04:05Z",
    "heartbeatSeconds": None,
    "traceparent": "00-1-2-01",
}
NAMED = """
import os, sys
from longtask_runner import Context, task
print("loaded", file=sys.stderr, flush=True)
@task
def named(ctx: Context, n: int) -> dict:
    return {"n": n, "name": ctx.name, "uid": ctx.uid, "attempt": ctx.attempt,
            "checkpoint": ctx.saved_checkpoint, "trace": os.environ["TRACEPARENT"],
            "input": open(os.environ["LONGTASK_INPUT_FILE"]).read(),
            "warm": os.environ.get("LONGTASK_WARM")}
"""

DIES = """
import os, signal
from longtask_runner import task
@task
def dies(n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def env(pod, api, tmp_path):
    pod.install("my_tasks", {"named": "my_module:named"}, my_module=NAMED)
    for name in ("NAME", "NAMESPACE", "UID", "ATTEMPT", "INPUT_FILE", "CHECKPOINT_FILE"):
        del pod.env[f"LONGTASK_{name}"]
    return {"LONGTASK_API_URL": api.url, "LONGTASK_WARM": "true", "TMPDIR": str(tmp_path)}


def no_task(api) -> None:
    """Let there be none for as long as a test may take: by default the fake API has one."""
    for status in (204, 204, 204, *[503] * 100):
        api.answers.put((status, b""))


def test_it_asks_until_it_gets_a_task_and_runs_that(pod, api, env) -> None:
    api.answers.put((204, b""))
    api.answers.put((503, b""))
    api.answers.put((200, json.dumps(WORK).encode()))
    pod.be_patient()
    done = pod.run("named", **env)
    assert done.returncode == 0, done.stderr
    assert json.loads(pod.output.read_text()) == {
        "n": 10,
        "name": "report",
        "uid": "uid-1",
        "attempt": 2,
        "checkpoint": {"page": 3},
        "trace": "00-1-2-01",
        "input": '{"n":10}',
        "warm": None,
    }
    asked = [api.requests.get(timeout=60) for _ in range(3)]
    assert {path for path, *_ in asked} == {"/runner/v1/task?wait=30"}
    assert asked[0][1]["Authorization"] == "Bearer a-token"
    assert api.said()[-1]["exitCode"] == 0
    # Its module was there before the task was.
    assert done.stderr.index("loaded") < done.stderr.index("waits for a task")


def test_one_that_is_told_to_end_says_that_it_had_none(pod, api, env) -> None:
    no_task(api)
    process = pod.start("named", **env)
    try:
        # It asks again and again; the fake API says at once that there is none.
        api.requests.get(timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 75
    finally:
        process.kill()
        process.communicate()
    assert runner_contract.reason_from_message(pod.output.read_text()) == "NoTask"
    assert api.said() == []


def test_one_that_is_killed_has_said_before_that_it_had_none(pod, api, env) -> None:
    no_task(api)
    process = pod.start("named", **env)
    try:
        api.requests.get(timeout=60)
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert runner_contract.reason_from_message(pod.output.read_text()) == "NoTask"


def test_one_whose_task_dies_without_a_word_has_not_said_that_it_had_none(pod, api, env) -> None:
    pod.install("others", {"dies": "its_module:dies"}, its_module=DIES)
    api.answers.put((200, json.dumps(WORK).encode()))
    done = pod.run("dies", **env)
    assert done.returncode == -signal.SIGKILL
    assert pod.output.read_text() == ""


def test_one_whose_task_cannot_be_handed_over_ends_without_one(pod, api, env) -> None:
    api.answers.put((409, json.dumps({"detail": "The step has no input any more."}).encode()))
    done = pod.run("named", **env)
    assert done.returncode == 75
    assert pod.output.read_text().startswith("NoTask: HTTP status 409: The step has no input")


def test_a_task_that_cannot_be_loaded_is_told_when_there_is_one(pod, api, env) -> None:
    api.answers.put((200, json.dumps(WORK).encode()))
    done = pod.run("missing", **env)
    assert done.returncode == runner_contract.EXIT_CODES["TaskNotFound"]


def test_the_pauses_grow_while_the_api_is_away() -> None:
    class Port:
        def get_task(self, wait: int) -> dict:
            if len(slept) < 8:
                raise runner_port.NotTaken("away", again=True)
            return WORK

    slept: list[float] = []
    assert waiting.ask(Port(), sleep=slept.append) == WORK
    assert len(slept) == 8
    assert slept[0] <= 0.2
    assert 2.5 <= slept[-1] <= 5


def test_no_task_is_a_reason_of_its_own() -> None:
    assert runner_contract.EXIT_CODES[errors.NoTask.reason] == 75

"""How programs say that they end: by hand, by the runner, and what becomes of those that lie."""

from typing import Any

import httpx
import pytest

from e2e_support import (
    BASE_IMAGE,
    Kubectl,
    Receiver,
    callback_key,
    eventually,
    finished,
    submit,
)

#: What a program in Python needs to say how it ends; it prints what it is answered.
SAY = """
import json, os, sys, time, urllib.error, urllib.request

def say(exit_code, **said):
    token = open(os.environ["LONGTASK_TOKEN_FILE"]).read().strip()
    request = urllib.request.Request(
        os.environ["LONGTASK_API_URL"] + "/runner/v1/outcome",
        data=json.dumps({"exitCode": exit_code, **said}).encode(),
        headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"},
    )
    try:
        print("said", exit_code, urllib.request.urlopen(request).status, flush=True)
    except urllib.error.HTTPError as error:
        print("said", exit_code, error.code, flush=True)

"""


def program(text: str) -> dict[str, Any]:
    return {"image": BASE_IMAGE, "command": ["python3", "-c", SAY + text]}


def log_of(rest: httpx.Client, task: str, *, until: str) -> str:
    """Return what is kept of a log, once it holds these words."""
    return eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/logs").text, lambda log: until in log, within=60
    )


def released(kubectl: Kubectl, task: str) -> dict[str, Any]:
    """Wait until a task's Job is released; return the task."""
    eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda jobs: any("ttlSecondsAfterFinished" in job["spec"] for job in jobs),
        within=60,
    )
    return kubectl.get("lt", task)


def test_the_callback_comes_before_the_container_ends_and_its_log_is_whole(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver
) -> None:
    text = 'say(0, result={"n": 7})\nsay(0, result={"n": 7})\nsay(1)\n'
    text += 'time.sleep(12)\nprint("the very last line")'
    task = submit(rest, container=program(text), callback={"url": receiver.url()})["id"]
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(rest))["data"]["result"] == {"n": 7}
    view = finished(rest, task)
    assert (view["phase"], view["result"]["value"]) == ("Succeeded", {"n": 7})
    (attempt,) = view["attempts"]
    assert attempt["reportedAt"] == attempt["finishedAt"]
    (pod,) = kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"]
    assert pod["status"]["phase"] in ("Pending", "Running"), "it was waited for"
    assert (attempt["podName"], attempt["podUid"]) == (
        pod["metadata"]["name"],
        pod["metadata"]["uid"],
    )
    told = log_of(rest, task, until="the very last line")
    assert told.splitlines()[:3] == ["said 0 200", "said 0 200", "said 1 409"]
    assert "contradictions" not in released(kubectl, task)["status"]
    assert log_of(rest, task, until="the very last line") == told


def test_what_a_program_said_stands_though_it_is_killed_then(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    text = "say(0, result=1)\ntime.sleep(1)\nos.abort()"
    task = submit(rest, container=program(text))["id"]
    before = finished(rest, task)
    assert (before["phase"], before["attempts"][0]["exitCode"]) == ("Succeeded", 0)
    status = released(kubectl, task)["status"]
    (found,) = status["contradictions"]
    assert found["attempt"] == 1
    assert found["exitCode"] not in (0, None)
    assert status["phase"] == "Succeeded"
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json()["attempts"][-1]["message"] or "",
        lambda told: f"its container then ended with exit code {found['exitCode']}" in told,
        within=60,
    )


def test_another_attempt_waits_for_the_end_of_the_one_that_said_it_fails(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    text = 'if os.environ["LONGTASK_ATTEMPT"] == "2": sys.exit(0)\n'
    text += 'say(75, message="later")\ntime.sleep(5)\nsys.exit(75)'
    retry = {"maxAttempts": 2, "backoffSeconds": 0}
    task = submit(rest, container=program(text), retry=retry)["id"]
    view = finished(rest, task)
    first, second = view["attempts"]
    assert (first["exitCode"], first["reason"], first["message"]) == (75, "TryAgain", "later")
    assert first["reportedAt"] is not None
    assert view["phase"] == "Succeeded"
    pods = kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"]
    (ended,) = (
        status["state"]["terminated"]["finishedAt"]
        for pod in pods
        if pod["metadata"]["name"] == first["podName"]
        for status in pod["status"]["containerStatuses"]
    )
    assert second["claimedAt"] >= ended, "two programs of one task ran at once"


def test_a_cancel_is_not_overtaken(rest: httpx.Client) -> None:
    text = (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (say(0), sys.exit(3)))\n"
        "print('ready', flush=True)\ntime.sleep(300)"
    )
    task = submit(rest, container=program(text))["id"]
    log_of(rest, task, until="ready")
    assert rest.post(f"/api/v1/tasks/{task}:cancel").status_code in (200, 202)
    view = finished(rest, task)
    assert view["phase"] == "Cancelled"
    assert "said 0 409" in log_of(rest, task, until="said")


def test_a_failure_of_a_pod_that_is_deleted_costs_no_attempt(
    rest: httpx.Client, kubectl: Kubectl
) -> None:
    text = (
        'if os.environ["LONGTASK_ATTEMPT"] == "2": sys.exit(0)\n'
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (say(1), sys.exit(1)))\n"
        "print('ready', flush=True)\ntime.sleep(300)"
    )
    task = submit(rest, container=program(text))["id"]
    log_of(rest, task, until="ready")
    kubectl("delete", "pods", "-l", f"longtask.dev/task={task}", "--wait=false")
    view = finished(rest, task)
    assert (view["phase"], view["disruptions"]) == ("Succeeded", 1), view
    first, _ = view["attempts"]
    assert (first["reason"], first["reportedAt"]) == ("Disrupted", None)


def test_who_said_that_it_ends_and_does_not_is_told_to(rest: httpx.Client) -> None:
    text = (
        "import signal\ndef end(*_):\n print('told to end', flush=True)\n sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nsay(0)\ntime.sleep(300)"
    )
    task = submit(rest, container=program(text))["id"]
    assert finished(rest, task)["phase"] == "Succeeded"
    assert "told to end" in log_of(rest, task, until="told to end")


@pytest.mark.parametrize(
    ("order", "phase"),
    [
        pytest.param({"type": "fibonacci", "input": {"n": 100}}, "Succeeded", id="a-success"),
        pytest.param({"type": "fibonacci", "input": {"n": 30_000}}, "Succeeded", id="a-large-one"),
        pytest.param(
            {"type": "http-fetch", "input": {"url": "http://127.0.0.1/"}}, "Failed", id="a-failure"
        ),
    ],
)
def test_the_runner_says_how_its_tasks_end(
    rest: httpx.Client, kubectl: Kubectl, order: dict[str, Any], phase: str
) -> None:
    task = submit(rest, **order)["id"]
    view = finished(rest, task)
    assert view["phase"] == phase
    assert view["attempts"][-1]["reportedAt"] is not None
    assert "report" not in kubectl.get("lt", task)["status"]
    if phase == "Succeeded":
        assert rest.get(f"/api/v1/tasks/{task}/result").status_code == 200
    assert "contradictions" not in released(kubectl, task)["status"]


def test_each_step_says_so_for_itself(rest: httpx.Client, kubectl: Kubectl) -> None:
    steps = [
        {"name": "one", "type": "fibonacci", "input": {"n": 10}},
        {
            "name": "all",
            "type": "fibonacci",
            "forEach": [3, 4],
            "input": {"n": {"$from": "item#"}},
        },
        {"name": "last", "type": "sleep", "input": {"seconds": 0}},
    ]
    task = submit(rest, steps=steps)["id"]
    view = finished(rest, task)
    assert view["phase"] == "Succeeded", view
    one, every, last = view["steps"]
    assert one["reportedAt"] is not None
    assert last["reportedAt"] is not None
    assert all(child["reportedAt"] for child in every["children"])
    released(kubectl, task)

"""One task, many doors: REST, kubectl, the command, helm."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx

from e2e_support import Kubectl, Product, Receiver, callback_key, finished, submit

Command = Callable[..., subprocess.CompletedProcess[str]]


def story(task: dict[str, Any]) -> dict[str, Any]:
    """Return what two tasks have in common that differ in name and time only."""
    status = task["status"]
    return {
        "phase": status["phase"],
        "conditions": {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]},
        "result": status["result"],
        "attempts": [(a["number"], a["exitCode"], a["reason"]) for a in status["attempts"]],
        "percent": status["progress"]["percent"],
        "queue": status["queue"],
        "callback": (status["callback"]["event"], status["callback"]["state"]),
    }


def test_a_kubectl_made_task_behaves_exactly_like_a_rest_made_one(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, name: str
) -> None:
    spec = {"type": "fibonacci", "input": {"n": 40}, "callback": {"url": receiver.url()}}
    kubectl.apply_task(name, spec)
    by_rest = submit(rest, **spec)["id"]

    for task in (name, by_rest):
        (delivery,) = receiver.wait_for(task)
        assert delivery.verify(callback_key(rest))["data"]["result"]["value"] == "102334155"
        kubectl("wait", "--for=condition=CallbackDelivered", f"lt/{task}", "--timeout=60s")

    assert story(kubectl.get("lt", name)) == story(kubectl.get("lt", by_rest))
    view = finished(rest, name)
    assert (view["id"], view["phase"]) == (name, "Succeeded")


def test_kubectl_cancels_by_patch(kubectl: Kubectl, name: str) -> None:
    kubectl.apply_task(name, {"type": "sleep", "input": {"seconds": 600}})
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"lt/{name}", "--timeout=60s")

    kubectl("patch", "lt", name, "--type=merge", '-p={"spec":{"cancel":true}}')

    assert kubectl.wait_finished(name)["status"]["phase"] == "Cancelled"


def test_the_same_key_gives_the_same_task(rest: httpx.Client, name: str) -> None:
    order = {"type": "sleep", "input": {"seconds": 1}}
    key = {"Idempotency-Key": name}

    first = rest.post("/api/v1/tasks", json=order, headers=key)
    again = rest.post("/api/v1/tasks", json=order, headers=key)
    other = rest.post("/api/v1/tasks", json=order | {"priority": 1}, headers=key)

    assert [first.status_code, again.status_code, other.status_code] == [202, 200, 409]
    assert first.json()["id"] == again.json()["id"]


def test_the_command_submits_waits_and_shows(longtask: Command) -> None:
    done = longtask("submit", "fibonacci", "n=10", "--wait", "-o", "json")

    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout)["id"]
    assert json.loads(longtask("result", task).stdout) == {"n": 10, "value": "55"}
    assert task in longtask("list").stdout
    assert json.loads(longtask("get", task, "-o", "json").stdout)["phase"] == "Succeeded"


def test_the_command_tells_a_failed_task_by_its_exit_code(longtask: Command) -> None:
    done = longtask("submit", "http-fetch", "url=http://127.0.0.1:8080/", "--wait")

    assert done.returncode == 1
    assert "AddressRefused" in done.stderr + done.stdout


def test_helm_test_runs_a_task(product: Product) -> None:
    done = subprocess.run(
        ["helm", "test", "longtask", "-n", "longtask", "--timeout", "3m"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr

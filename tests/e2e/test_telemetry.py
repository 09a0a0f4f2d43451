"""A task's life by its uid in the logs of both processes, its trace, and what is counted of it."""

import json
from typing import Any

import httpx

from e2e_support import BASE_IMAGE, SYSTEM, Kubectl, Receiver, eventually, finished

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines(kubectl: Kubectl, uid: str) -> list[dict[str, Any]]:
    logs = [
        kubectl("logs", *SYSTEM, "-l", f"app.kubernetes.io/component={part}", "--tail=-1")
        for part in ("api", "operator")
    ]
    return [json.loads(line) for log in logs for line in log.splitlines() if uid in line]


def test_a_tasks_life_is_found_by_its_uid_and_by_its_trace(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, name: str
) -> None:
    script = 'echo "\\"$TRACEPARENT\\"" > "$LONGTASK_OUTPUT_FILE"'
    order = {
        "name": name,
        "container": {"image": BASE_IMAGE, "command": ["sh", "-c", script]},
        "callback": {"url": receiver.url()},
    }
    made = rest.post("/api/v1/tasks", json=order, headers={"traceparent": PARENT})
    assert made.status_code == 202, made.text

    finished(rest, name)
    (delivery,) = receiver.wait_for(name)

    assert (delivery.headers["traceparent"], delivery.data["result"]) == (PARENT, PARENT)
    task = kubectl.get("lt", name)
    assert task["metadata"]["annotations"]["longtask.dev/traceparent"] == PARENT
    life = eventually(
        lambda: lines(kubectl, task["metadata"]["uid"]),
        lambda found: any(line["message"] == "Called back" for line in found),
        within=60,
    )
    told = {line["message"] for line in life}
    assert {"Created task", "Claimed", "Started", "Finished", "Called back"} <= told
    assert {line["trace_id"] for line in life} == {TRACE}
    assert {line["task"] for line in life} == {f"longtasks/{name}"}


def test_what_is_counted_of_tasks_is_served(kubectl: Kubectl) -> None:
    for part, metric in (
        ("api", 'http_requests_total{handler="/api/v1/tasks",method="POST"'),
        ("operator", 'longtask_queue_wait_seconds_count{queue="default"'),
    ):
        service = f"/api/v1/namespaces/longtask/services/longtask-{part}:metrics/proxy/metrics"
        assert metric in kubectl("get", "--raw", service)

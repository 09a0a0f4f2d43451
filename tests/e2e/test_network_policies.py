"""What tasks reach of the network, where the cluster enforces policies at all."""

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from e2e_support import BASE_IMAGE, Kubectl, Product, Receiver, finished, submit

#: A network that learns of a pod from the API server knows its address only after a moment.
_SETTLE_SECONDS = 10
PROGRAM = """
import json, os, socket, sys, time

time.sleep({settle})
found = {{}}
for name, (host, port) in json.loads(sys.argv[1]).items():
    try:
        socket.create_connection((host, port), timeout=5).close()
        found[name] = True
    except OSError:
        found[name] = False
with open(os.environ["LONGTASK_OUTPUT_FILE"], "w") as output:
    json.dump(found, output)
"""


@pytest.fixture(autouse=True)
def _is_enforced() -> None:
    if os.environ.get("LONGTASK_NETWORK_POLICIES") != "enforced":
        pytest.skip("this cluster enforces no policies: `make up CLUSTER=kind`")


@pytest.fixture
def neighbour(rest: httpx.Client, kubectl: Kubectl) -> Iterator[str]:
    """Another task's pod that listens; its address."""
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000, bind='0.0.0.0')"
    task = submit(rest, container={"image": BASE_IMAGE, "command": ["python3", "-c", serve]})["id"]
    selector = ("-l", f"longtask.dev/task={task}")
    kubectl("wait", "--for=create", "pod", *selector, "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod", *selector, "--timeout=60s")
    (pod,) = kubectl.get("pods", *selector)["items"]
    yield str(pod["status"]["podIP"])
    kubectl("delete", "lt", task, "--wait=false")


def reached(rest: httpx.Client, places: dict[str, tuple[str, int]]) -> tuple[str, dict[str, bool]]:
    """Return a task, and which places it could connect to."""
    program = PROGRAM.format(settle=_SETTLE_SECONDS)
    command = ["python3", "-c", program, json.dumps(places)]
    task = submit(rest, container={"image": BASE_IMAGE, "command": command})["id"]
    assert finished(rest, task)["phase"] == "Succeeded"
    result: dict[str, bool] = rest.get(f"/api/v1/tasks/{task}/result").json()
    return task, result


def is_beside_kubernetes(kubectl: Kubectl, task: str) -> bool:
    """Tell whether a task's pod was on the node of the API server."""
    (pod,) = kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"]
    labels: dict[str, Any] = kubectl.get("node", pod["spec"]["nodeName"])["metadata"]["labels"]
    return "node-role.kubernetes.io/control-plane" in labels


def test_a_task_reaches_the_port_of_reports_and_nothing_else(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, product: Product, neighbour: str
) -> None:
    api = kubectl.get("pods", "-n", "longtask", "-l", "app.kubernetes.io/component=api")["items"][0]
    kubernetes = kubectl.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    service = "longtask-api.longtask.svc"
    places = {
        "reports, by the Service's name": (service, 8081),
        "the API that users have": (service, 8080),
        "the API's metrics": (api["status"]["podIP"], 9090),
        "Kubernetes": (kubernetes, 443),
        "this machine": (product.host_address, receiver.port),
        "another task": (neighbour, 8000),
    }
    task, found = reached(rest, places)
    expected = dict.fromkeys(places, False) | {"reports, by the Service's name": True}
    # A pod's own node is open to it, whatever a policy says: a rule of Kubernetes.
    expected["Kubernetes"] = is_beside_kubernetes(kubectl, task)
    assert found == expected

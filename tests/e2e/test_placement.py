"""What only a type may give: devices, volumes and shared memory, on a real node."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e_support import BASE_IMAGE, Kubectl, Product, eventually, finished, submit

WIDGET = "example.com/widget"
#: Where a JSON Patch finds it.
_WIDGET = WIDGET.replace("/", "~1")


@dataclasses.dataclass
class Scratch:
    """Objects of one test, gone with it."""

    kubectl: Kubectl
    made: list[str]

    def make(self, kind: str, name: str, *, api: str = "v1", **fields: Any) -> None:
        """Make an object that is deleted at the end, last made first."""
        manifest = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **fields}
        self.kubectl.apply(json.dumps(manifest))
        self.made.append(f"{kind.lower()}/{name}")

    def make_type(self, name: str, script: str, **spec: Any) -> str:
        """Make a type that runs a script, and return its name."""
        container = {"image": BASE_IMAGE, "command": ["sh", "-euc", script]}
        spec = {"container": container, **spec}
        self.make("LongTaskType", name, api="longtask.dev/v1alpha1", spec=spec)
        return name


@pytest.fixture
def scratch(kubectl: Kubectl) -> Iterator[Scratch]:
    made = Scratch(kubectl, [])
    yield made
    for found in reversed(made.made):
        kubectl("delete", found, "--wait=false", "--ignore-not-found")


@pytest.fixture
def node(kubectl: Kubectl) -> str:
    return str(kubectl.get("nodes")["items"][0]["metadata"]["name"])


@pytest.fixture
def folder(product: Product) -> Iterator[Path]:
    """A folder of this machine and of its nodes."""
    with tempfile.TemporaryDirectory(dir=product.volumes) as made:
        yield Path(made)


@pytest.fixture
def widget(kubectl: Kubectl, node: str) -> Iterator[None]:
    """A device that the node has one of, as far as it says."""

    def patch(operation: str, **value: Any) -> None:
        change = [
            {"op": operation, "path": f"/status/{part}/{_WIDGET}", **value}
            for part in ("capacity", "allocatable")
        ]
        kubectl(
            *("patch", "node", node, "--subresource=status", "--type=json"),
            *("-p", json.dumps(change)),
        )

    patch("add", value="1")
    yield
    patch("remove")


@pytest.mark.usefixtures("widget")
def test_a_device_is_one_tasks_at_a_time(
    rest: httpx.Client, kubectl: Kubectl, scratch: Scratch, name: str
) -> None:
    hold = """
        grep -q true "$LONGTASK_INPUT_FILE" || exit 0
        trap 'exit 143' TERM
        sleep 600 & wait $!
    """
    resources = {"limits": {WIDGET: 1}}
    scratch.make_type(name, hold, defaults={"resources": resources})
    first = submit(rest, type=name, input={"hold": True})["id"]
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"lt/{first}", "--timeout=60s")

    second = submit(rest, type=name, input={"hold": False})["id"]

    def waiting() -> str:
        return str(rest.get(f"/api/v1/tasks/{second}").json()["waiting"])

    eventually(waiting, lambda cause: f"Insufficient {WIDGET}" in cause, within=60)
    assert rest.post(f"/api/v1/tasks/{first}:cancel").is_success
    assert finished(rest, first)["phase"] == "Cancelled"
    assert finished(rest, second)["phase"] == "Succeeded"


def test_a_device_that_nobody_may_ask_for_is_refused(
    rest: httpx.Client, kubectl: Kubectl, name: str
) -> None:
    asked = {"type": "sleep", "input": {"seconds": 1}, "resources": {"limits": {WIDGET: 1}}}

    answer = rest.post("/api/v1/tasks", json=asked)

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == f"/resources/limits/{_WIDGET}"
    kubectl.apply_task(name, asked)
    status = kubectl.wait_finished(name)["status"]
    accepted = next(c for c in status["conditions"] if c["type"] == "Accepted")
    assert accepted["reason"] == "ResourcesExceeded"
    assert f"spec.resources.limits.{WIDGET}" in accepted["message"]


def test_what_one_task_writes_into_a_claim_the_next_one_reads(
    rest: httpx.Client, scratch: Scratch, node: str, name: str, folder: Path
) -> None:
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": str(folder)},
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
                        ]
                    }
                ]
            }
        },
    }
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "volumeName": name,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    scratch.make("PersistentVolume", name, spec=volume)
    scratch.make("PersistentVolumeClaim", name, spec=claim)
    data = {"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": name}}
    write = 'echo "{\\"by\\": \\"$LONGTASK_NAME\\"}" >/data/note'
    read = """
        if touch /data/other; then exit 1; fi
        cat /data/note >"$LONGTASK_OUTPUT_FILE"
    """
    writer = scratch.make_type(f"{name}-w", write, volumes=[data | {"readOnly": False}])
    reader = scratch.make_type(f"{name}-r", read, volumes=[data])

    first = submit(rest, type=writer)["id"]
    assert finished(rest, first)["phase"] == "Succeeded"
    second = submit(rest, type=reader)["id"]
    view = finished(rest, second)

    assert view["phase"] == "Succeeded", view
    assert rest.get(f"/api/v1/tasks/{second}/result").json() == {"by": first}
    assert json.loads((folder / "note").read_text()) == {"by": first}


def test_shared_memory_and_a_config_map(rest: httpx.Client, scratch: Scratch, name: str) -> None:
    scratch.make("ConfigMap", name, data={"greeting": "hello"})
    look = """
        if touch /etc/greetings/other; then exit 1; fi
        echo written >/dev/shm/here
        echo "{\\"greeting\\": \\"$(cat /etc/greetings/greeting)\\"," \\
            "\\"shm\\": $(df -B1 --output=size /dev/shm | tail -1)}" >"$LONGTASK_OUTPUT_FILE"
    """
    greetings = {"name": "greetings", "mountPath": "/etc/greetings", "configMap": {"name": name}}
    scratch.make_type(name, look, volumes=[greetings], shmSize="32Mi")

    task = submit(rest, type=name)["id"]
    view = finished(rest, task)

    assert view["phase"] == "Succeeded", view
    result = rest.get(f"/api/v1/tasks/{task}/result").json()
    assert result == {"greeting": "hello", "shm": 32 * 2**20}


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        pytest.param(
            {
                "volumes": [
                    {
                        "name": "data",
                        "mountPath": "/data",
                        "persistentVolumeClaim": {"claimName": "e2e-no-such-claim"},
                    }
                ]
            },
            'persistentvolumeclaim "e2e-no-such-claim" not found',
            id="a-claim-that-is-not-there",
        ),
        pytest.param(
            {"placement": {"priorityClassName": "e2e-no-such-class"}},
            "no PriorityClass with name e2e-no-such-class was found",
            id="a-class-that-is-not-there",
        ),
        pytest.param(
            {"placement": {"nodeSelector": {"example.com/pool": "none"}}},
            "didn't match Pod's node affinity/selector",
            id="a-node-that-is-not-there",
        ),
        pytest.param(
            {"placement": {"tolerations": [{"operator": "Exists", "value": "x"}]}},
            "spec.template.spec.tolerations[0].operator",
            id="what-is-no-toleration",
        ),
    ],
)
def test_what_keeps_a_pod_from_its_place_is_told(
    rest: httpx.Client, scratch: Scratch, name: str, spec: dict[str, Any], cause: str
) -> None:
    task = submit(rest, type=scratch.make_type(name, "exit 0", **spec))["id"]

    def waiting() -> str:
        return str(rest.get(f"/api/v1/tasks/{task}").json()["waiting"])

    eventually(waiting, lambda told: cause in told, within=60)
    assert rest.post(f"/api/v1/tasks/{task}:cancel").is_success
    assert finished(rest, task)["phase"] == "Cancelled"

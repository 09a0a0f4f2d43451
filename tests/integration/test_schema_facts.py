"""The CustomResourceDefinitions, as a real API server takes and shows them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longtask_crds import names
from longtask_crds.definitions import custom_resources
from longtask_crds.definitions.facts import CrdFacts

Kubectl = Callable[..., str]
CRDS = Path(__file__).parents[2] / "crds"
KINDS = [pytest.param(facts, id=facts.plural) for facts in custom_resources.ALL]


@pytest.mark.parametrize("facts", KINDS)
def test_a_definition_is_established_and_structural(kubectl: Kubectl, facts: CrdFacts) -> None:
    crd = json.loads(kubectl("get", "crd", f"{facts.plural}.{names.GROUP}", "-o", "json"))
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions
    assert "NonStructural" not in json.dumps(crd["status"])


@pytest.mark.parametrize("facts", KINDS)
def test_a_file_is_taken_strictly_and_without_a_warning(kubeconfig: Path, facts: CrdFacts) -> None:
    done = subprocess.run(
        [
            *("kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict"),
            *(
                "--force-conflicts",
                "--warnings-as-errors",
                "-f",
                str(CRDS / f"{facts.plural}.yaml"),
            ),
        ],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def fields(schema: dict[str, Any], path: str) -> list[str]:
    """Return the path of each field below one."""
    found = []
    for name, inner in schema.get("properties", {}).items():
        found.append(f"{path}.{name}")
        found += fields(inner, f"{path}.{name}") + fields(inner.get("items", {}), f"{path}.{name}")
    return found


@pytest.mark.parametrize("facts", KINDS)
def test_kubectl_explains_every_field(kubectl: Kubectl, facts: CrdFacts) -> None:
    crd = custom_resources.custom_resource_definition(facts)
    root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    told = kubectl("explain", facts.plural, "--recursive")
    for part in ("spec", "status"):
        for field in fields(root["properties"][part], part):
            assert f"{field.rsplit('.', 1)[-1]}\t<" in told, field
    told = kubectl("explain", f"{facts.plural}.spec")
    # A field without words would stand there with a blank line below it.
    for block in told.split("\nFIELDS:\n", 1)[1].strip().split("\n\n"):
        _, _, words = block.strip().partition("\n")
        assert words.strip() not in {"", "<no description>"}, block


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("longtask.spec.retry", "maxAttempts", id="a-parts-fields"),
        pytest.param("longtask.spec.callback.secretRef", "whsec_", id="the-words-of-its-use"),
        pytest.param("lt.spec.container.env", "LONGTASK_", id="by-its-short-name"),
    ],
)
def test_kubectl_explains_well(kubectl: Kubectl, path: str, words: str) -> None:
    assert words in kubectl("explain", path)


def test_columns_selectors_and_short_names(kubectl: Kubectl, namespace: str) -> None:
    def run(*arguments: str, document: Any = None) -> str:
        return kubectl("-n", namespace, *arguments, document=document)

    for name in ("one", "two"):
        task = {
            "apiVersion": names.API_VERSION,
            "kind": "LongTask",
            "metadata": {"name": name},
            "spec": {"type": f"type-{name}"},
        }
        run("create", "-f", "-", document=task)
    status = {
        "phase": "Running",
        "queue": "night",
        "step": "3/6",
        "attempt": 2,
        "progress": {"percent": 40},
        "startedAt": "2026-01-02T03:04:05Z",
        "callback": {"id": "m", "event": "failed", "state": "Pending", "tries": 0},
        "attempts": [{"number": 1, "jobName": "old"}, {"number": 2, "jobName": "one-xyz"}],
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown",
                "reason": "Running",
                "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }
        ],
    }
    patch = json.dumps({"status": status})
    run("patch", "lt", "one", "--subresource=status", "--type=merge", "-p", patch)

    assert run("get", "lt", "two", "-o", "jsonpath={.status}") == '{"phase":"Pending"}'
    header, one, two = run("get", "lt", "-o", "wide").splitlines()
    assert header.split() == [
        *("NAME", "TYPE", "PHASE", "PROGRESS%", "STEP", "QUEUE", "ATTEMPT", "AGE"),
        *("STARTED", "REASON", "CALLBACK", "JOB", "IMAGE"),
    ]
    cells = one.split()
    assert cells[:7] == ["one", "type-one", "Running", "40", "3/6", "night", "2"]
    assert cells[-3:] == ["Running", "Pending", "one-xyz"]
    assert two.split()[:3] == ["two", "type-two", "Pending"]
    narrow = run("get", "longtasks").splitlines()[0].split()
    assert narrow == ["NAME", "TYPE", "PHASE", "PROGRESS%", "STEP", "QUEUE", "ATTEMPT", "AGE"]

    for selector in ("status.phase=Running", "status.queue=night", "spec.type=type-one"):
        found = run("get", "lt", "--field-selector", selector, "-o", "name")
        assert found.split() == ["longtask.longtask.dev/one"], selector
    assert run("get", "lt", "--field-selector", "status.phase=Failed", "-o", "name") == ""

    # A category equal to a plural would break the first, and delete queues with the second.
    assert "one" in run("get", "longtasks", "one")
    queue = {"apiVersion": names.API_VERSION, "kind": "LongTaskQueue", "metadata": {"name": "q"}}
    run("create", "-f", "-", document=queue | {"spec": {"maxRunning": 2}})
    counts = json.dumps({"status": {"running": 1, "waiting": 5}})
    run("patch", "ltq", "q", "--subresource=status", "--type=merge", "-p", counts)
    header, cells = (line.split() for line in run("get", "ltq").splitlines())
    assert header == ["NAME", "RUNNING", "WAITING", "MAX", "PAUSED", "READY", "AGE"]
    assert cells[:4] == ["q", "1", "5", "2"]
    run("delete", "longtasks", "--all")
    assert run("get", "longtask-all", "-o", "name").split() == ["longtaskqueue.longtask.dev/q"]

"""Pods as we render them, before the real admission of a namespace that is `restricted`.

Nothing is stored: each request is a dry run. Of thousands of pods the unit tests ask a judge of
ours, which is held against the real one here.
"""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pod_cases
import pod_security
from longtask_crds import effective
from longtask_crds.testing import a_task, a_type
from longtask_operator.rules import job_manifest
from longtask_operator.testing import INSTALLATION, SURROUNDINGS

Kubectl = Callable[..., str]
Json = dict[str, Any]
#: Asks what becomes of objects of these names and manifests; returns what is said of the refused.
Ask = Callable[[dict[str, Json]], dict[str, str]]

SAMPLE = 100


@pytest.fixture(scope="module")
def restricted(kubectl: Kubectl) -> Iterator[str]:
    """Make a namespace like the tasks', and the runtime that some of the pods name."""
    name = f"it-{uuid.uuid4().hex[:10]}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": pod_cases.RUNTIME_CLASS},
        "handler": "runc",
    }
    kubectl(
        *("apply", "-f", "-"),
        document=_list(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": enforced},
            },
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": SURROUNDINGS.service_account, "namespace": name},
            },
            runtime,
        ),
    )
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
    kubectl("delete", "runtimeclass", pod_cases.RUNTIME_CLASS)


@pytest.fixture(scope="module")
def ask(kubeconfig: Path, restricted: str) -> Ask:
    def refused(objects: dict[str, Json]) -> dict[str, str]:
        items = [
            manifest | {"metadata": manifest["metadata"] | {"name": name, "namespace": restricted}}
            for name, manifest in objects.items()
        ]
        done = subprocess.run(
            ["kubectl", "create", "--dry-run=server", "--validate=strict", "-o=name", "-f", "-"],
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
            input=json.dumps(_list(*items)),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        taken = {line.rpartition("/")[2] for line in done.stdout.splitlines()}
        told = {
            name: line
            for line in done.stderr.splitlines()
            for name in re.findall(r'"([^" ]+)" is (?:forbidden|invalid)', line)
        }
        # Each was either taken or refused for what it is, or the asking itself has failed.
        assert taken | told.keys() == objects.keys(), done.stderr
        return told

    return refused


def _list(*items: Json) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def rendered(number: int) -> Json:
    case = pod_cases.case(number)
    kind = case.task_type and case.task_type.spec
    spec = effective.effective_spec(case.task.spec, kind, INSTALLATION)
    return job_manifest.build(case.task, spec, attempt=1, surroundings=SURROUNDINGS)


def pod_of(job: Json) -> Json:
    """Return the pod that the Job's controller would make: Pod Security judges pods."""
    return {"apiVersion": "v1", "kind": "Pod", **job["spec"]["template"]}


def test_the_api_server_takes_every_job(ask: Ask) -> None:
    assert ask({f"case-{number}": rendered(number) for number in range(SAMPLE)}) == {}


def test_the_admission_takes_every_pod(ask: Ask) -> None:
    assert ask({f"case-{number}": pod_of(rendered(number)) for number in range(SAMPLE)}) == {}


NO_AFFINITY = {"key": "a", "operator": "Exists", "values": ["x"]}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(
            {"placement": {"tolerations": [{"operator": "Exists", "value": "x"}]}},
            "tolerations[0].operator",
            id="a-toleration-of-no-value",
        ),
        pytest.param(
            {
                "placement": {
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [{"matchExpressions": [NO_AFFINITY]}]
                            }
                        }
                    }
                }
            },
            "matchExpressions[0].values",
            id="an-affinity-to-no-value",
        ),
    ],
)
def test_what_only_the_whole_shows_is_told_of_the_job(ask: Ask, spec: Json, told: str) -> None:
    """The type is taken; its tasks wait, and say what the API server says here."""
    kind = a_type("mine", **spec)
    task = a_task(type="mine")
    held = effective.effective_spec(task.spec, kind.spec, INSTALLATION)
    job = job_manifest.build(task, held, attempt=1, surroundings=SURROUNDINGS)
    refused = ask({"one": job})
    assert "is invalid" in refused["one"]
    assert told in refused["one"]


def test_our_judge_says_what_the_admission_says(ask: Ask) -> None:
    plain = pod_of(rendered(0))
    broken = {
        f"broken-{number}": pod_security.changed(plain, case.values[0])
        for number, case in enumerate(pod_security.BREACHES)
    }
    allowed = {
        f"allowed-{number}": pod_security.changed(plain, case.values[0])
        for number, case in enumerate(pod_security.ALLOWED)
    }
    told = ask(broken | allowed)
    assert told.keys() == broken.keys()
    assert [
        line for line in told.values() if 'violates PodSecurity "restricted:latest"' not in line
    ] == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param({"cpu": "100m", "memory": "64Mi"}, "Guaranteed", id="what-is-asked-for"),
        pytest.param({"memory": "128Mi"}, "Burstable", id="more-than-that"),
    ],
)
def test_resources_choose_the_class_of_service(
    kubectl: Kubectl, restricted: str, limits: dict[str, str], expected: str
) -> None:
    asked = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": limits}
    task = a_task(type="mine")
    kind = a_type("mine", defaults={"resources": asked})
    spec = effective.effective_spec(task.spec, kind.spec, INSTALLATION)
    pod = pod_of(job_manifest.build(task, spec, attempt=1, surroundings=SURROUNDINGS))
    pod["metadata"] = pod["metadata"] | {"name": "one", "namespace": restricted}
    answer = kubectl("create", "--dry-run=server", "-o=json", "-f", "-", document=pod)
    assert json.loads(answer)["status"]["qosClass"] == expected

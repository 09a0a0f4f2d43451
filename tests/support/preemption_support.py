"""Something more important than tasks: a pod that takes their places on a node."""

import json
from typing import Any, Final

from e2e_support import BASE_IMAGE, Kubectl
from longtask_crds import names

#: Of CPU, left to whoever needs next to nothing.
_SLACK: Final = 20
_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def preempt(kubectl: Kubectl, node: str, name: str) -> None:
    """Let a pod need all of a node that is left beside the system, for three seconds."""
    container = {
        "name": "main",
        "image": BASE_IMAGE,
        "command": ["sleep", "3"],
        "securityContext": _RESTRICTED,
        "resources": {
            "requests": {"cpu": f"{_without_tasks(kubectl, node) - _SLACK}m", "memory": "16Mi"},
            "limits": {"memory": "32Mi"},
        },
    }
    there = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [there]}}
    spec = {
        "affinity": {"nodeAffinity": required},
        "priorityClassName": name,
        "restartPolicy": "Never",
        "containers": [container],
    }
    metadata = {"name": name}
    more_important = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    try:
        kubectl.apply(json.dumps(more_important | {"metadata": metadata}))
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        kubectl.apply(json.dumps(pod))
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", ended, f"pod/{name}", "--timeout=60s")
    finally:
        kubectl("delete", "pod", name, "--ignore-not-found", "--wait=false")
        kubectl("delete", "priorityclass", name, "--ignore-not-found")


def _without_tasks(kubectl: Kubectl, node: str) -> int:
    """Return how much CPU of a node is nobody's but tasks'."""
    free = _millis(kubectl.get("node", node)["status"]["allocatable"]["cpu"])
    pods = kubectl.get("pods", "-A", "--field-selector", f"spec.nodeName={node}")["items"]
    return free - sum(_requested(pod) for pod in pods if _is_of_the_system(pod))


def _is_of_the_system(pod: dict[str, Any]) -> bool:
    is_a_tasks = names.TASK_LABEL in pod["metadata"].get("labels", {})
    return not is_a_tasks and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _requested(pod: dict[str, Any]) -> int:
    resources = (container["resources"] for container in pod["spec"]["containers"])
    return sum(_millis(one.get("requests", {}).get("cpu", "0")) for one in resources)


def _millis(amount: str) -> int:
    return int(amount[:-1]) if amount.endswith("m") else int(float(amount) * 1000)

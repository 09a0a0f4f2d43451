"""What the API's tests say in one line of the Kubernetes in memory."""

from typing import Any

from longtask_adapters.testing import MemoryKubernetes
from longtask_api.auth import callers
from longtask_crds import names
from longtask_crds.testing import NAMESPACE

CALLER = callers.INSTALLATION
TOKEN = "correct-horse"


def key(name: str) -> names.ObjectKey:
    return names.ObjectKey(NAMESPACE, name)


def put_task(kubernetes: MemoryKubernetes, name: str = "a", **parts: Any) -> None:
    """Make or change a task as somebody else would."""
    is_new = key(name) not in kubernetes.objects(names.LONGTASKS)
    usual = {"spec": {"type": "fibonacci"}, "status": {"phase": "Pending"}} if is_new else {}
    kubernetes.put(names.LONGTASKS, name, **(usual | parts))


def put_pod(
    kubernetes: MemoryKubernetes,
    name: str = "a-pod",
    *,
    task: str = "a",
    job: str = "a-job",
    attempt: int = 1,
    phase: str = "Running",
) -> None:
    """Make a pod of an attempt's Job, or change its phase; its uid is `uid-of-<name>`."""
    kubernetes.put(
        "pods",
        name,
        metadata={
            "uid": f"uid-of-{name}",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {names.TASK_LABEL: task, names.ATTEMPT_LABEL: str(attempt)},
            "ownerReferences": [{"kind": "Job", "name": job, "uid": f"uid-of-{job}"}],
        },
        status={"phase": phase},
    )

"""What waiting pods rely on, of a real API server: who may take one, and what of nodes it tells."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longtask_adapters.kube import errors
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import effective, names
from longtask_crds.testing import NOW
from longtask_operator import cluster
from longtask_operator.rules import pods, warm
from longtask_operator.warm.nodes import Nodes

Kubectl = Callable[..., str]
LIMITS = effective.Limits(None, 600, 60, None, None)
LABELS = {names.TASK_LABEL: "report"}


@pytest.fixture
async def connection(kubeconfig: Path) -> AsyncIterator[Connection]:
    async with KubernetesTransport.connect(kubeconfig=kubeconfig) as transport:
        yield Connection(transport, user_agent=cluster.USER_AGENT)


class Waiting:
    """A pod that looks as if it waited; it is on no node, so nobody else says how it is."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self._in = kubectl, ("-n", namespace)
        self.name = f"waits-{uuid.uuid4().hex[:8]}"
        labels = {names.TASK_LABEL: "", names.WARM_LABEL: "render"}
        spec = {
            "containers": [{"name": names.RUNNER_CONTAINER, "image": "none"}],
            "nodeSelector": {"longtask.dev/there-is": "none"},
        }
        meta = {"name": self.name, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        kubectl(*self._in, "create", "-f", "-", document=pod)

    def be(self, phase: str) -> None:
        patch = json.dumps({"status": {"phase": phase}})
        words = ("patch", "pod", self.name, "--subresource=status", "--type=merge", "-p", patch)
        self._kubectl(*self._in, *words)

    def seen(self) -> pods.Pod:
        raw = json.loads(self._kubectl(*self._in, "get", "pod", self.name, "-o", "json"))
        return pods.Pod.parse(raw)


@pytest.fixture
def waiting(kubectl: Kubectl, namespace: str) -> Waiting:
    return Waiting(kubectl, namespace)


async def test_a_pod_that_runs_is_taken_once(connection: Connection, waiting: Waiting) -> None:
    door = cluster.Cluster(connection)
    waiting.be("Running")
    pod = waiting.seen()
    taken = await door.change_pod(pod, warm.taking(pod, LABELS, LIMITS, now=NOW))
    assert (taken.uid, taken.task.name) == (pod.uid, "report")
    assert taken.deadline is not None
    with pytest.raises(errors.Rejected):
        await door.change_pod(pod, warm.taking(pod, LABELS, LIMITS, now=NOW))


@pytest.mark.parametrize("phase", ["Pending", "Failed", "Succeeded"])
async def test_another_is_not(connection: Connection, waiting: Waiting, phase: str) -> None:
    door = cluster.Cluster(connection)
    waiting.be(phase)
    pod = waiting.seen()
    with pytest.raises(errors.Rejected):
        await door.change_pod(pod, warm.taking(pod, LABELS, LIMITS, now=NOW))
    assert waiting.seen().is_nobodys


@pytest.fixture
def a_node(kubectl: Kubectl) -> Iterator[str]:
    """A Node without a kubelet, cordoned from the start, so that nothing is put there."""
    name = f"none-{uuid.uuid4().hex[:8]}"
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    kubectl("create", "-f", "-", document=made | {"spec": {"unschedulable": True}})
    yield name
    kubectl("delete", "node", name, "--ignore-not-found")


async def test_a_cordoned_node_is_heard_of_and_what_it_says_of_itself_is_not(
    connection: Connection, kubectl: Kubectl, a_node: str
) -> None:
    nodes, changed = Nodes(connection), asyncio.Event()
    told: list[frozenset[str]] = []
    nodes.on_change(lambda: told.append(nodes.cordoned))
    nodes.on_change(changed.set)
    nodes.want(True)
    running = asyncio.create_task(nodes.run())
    try:
        async with asyncio.timeout(120):
            await changed.wait()
            assert a_node in nodes.cordoned
            changed.clear()
            patch = json.dumps({"status": {"capacity": {"cpu": "3"}}})
            words = ("--subresource=status", "--type=merge", "-p", patch)
            await asyncio.to_thread(kubectl, "patch", "node", a_node, *words)
            await asyncio.to_thread(kubectl, "delete", "node", a_node)
            await changed.wait()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert a_node not in nodes.cordoned
    assert len(told) == 2

"""How many tasks a second end when no pod has to run: what the control plane itself can do.

    . .localcluster/env; python bench/simulated.py [--tasks 1000] [--json FILE]

A node that is none takes all pods: their status is patched as a kubelet would, so what is left is
Kubernetes' own controllers and ours. The real node is cordoned meanwhile, and shows no latency of
pods. Raw Jobs go first, as many and as they are, in the same run: the ratio is what counts.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import waiting

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection, EventType
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds.names import ObjectKey

NODE = "simulated"
NODES = "/api/v1/nodes"
LEASES = kinds.Place("/apis/coordination.k8s.io/v1", "leases")
RAW = "longtask-bench-raw"


class Node:
    """A node whose pods end as soon as they are bound to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be there meanwhile, and let no pod go anywhere else."""
        real = [n["metadata"]["name"] for n in (await self._connection.get(NODES))["items"]]
        await self._join()
        loops = [asyncio.create_task(self._beat()), asyncio.create_task(self._follow())]
        try:
            for name in real:
                await self._connection.patch(f"{NODES}/{name}", {"spec": {"unschedulable": True}})
            yield
        finally:
            for loop in loops:
                loop.cancel()
            for name in real:
                await self._connection.patch(f"{NODES}/{name}", {"spec": {"unschedulable": None}})
            await self._connection.delete(f"{NODES}/{NODE}")

    async def _join(self) -> None:
        await self._connection.post(
            NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        )
        amounts = {"cpu": "100000", "memory": "100Ti", "pods": "100000", "ephemeral-storage": "1Pi"}
        now = _now()
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Simulated",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
        await self._connection.patch(f"{NODES}/{NODE}/status", {"status": status})
        await self._connection.patch(f"{NODES}/{NODE}", {"spec": {"taints": None}})

    async def _beat(self) -> None:
        key = ObjectKey("kube-node-lease", NODE)
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40}
        document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        with contextlib.suppress(kinds.errors.AlreadyExists):
            await self._connection.post(
                LEASES.collection(key.namespace),
                {**document, "metadata": {"name": NODE}, "spec": {**spec, "renewTime": _micro()}},
            )
        while True:
            # A busy API server must not make it a lost node.
            with contextlib.suppress(kinds.errors.ClusterError):
                await self._connection.patch(LEASES.path(key), {"spec": {"renewTime": _micro()}})
            await asyncio.sleep(5)

    async def _follow(self) -> None:
        selector = {"fieldSelector": f"spec.nodeName={NODE}"}
        while True:
            with contextlib.suppress(kinds.errors.ClusterError):
                listed = await self._connection.get("/api/v1/pods", selector)
                for pod in listed["items"]:
                    self._see(pod)
                version = int(listed["metadata"]["resourceVersion"])
                async for event in self._connection.watch("/api/v1/pods", version, selector):
                    if event.type is EventType.ADDED:
                        self._see(event.object)

    def _see(self, pod: dict[str, Any]) -> None:
        if pod["status"].get("phase") == "Pending":
            task = asyncio.create_task(self._end(kinds.key_of(pod), pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _end(self, key: ObjectKey, pod: dict[str, Any]) -> None:
        now = _now()
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        container = pod["spec"]["containers"][0]
        status = {
            "phase": "Succeeded",
            "startTime": now,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
        for _ in range(5):
            with contextlib.suppress(kinds.errors.ClusterError):
                await self._connection.patch(kinds.PODS.path(key, "status"), {"status": status})
                return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def pods_left(connection: Connection) -> float:
    """Return how many pods the simulated node has."""
    selector = {"fieldSelector": f"spec.nodeName={NODE}"}
    return len((await connection.get("/api/v1/pods", selector))["items"])


async def raw_jobs(connection: Connection, count: int) -> float:
    """Make so many raw Jobs; return how many a second are Complete."""
    path = kinds.JOBS.collection("default")
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "none", "command": ["true"]}],
            }
        },
    }

    async def make(number: int) -> None:
        meta = {"name": f"raw-{number}", "labels": {RAW: "true"}}
        document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}
        await connection.post(path, document)

    async def complete() -> float:
        found = 0
        async for page in connection.pages(path, {"labelSelector": RAW}):
            found += sum(bool(job["status"].get("completionTime")) for job in page.items)
        return found

    began = time.monotonic()
    await asyncio.gather(*(make(number) for number in range(count)))
    await waiting.until(complete, lambda ended: ended >= count, pause=1)
    rate = count / (time.monotonic() - began)
    await waiting.run("kubectl", "-n", "default", "delete", "jobs", "-l", RAW, "--wait=false")
    await waiting.until(lambda: pods_left(connection), lambda left: left == 0, pause=2)
    return rate


async def measure(count: int) -> dict[str, float]:
    """Do it all; return the figures by title."""
    figures: dict[str, float] = {}
    async with KubernetesTransport.connect() as transport:
        cluster = waiting.Cluster(Connection(transport, user_agent="bench", writes_at_once=32))
        node = Node(Connection(transport, user_agent="bench-kubelet", writes_at_once=32))
        await cluster.queue(paused=None, maxRunning=None)
        await waiting.until_settled(cluster)
        async with node.running():
            figures["raw Jobs per second"] = await raw_jobs(cluster.connection, count)
            before = await cluster.numbers("operator")
            began = time.monotonic()
            await cluster.fill(count)
            await waiting.until(
                lambda: cluster.count("Succeeded"), lambda ended: ended >= count, pause=1
            )
            figures["tasks per second"] = count / (time.monotonic() - began)
            await waiting.until_settled(cluster)
            after = await cluster.numbers("operator")
            each = waiting.cpu(before, after) / count
            figures["operator CPU per 1,000 tasks, s"] = each * 1000
        await cluster.clear()
    ratio = figures["tasks per second"] / figures["raw Jobs per second"]
    return figures | {"tasks / raw Jobs": ratio}


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.tasks))
    print(f"\n{arguments.tasks} at once, pods simulated")
    waiting.show(figures, arguments.json)


if __name__ == "__main__":
    main()

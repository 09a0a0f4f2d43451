"""How many tasks a second end when no pod has to run: what the control plane itself can do.

    . .localcluster/env; python bench/simulated.py [--tasks 1000] [--seconds 180] [--json FILE]

A node that is none takes all pods: their status is patched as a kubelet would, so what is left is
Kubernetes' own controllers and ours. The real node is cordoned meanwhile, and shows no latency of
pods. Raw Jobs go first, as many and as they are, in the same run: the ratio is what counts. Neither
half takes longer than it may: then what has ended by then counts.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
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
RAW, RAW_NAMESPACE = "longtask-bench-raw", "default"


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


class Ends:
    """Counts what has ended, by a watch: to list it all each second would be what is measured.

    Args:
        connection: Where to watch.
        path: What.
        query: Which of it.
        is_over: Tells of one object whether it has ended.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        query: dict[str, str],
        is_over: Callable[[dict[str, Any]], bool],
    ) -> None:
        self._connection = connection
        self._path = path
        self._query = query
        self._is_over = is_over
        self._ended: set[str] = set()

    async def rate(
        self, make: Coroutine[Any, Any, None], count: int, seconds: float
    ) -> tuple[int, float]:
        """Return how many ended, and how many of them a second, until all have or time is up."""
        began = time.monotonic()
        loops = [asyncio.create_task(make), asyncio.create_task(self._follow())]
        try:
            async with asyncio.timeout(seconds):
                while len(self._ended) < count:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        finally:
            for loop in loops:
                loop.cancel()
        return len(self._ended), len(self._ended) / (time.monotonic() - began)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(kinds.errors.ClusterError):
                async for page in self._connection.pages(self._path, self._query):
                    self._see(page.items)
                events = self._connection.watch(self._path, page.version, self._query)
                async for event in events:
                    if event.type in (EventType.ADDED, EventType.MODIFIED):
                        self._see([event.object])

    def _see(self, found: Iterable[dict[str, Any]]) -> None:
        self._ended.update(one["metadata"]["name"] for one in found if self._is_over(one))


async def make_raw_jobs(connection: Connection, count: int) -> None:
    """Make so many raw Jobs."""
    path = kinds.JOBS.collection(RAW_NAMESPACE)
    container = {"name": "main", "image": "none", "command": ["true"]}
    template = {
        "metadata": {"labels": {RAW: "true"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }

    async def make(number: int) -> None:
        meta = {"name": f"raw-{number}", "labels": {RAW: "true"}}
        spec = {"backoffLimit": 0, "template": template}
        document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}
        await connection.post(path, document)

    await asyncio.gather(*(make(number) for number in range(count)))


async def delete_raw_jobs(connection: Connection) -> None:
    """Delete the raw Jobs and their pods, not waiting until somebody collects them."""
    for place in (kinds.JOBS, kinds.PODS):
        path = place.collection(RAW_NAMESPACE)
        async for page in connection.pages(path, {"labelSelector": RAW}):
            await asyncio.gather(
                *(_delete(connection, place.path(kinds.key_of(raw))) for raw in page.items)
            )
    await waiting.until(lambda: pods_left(connection), lambda left: left == 0, pause=2)


async def _delete(connection: Connection, path: str) -> None:
    with contextlib.suppress(kinds.errors.NotFound):
        await connection.delete(path)


def of_thousand(looks: list[dict[str, float]], count: int) -> float:
    """Return the CPU seconds between two looks at a process, for a thousand of so many."""
    before, after = looks
    return waiting.cpu(before, after) / max(1, count) * 1000


async def measure(count: int, seconds: float) -> dict[str, float]:
    """Do it all; return the figures by title."""
    figures: dict[str, float] = {}
    async with KubernetesTransport.connect() as transport:
        connection = Connection(transport, user_agent="bench", writes_at_once=32)
        cluster = waiting.Cluster(connection)
        node = Node(Connection(transport, user_agent="bench-kubelet", writes_at_once=32))
        await cluster.queue(paused=None, maxRunning=None)
        await waiting.until_settled(cluster)
        jobs = Ends(
            connection,
            kinds.JOBS.collection(RAW_NAMESPACE),
            {"labelSelector": RAW},
            lambda job: bool(job["status"].get("completionTime")),
        )
        ends = Ends(
            connection,
            kinds.TASKS.collection(waiting.TASKS),
            {"fieldSelector": f"status.phase=Succeeded,status.queue={waiting.QUEUE.name}"},
            lambda _: True,
        )
        async with node.running():
            server = [await cluster.api_server()]
            try:
                ended, rate = await jobs.rate(make_raw_jobs(connection, count), count, seconds)
                server.append(await cluster.api_server())
            finally:
                await delete_raw_jobs(connection)
            figures |= {"raw Jobs that ended": ended, "raw Jobs per second": rate}
            figures["API server CPU per 1,000 raw Jobs, s"] = of_thousand(server, ended)
            operator = [await cluster.numbers("operator")]
            server = [await cluster.api_server()]
            ended, rate = await ends.rate(cluster.fill(count), count, seconds)
            operator.append(await cluster.numbers("operator"))
            server.append(await cluster.api_server())
            figures |= {"tasks that ended": ended, "tasks per second": rate}
            figures["API server CPU per 1,000 tasks, s"] = of_thousand(server, ended)
            figures["operator CPU per 1,000 tasks, s"] = of_thousand(operator, ended)
            await cluster.queue(paused=True)
            await cluster.clear()
    ratio = figures["tasks per second"] / figures["raw Jobs per second"]
    return figures | {"tasks / raw Jobs": ratio}


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.tasks, arguments.seconds))
    print(f"\n{arguments.tasks} at once, pods simulated")
    waiting.show(figures, arguments.json)


if __name__ == "__main__":
    main()

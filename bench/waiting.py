"""What it costs that very many tasks wait in one queue, and what it does to everybody else.

    . .localcluster/env; python bench/waiting.py [--waiting 10000] [--running 10] [--json FILE]

Tasks are made straight at the API server, in a queue of their own that is paused. Measured is, in
this order: a task of another queue while nothing waits; the same while the tasks are taken in; an
idle minute; a task of another queue, and reads of the API, beside them all; a restart of the
operator; the queue itself once it goes on, beside raw Jobs; and a task of another queue while it
does. With each of the tasks of another queue goes one that is cancelled as soon as it runs. CPU and
memory are what the processes say of themselves; those of other queues are in them.
"""

import argparse
import asyncio
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import latency

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import names
from longtask_crds.names import ObjectKey

RELEASE, TASKS = "longtask", "longtasks"
QUEUE = ObjectKey(TASKS, "bench")
LABEL = "longtask-bench"
#: In seconds: what takes longer is not measured, it has failed.
_WITHIN = 300
SAME = {"container": {"image": latency.IMAGE, "command": ["true"]}}


class Cluster:
    """What the measurement does to the cluster."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def queue(self, **spec: Any) -> None:
        """Make the queue, or change it."""
        path = kinds.QUEUES.path(QUEUE)
        try:
            await self.connection.patch(path, {"spec": spec})
        except kinds.errors.NotFound:
            document = {
                "apiVersion": names.API_VERSION,
                "kind": "LongTaskQueue",
                "metadata": {"name": QUEUE.name},
                "spec": spec,
            }
            await self.connection.post(kinds.QUEUES.collection(TASKS), document)

    async def fill(self, count: int) -> None:
        """Make so many tasks in the queue."""
        stamp = f"{time.time_ns():x}"
        path = kinds.TASKS.collection(TASKS)

        async def make(number: int) -> None:
            meta = {"name": f"wait-{stamp}-{number}", "labels": {LABEL: "true"}}
            await self.connection.post(
                path,
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "LongTask",
                    "metadata": meta,
                    "spec": {**SAME, "queue": QUEUE.name},
                },
            )

        await asyncio.gather(*(make(number) for number in range(count)))

    async def count(self, phase: str) -> int:
        """Return how many of the queue's tasks are in a phase."""
        query = {"fieldSelector": f"status.phase={phase},status.queue={QUEUE.name}"}
        found = 0
        async for page in self.connection.pages(kinds.TASKS.collection(TASKS), query):
            found += len(page.items)
        return found

    async def clear(self) -> None:
        """Delete the tasks and the queue."""
        for what in (["longtasks", "-l", f"{LABEL}=true"], ["longtaskqueue", QUEUE.name]):
            await run("kubectl", "-n", TASKS, "delete", *what, "--wait=false", "--ignore-not-found")

    async def numbers(self, component: str) -> dict[str, float]:
        """Return what a component's process says of itself."""
        pods = f"/api/v1/namespaces/{RELEASE}/pods"
        selector = {"labelSelector": f"app.kubernetes.io/component={component}"}
        found = (await self.connection.get(pods, selector))["items"]
        alive = [p for p in found if "deletionTimestamp" not in p["metadata"]]
        return await self._read(f"{pods}/{alive[0]['metadata']['name']}:9090/proxy/metrics")

    async def api_server(self) -> dict[str, float]:
        """Return what the API server's process says of itself."""
        return await self._read("/metrics")

    async def _read(self, path: str) -> dict[str, float]:
        async with self.connection.stream(path) as chunks:
            return read_numbers(b"".join([chunk async for chunk in chunks]).decode())


def read_numbers(text: str) -> dict[str, float]:
    """Return the numbers of a page of metrics, by name alone."""
    found = re.findall(r"^(\w+)(?:\{[^}]*\})? ([0-9.e+-]+)$", text, re.M)
    return {name: float(value) for name, value in found}


async def run(*command: str) -> None:
    """Run a command, and say nothing of it unless it fails."""
    await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)


def cpu(before: dict[str, float], after: dict[str, float]) -> float:
    """Return the CPU seconds between two looks."""
    return after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]


def memory(numbers: dict[str, float]) -> float:
    """Return the resident memory in bytes."""
    return numbers["process_resident_memory_bytes"]


async def seconds(work: Awaitable[object]) -> float:
    """Return how long it takes."""
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def until(
    fetch: Callable[[], Awaitable[float]], is_right: Callable[[float], bool], *, pause: float
) -> float:
    """Ask until it is right; return how long that took."""
    began = time.monotonic()
    while not is_right(await fetch()):  # noqa: ASYNC110 - asking is all we can do
        await asyncio.sleep(pause)
    return time.monotonic() - began


async def until_settled(cluster: Cluster) -> None:
    """Wait until the operator has nothing in work."""

    async def in_work() -> float:
        return (await cluster.numbers("operator"))["longtask_operator_keys_in_work"]

    await until(in_work, lambda keys: keys == 0, pause=0.5)


def reads(runs: int = 50) -> dict[str, float]:
    """Return the median time of one task with its position and of a page of the list, in ms."""
    headers = {"Authorization": f"Bearer {os.environ['LONGTASK_TOKEN']}"}
    found: dict[str, list[float]] = {}
    with httpx.Client(base_url=os.environ["LONGTASK_URL"], headers=headers) as client:
        page = client.get("/api/v1/tasks", params={"limit": 50}).json()["items"]
        paths = {"page of 50": "/api/v1/tasks?limit=50"}
        if page:
            paths["one task"] = page[-1]["links"]["self"]
        for _ in range(runs):
            for title, path in paths.items():
                began = time.perf_counter()
                client.get(path).raise_for_status()
                found.setdefault(title, []).append((time.perf_counter() - began) * 1000)
    return {title: statistics.median(values) for title, values in found.items()}


def submits(tasks: latency.Tasks, runs: int = 9) -> float:
    """Return the median of submit to callback of a task in the default queue."""
    order = {"type": "fibonacci", "input": {"n": 10}}
    times = []
    for number in range(runs + 1):
        time.sleep(0.37 * (number % 3))
        measured = tasks.run("t", order, within=_WITHIN)["t, submit -> callback"]
        if number:
            times.append(measured)
    return statistics.median(times)


def cancel(tasks: latency.Tasks) -> float:
    """Return the time from cancelling a task of the default queue that runs to its callback."""
    url, token = os.environ["LONGTASK_URL"], os.environ["LONGTASK_TOKEN"]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        path = tasks.submit({"type": "sleep", "input": {"seconds": 600}}).json()["links"]["self"]
        deadline = time.monotonic() + _WITHIN
        while client.get(path).raise_for_status().json()["phase"] != "Running":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} does not run")
            time.sleep(0.05)
        began = time.monotonic()
        client.post(f"{path}:cancel").raise_for_status()
        at, data = tasks.arrival(within=_WITHIN)
    if data["phase"] != "Cancelled":
        raise RuntimeError(f"unexpected callback: {data}")
    return at - began


async def others(tasks: latency.Tasks, when: str) -> dict[str, float]:
    """Return what a task in the default queue and a cancel take now, by title."""
    return {
        f"submit -> callback of another queue, {when}, s": await asyncio.to_thread(submits, tasks),
        f"cancel -> callback of another queue, {when}, s": await asyncio.to_thread(cancel, tasks),
    }


def raw_jobs(count: int, at_once: int, job: Callable[[], object] = latency.raw_job) -> float:
    """Return how many raw Jobs a second end, so many at once."""
    began = time.monotonic()
    # A thread for each: asyncio's own are as many as there are processors, and four.
    with concurrent.futures.ThreadPoolExecutor(at_once) as places:
        for ended in [places.submit(job) for _ in range(count)]:
            ended.result()
    return count / (time.monotonic() - began)


async def measure(waiting: int, running: int, ends: int) -> dict[str, float]:
    """Do it all; return the figures by title."""
    figures: dict[str, float] = {}
    tasks = latency.installed()
    async with KubernetesTransport.connect() as transport:
        cluster = Cluster(Connection(transport, user_agent="bench", writes_at_once=8))
        await cluster.queue(paused=True, maxRunning=running)
        await until_settled(cluster)
        figures |= await others(tasks, "nothing waits")
        await until_settled(cluster)
        before = {part: await cluster.numbers(part) for part in ("operator", "api")}
        began = time.monotonic()
        filling = asyncio.create_task(seconds(cluster.fill(waiting)))
        figures |= await others(tasks, "taken in")
        figures["... while all of that went on: 1, or 0"] = float(not filling.done())
        figures["making them, s"] = await filling
        await until(lambda: cluster.count("Queued"), lambda n: n >= waiting, pause=2)
        await until_settled(cluster)
        figures["all recorded after, s"] = time.monotonic() - began
        after = {part: await cluster.numbers(part) for part in ("operator", "api")}
        figures["operator CPU to take them in, s"] = cpu(before["operator"], after["operator"])
        for part in ("operator", "api"):
            grown = memory(after[part]) - memory(before[part])
            figures[f"{part} memory, MB"] = memory(after[part]) / 1e6
            figures[f"{part} memory per waiting task, KB"] = grown / waiting / 1e3
        await asyncio.sleep(60)
        idle = {part: await cluster.numbers(part) for part in ("operator", "api")}
        for part in ("operator", "api"):
            figures[f"{part} CPU of an idle minute, s"] = cpu(after[part], idle[part])
        figures |= await others(tasks, "paused")
        for title, value in (await asyncio.to_thread(reads)).items():
            figures[f"API, {title}, ms"] = value
        began = time.monotonic()
        for verb in ("restart", "status"):
            await run("kubectl", "-n", RELEASE, "rollout", verb, "deploy/longtask-operator")
        figures["ready after a restart, s"] = time.monotonic() - began
        first = await asyncio.to_thread(tasks.run, "t", {"type": "fibonacci", "input": {"n": 10}})
        figures["first callback of another queue after it, s"] = first["t, submit -> callback"]
        await until_settled(cluster)
        restarted = await cluster.numbers("operator")
        figures["operator CPU to start with them, s"] = restarted["process_cpu_seconds_total"]
        figures["longest standstill of its loop, s"] = restarted[
            "longtask_operator_loop_lag_seconds"
        ]
        began = time.monotonic()
        await cluster.queue(paused=None)
        await until(lambda: cluster.count("Succeeded"), lambda n: n >= 1, pause=0.2)
        figures["unpaused: first one ended after, s"] = time.monotonic() - began
        await until(lambda: cluster.count("Succeeded"), lambda n: n >= ends, pause=0.5)
        figures["unpaused: tasks per second"] = ends / (time.monotonic() - began)
        figures |= await others(tasks, "unpaused")
        figures["... while so many still waited"] = float(await cluster.count("Queued"))
        await cluster.queue(paused=True)
        await cluster.clear()
    return figures


def show(figures: dict[str, float], file: Path | None) -> None:
    """Print the figures as a table, and keep them raw in a file if one is named."""
    for title, value in figures.items():
        print(f"{title:<60} {value:9.3f}")
    if file is not None:
        file.write_text(json.dumps(figures, indent=1))


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--running", type=int, default=10)
    parser.add_argument("--ends", type=int, default=40)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kubernetes.config.load_kube_config()
    figures = asyncio.run(measure(arguments.waiting, arguments.running, arguments.ends))
    jobs = raw_jobs(arguments.ends, arguments.running)
    figures["raw Jobs per second"] = jobs
    print(f"\n{arguments.waiting} waiting")
    show(figures, arguments.json)


if __name__ == "__main__":
    main()

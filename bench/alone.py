"""What very many waiting tasks cost operator and API, where no cluster could take so many.

    python bench/alone.py [--waiting 1000 10000] [--held 10000 50000] [--large 300]

Of those that are waiting the operator is told, and records them; those that are held were recorded
before it was started.

Operator and API are the real processes, each started anew for each number of tasks, over real
sockets. What they talk to is the Kubernetes in memory that the tests have, in a process of its own:
it takes writes faster than etcd does, and runs no pod. CPU and memory are what the processes say of
themselves, so those of the Kubernetes are not in them.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import inputs
import waiting
from aiohttp import test_utils, web

from longtask_adapters.kube import kinds
from longtask_adapters.kube.transport import Request
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import names

#: What kopf asks to find its kinds.
_FOUND: dict[str, Any] = {
    "/api": {"versions": ["v1"]},
    "/apis": {
        "groups": [
            {
                "name": names.GROUP,
                "versions": [{"version": names.VERSION}],
                "preferredVersion": {"version": names.VERSION},
            }
        ]
    },
    "/api/v1": {"resources": []},
    f"/apis/{names.API_VERSION}": {
        "resources": [
            (names.LONGTASKQUEUES, "LongTaskQueue"),
            (names.LONGTASKTYPES, "LongTaskType"),
        ]
    },
}
#: What the API server adds to an object of ours: a third of its bytes.
_MANAGED = [
    {
        "manager": "bench",
        "operation": "Update",
        "apiVersion": names.API_VERSION,
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, f"f:{waiting.LABEL}": {}}},
            "f:spec": {".": {}, "f:container": {".": {}, "f:command": {}, "f:image": {}}},
        },
    }
]
#: What the operator records of a task that waits.
_RECORDED: dict[str, Any] = {
    "phase": "Queued",
    "queue": waiting.QUEUE.name,
    "queuedAt": "2026-01-02T03:04:05Z",
    "observedGeneration": 1,
    "conditions": [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
        for kind, status, reason in [
            ("Accepted", "True", "Valid"),
            ("Finished", "False", "Queued"),
            ("Succeeded", "Unknown", "Queued"),
            ("CallbackDelivered", "Unknown", "NoCallback"),
            ("Stalled", "False", "AsExpected"),
        ]
    ],
}
#: Longer than any of it takes, in seconds.
_PATIENCE = 900


class Server:
    """Serves a Kubernetes in memory, and what only the measurement asks of it."""

    def __init__(self) -> None:
        self._kubernetes = MemoryKubernetes(namespace=waiting.TASKS)
        self._kubernetes.put(names.LONGTASKQUEUES, names.DEFAULT_QUEUE, spec={})
        self._kubernetes.put(names.LONGTASKQUEUES, waiting.QUEUE.name, spec={"paused": True})

    async def run(self, port: int) -> None:
        """Serve for ever."""
        app = web.Application(client_max_size=2**22)
        app.add_routes([*self.routes(), web.route("*", "/{path:.*}", self._answer)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        while True:
            await asyncio.sleep(30)
            self._kubernetes.bookmark()

    def routes(self) -> list[web.RouteDef]:
        """Return what only the measurement asks."""
        return [
            web.post("/bench/fill/{what}/{count}", self._fill),
            web.get("/bench/recorded", self._recorded),
            web.get("/bench/started", self._started),
        ]

    async def _fill(self, request: web.Request) -> web.Response:
        """Make tasks in the paused queue, as fast as may be."""
        what = request.match_info["what"]
        spec = {**waiting.SAME, "queue": waiting.QUEUE.name}
        spec |= {"input": inputs.INPUT} if what == "large" else {}
        status = _RECORDED if what == "recorded" else {"phase": "Pending"}
        self._kubernetes.now = datetime.now(UTC)
        for number in range(int(request.match_info["count"])):
            labels = {waiting.LABEL: "true"}
            self._kubernetes.put(
                names.LONGTASKS,
                f"wait-{number}",
                metadata={"labels": labels, "managedFields": _MANAGED},
                spec=spec,
                status=status,
            )
            if number % 100 == 0:
                await asyncio.sleep(0)
        return web.Response()

    async def _recorded(self, _: web.Request) -> web.Response:
        """Tell how many tasks are recorded as waiting."""
        tasks = self._kubernetes.objects(names.LONGTASKS).values()
        return web.json_response(sum(task["status"]["phase"] == "Queued" for task in tasks))

    async def _started(self, _: web.Request) -> web.Response:
        """Tell which tasks have a Job."""
        jobs = self._kubernetes.objects("jobs").values()
        return web.json_response([job["metadata"]["labels"][names.TASK_LABEL] for job in jobs])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in _FOUND:
            return web.json_response(_found(path))
        self._kubernetes.now = datetime.now(UTC)
        body = await request.json() if request.can_read_body else None
        query = dict(request.query)
        async with self._kubernetes.open(Request(request.method, path, query, json=body)) as answer:
            # Each is remembered for tests to look at.
            self._kubernetes.requests.clear()
            if query.get("watch") != "true":
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type="application/json"
                )
            stream = web.StreamResponse()
            # Who was stopped watches no more.
            with contextlib.suppress(ConnectionResetError):
                await stream.prepare(request)
                async for line in answer.lines():
                    await stream.write(line)
            return stream


def _found(path: str) -> dict[str, Any]:
    answer = _FOUND[path]
    if "resources" not in answer:
        return answer
    verbs = ["get", "list", "watch", "patch"]
    more = {"namespaced": True, "verbs": verbs}
    found = [
        {"name": plural, "kind": kind, "singularName": kind.lower(), **more}
        for plural, kind in answer["resources"]
    ]
    return {"resources": found}


def serve(port: int) -> None:
    """Serve in this process."""
    asyncio.run(Server().run(port))


class Part:
    """The operator or the API: one process of it at a time."""

    def __init__(
        self, name: str, folder: Path, kubernetes: int, told: Mapping[str, str] | None = None
    ) -> None:
        """Make one of it.

        Args:
            name: Which of the two.
            folder: For its files.
            kubernetes: The port of what it works on.
            told: Variables that are not as the others here.
        """
        self._told = told or {}
        self._module = f"longtask_{name}"
        self._folder = folder
        self._kubernetes = kubernetes
        self._process: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}

    async def start(self) -> float:
        """Start it; return after how many seconds it is ready."""
        began = time.monotonic()
        self._launch()
        port = "HEALTH_PORT" if self._module.endswith("operator") else "PUBLIC_PORT"
        await until(lambda: _is_ready(self.ports[port]), pause=0.05)
        return time.monotonic() - began

    def _launch(self) -> None:
        named = ("HEALTH_PORT", "METRICS_PORT", "PUBLIC_PORT", "RUNNER_PORT")
        self.ports = {name: test_utils.unused_port() for name in named}
        kubeconfig = self._folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(self._kubernetes)))
        told = {
            "KUBECONFIG": kubeconfig,
            "LONGTASK_NAMESPACE": waiting.TASKS,
            "LONGTASK_SECRETS_NAMESPACE": waiting.RELEASE,
            "LONGTASK_RUNNER_IMAGE": "none",
            "LONGTASK_RUNNER_API_URL": "http://127.0.0.1:9",
            "LONGTASK_INSECURE": "true",
            "LONGTASK_HOST": "127.0.0.1",
            "LONGTASK_LOG_LEVEL": "ERROR",
            "LONGTASK_DATABASE_URL": f"sqlite:///{self._folder / 'longtask.db'}",
            **{f"LONGTASK_{name}": port for name, port in self.ports.items()},
            **self._told,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=os.environ | {name: str(value) for name, value in told.items()},
        )

    async def stop(self) -> None:
        """End it, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def numbers(self) -> dict[str, float]:
        """Return what it says of itself, and the most memory that it has used."""
        text = (await _get(f"http://127.0.0.1:{self.ports['METRICS_PORT']}/metrics")).text
        return waiting.read_numbers(text) | {"peak": self._peak()}

    def _peak(self) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (most,) = (line.split()[1] for line in status if line.startswith("VmHWM"))
        return int(most) * 1024


async def until(is_right: Callable[[], Awaitable[bool]], *, pause: float) -> None:
    """Ask until it is right."""
    async with asyncio.timeout(_PATIENCE):
        while not await is_right():  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(pause)


async def _get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.get(url)).raise_for_status()


async def _is_ready(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        await _get(f"http://127.0.0.1:{port}/readyz")
        return True
    return False


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }


class Bench:
    """One Kubernetes, an operator and an API."""

    def __init__(self, port: int, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.operator = Part("operator", folder, port)
        self.api = Part("api", folder, port)

    async def fill(self, what: str, count: int) -> None:
        """Make so many tasks, and wait until all of them are recorded."""
        async with httpx.AsyncClient(timeout=_PATIENCE) as client:
            await client.post(f"{self._url}/bench/fill/{what}/{count}")
        await until(lambda: self._has_recorded(count), pause=1)

    async def settle(self) -> None:
        """Wait until the operator has nothing in work."""
        await until(self._is_settled, pause=0.2)

    async def start_of_another(self, runs: int = 9) -> float:
        """Return the median time until a task of another queue has its Job, in ms."""
        times = []
        async with httpx.AsyncClient(timeout=60) as client:
            for _ in range(runs):
                name = f"other-{time.time_ns():x}"
                began = time.perf_counter()
                answer = await client.post(
                    self._url + kinds.TASKS.collection(waiting.TASKS),
                    json={"metadata": {"name": name}, "spec": waiting.SAME},
                )
                answer.raise_for_status()
                await until(lambda name=name: self._has_started(name), pause=0.01)
                times.append((time.perf_counter() - began) * 1000)
        return statistics.median(times)

    async def reads(self, runs: int = 50) -> dict[str, float]:
        """Return the median time of one task with its position, and of a page, in ms."""
        found: dict[str, list[float]] = {}
        url = f"http://127.0.0.1:{self.api.ports['PUBLIC_PORT']}/api/v1/tasks"
        paths = {"one task": f"{url}/wait-0", "page of 50": f"{url}?limit=50"}
        async with httpx.AsyncClient(timeout=60) as client:
            for _ in range(runs):
                for title, path in paths.items():
                    began = time.perf_counter()
                    (await client.get(path)).raise_for_status()
                    found.setdefault(title, []).append((time.perf_counter() - began) * 1000)
        return {title: statistics.median(values) for title, values in found.items()}

    async def _has_recorded(self, count: int) -> bool:
        return (await _get(f"{self._url}/bench/recorded")).json() >= count

    async def _has_started(self, name: str) -> bool:
        return name in (await _get(f"{self._url}/bench/started")).json()

    async def _is_settled(self) -> bool:
        return (await self.operator.numbers())["longtask_operator_keys_in_work"] == 0


@contextlib.asynccontextmanager
async def a_kubernetes() -> AsyncIterator[int]:
    """Serve an empty Kubernetes meanwhile, at the port that this yields."""
    port = test_utils.unused_port()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    try:
        await until(lambda: answers(port), pause=0.1)
        yield port
    finally:
        server.terminate()
        server.join()


@contextlib.asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    """Serve an empty Kubernetes meanwhile, with an operator and an API over it."""
    async with a_kubernetes() as port:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(port, Path(folder))
            try:
                await bench.operator.start()
                await bench.api.start()
                yield bench
            finally:
                await bench.operator.stop()
                await bench.api.stop()


async def answers(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        await _get(f"http://127.0.0.1:{port}/api")
        return True
    return False


async def many(count: int) -> dict[str, float]:
    """Let so many wait; return the figures by title."""
    figures: dict[str, float] = {}
    async with a_bench() as bench:
        parts = {"operator": bench.operator, "API": bench.api}
        title = "another queue's task has its Job after, ms"
        figures[f"{title}, nothing waits"] = await bench.start_of_another()
        before = {name: await part.numbers() for name, part in parts.items()}
        began = time.monotonic()
        await bench.fill("small", count)
        await bench.settle()
        figures["all recorded after, s"] = time.monotonic() - began
        after = {name: await part.numbers() for name, part in parts.items()}
        for name in parts:
            used = waiting.cpu(before[name], after[name])
            figures[f"{name}: CPU to take one in, ms"] = used / count * 1000
            grown = waiting.memory(after[name]) - waiting.memory(before[name])
            figures[f"{name}: memory per waiting task, KB"] = grown / count / 1e3
        await asyncio.sleep(60)
        for name, part in parts.items():
            idle = waiting.cpu(after[name], await part.numbers())
            figures[f"{name}: CPU of an idle minute, s"] = idle
        figures[f"{title}, beside them"] = await bench.start_of_another()
        for what, value in (await bench.reads()).items():
            figures[f"API: {what}, ms"] = value
        figures |= await restart(bench)
    return figures


async def held(count: int) -> dict[str, float]:
    """Let so many wait that were recorded before; return the figures by title."""
    async with a_bench() as bench:
        parts = {"operator": bench.operator, "API": bench.api}
        empty = {name: waiting.memory(await part.numbers()) for name, part in parts.items()}
        for part in parts.values():
            await part.stop()
        await bench.fill("recorded", count)
        figures = await restart(bench)
        before = {name: await part.numbers() for name, part in parts.items()}
        for name in parts:
            grown = waiting.memory(before[name]) - empty[name]
            figures[f"{name}: memory per waiting task, KB"] = grown / count / 1e3
        await asyncio.sleep(60)
        for name, part in parts.items():
            idle = waiting.cpu(before[name], await part.numbers())
            figures[f"{name}: CPU of an idle minute, s"] = idle
        figures["another queue's task has its Job after, ms"] = await bench.start_of_another()
        for what, value in (await bench.reads()).items():
            figures[f"API: {what}, ms"] = value
    return figures


async def restart(bench: Bench) -> dict[str, float]:
    """Start both anew; return what that costs."""
    figures: dict[str, float] = {}
    for name, part in {"operator": bench.operator, "API": bench.api}.items():
        await part.stop()
        figures[f"{name}: ready after a restart, s"] = await part.start()
        await bench.settle()
        numbers = await part.numbers()
        figures[f"{name}: CPU of that, s"] = numbers["process_cpu_seconds_total"]
        figures[f"{name}: the most memory at that, MB"] = numbers["peak"] / 1e6
    lag = (await bench.operator.numbers())["longtask_operator_loop_lag_seconds"]
    return figures | {"operator: longest standstill of its loop at that, s": lag}


async def large(count: int) -> dict[str, float]:
    """Let so many tasks with the largest inputs wait; return the figures by title."""
    async with a_bench() as bench:
        await bench.fill("large", count)
        await bench.settle()
        parts = {"operator": bench.operator, "API": bench.api}
        came = {
            f"{name}: the most memory while they came, MB": (await part.numbers())["peak"] / 1e6
            for name, part in parts.items()
        }
        return came | await restart(bench)


def main() -> None:
    """Measure, print a table for each number, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--held", type=int, nargs="*", default=[10_000, 50_000])
    parser.add_argument("--large", type=int, nargs="*", default=[300])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for count, measure, what in [
        *((count, many, "waiting") for count in arguments.waiting),
        *((count, held, "held") for count in arguments.held),
        *((count, large, "with the largest inputs") for count in arguments.large),
    ]:
        title = f"{count} {what}"
        print(f"\n{title}; the machine's load before: {os.getloadavg()[0]:.1f}")
        figures[title] = asyncio.run(measure(count))
        waiting.show(figures[title], None)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

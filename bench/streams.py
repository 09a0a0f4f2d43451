"""What a thousand listeners cost the API, and how late they hear.

    python bench/streams.py [--clients 1000] [--seconds 30]

The API is the real process over real sockets; the Kubernetes is that of `alone.py`, in memory, in
a process of its own, as are the clients. Twenty times a second a task reports progress, with the
time in its message: what a client hears later than that is delay. Once each client follows a task
of its own, and once all of them follow all tasks.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import alone
import httpx
import waiting
from aiohttp import test_utils, web

from longtask_crds import names

_SAID = re.compile(rb'"message":"at ([0-9.]+)"')
_A_SECOND = 20


class Server(alone.Server):
    """A Kubernetes whose tasks report progress, and that counts who watches."""

    def __init__(self) -> None:
        super().__init__()
        self._watches = 0
        self._changes: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return what only the measurement asks."""
        return [
            web.post("/bench/running/{count}", self._run_tasks),
            web.post("/bench/change/{count}/{seconds}", self._change),
            web.get("/bench/watches", self._tell_watches),
        ]

    async def _run_tasks(self, request: web.Request) -> web.Response:
        self._kubernetes.now = datetime.now(UTC)
        for number in range(int(request.match_info["count"])):
            self._report(number, 0)
            if number % 100 == 0:
                await asyncio.sleep(0)
        return web.Response()

    async def _change(self, request: web.Request) -> web.Response:
        """Let one task after the other report, evenly in time."""
        count, seconds = (int(request.match_info[name]) for name in ("count", "seconds"))
        began = time.monotonic()
        for number in range(_A_SECOND * seconds):
            await asyncio.sleep(max(0.0, began + number / _A_SECOND - time.monotonic()))
            self._report(number % count, number % 100)
        return web.Response()

    def _report(self, number: int, percent: int) -> None:
        said = {"percent": percent, "message": f"at {time.time():.6f}"}
        attempt = {"number": 1, "jobName": "none", "startedAt": "2026-01-02T03:04:05Z"}
        status = {"phase": "Running", "attempt": 1, "attempts": [attempt], "progress": said}
        spec = {**waiting.SAME, "queue": waiting.QUEUE.name}
        self._kubernetes.put(names.LONGTASKS, f"run-{number}", spec=spec, status=status)

    async def _tell_watches(self, _: web.Request) -> web.Response:
        return web.json_response(self._watches)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        of_tasks = request.path.endswith(f"/{names.LONGTASKS}")
        is_watch = of_tasks and request.query.get("watch") == "true"
        self._watches += is_watch
        try:
            return await super()._answer(request)
        finally:
            self._watches -= is_watch


def serve(port: int) -> None:
    """Serve in this process."""
    asyncio.run(Server().run(port))


def listen(port: int, paths: list[str], told: Any) -> None:
    """Listen in this process, a connection for each path, until told to stop; tell the delays."""
    asyncio.run(_listen(port, paths, told))


async def _listen(port: int, paths: list[str], told: Any) -> None:
    delays: list[float] = []
    open_, began = 0, float("inf")

    async def one(path: str) -> None:
        nonlocal open_
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        await reader.readuntil(b"id: ")
        open_ += 1
        rest = b""
        while chunk := await reader.read(65536):
            now = time.time()
            found = list(_SAID.finditer(rest + chunk))
            # What was said before all were there is told at first: that is no delay.
            delays.extend(now - float(each[1]) for each in found if float(each[1]) > began)
            rest = (rest + chunk)[found[-1].end() if found else 0 :][-100:]

    tasks = []
    for number, path in enumerate(paths):
        tasks.append(asyncio.create_task(one(path)))
        if number % 20 == 19:
            await asyncio.sleep(0.05)
    while open_ < len(paths):  # noqa: ASYNC110 - asking is all we can do
        await asyncio.sleep(0.1)
    began = time.time()
    told.send("open")
    while not told.poll():  # noqa: ASYNC110 - asking is all we can do
        await asyncio.sleep(0.1)
    told.send(delays)
    for task in tasks:
        task.cancel()


async def measure(clients: int, seconds: int, path: Callable[[int], str]) -> dict[str, float]:
    """Let so many listen; return the figures by title."""
    context = multiprocessing.get_context("spawn")
    port = test_utils.unused_port()
    url = f"http://127.0.0.1:{port}"
    server = context.Process(target=serve, args=(port,), daemon=True)
    server.start()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        api = alone.Part("api", Path(folder), port)
        try:
            await alone.until(lambda: alone.answers(port), pause=0.1)
            async with httpx.AsyncClient(timeout=seconds + 120) as http:
                (await http.post(f"{url}/bench/running/{clients}")).raise_for_status()
                await api.start()
                before = await api.numbers()
                here, there = context.Pipe()
                paths = [path(number) for number in range(clients)]
                listeners = context.Process(
                    target=listen, args=(api.ports["PUBLIC_PORT"], paths, there), daemon=True
                )
                listeners.start()
                await asyncio.to_thread(here.recv)
                opened = await api.numbers()
                figures["watches of tasks"] = (await http.get(f"{url}/bench/watches")).json()
                changing = f"{url}/bench/change/{clients}/{seconds}"
                (await http.post(changing)).raise_for_status()
                await asyncio.sleep(2)
                after = await api.numbers()
                here.send("stop")
                delays = sorted(await asyncio.to_thread(here.recv))
                listeners.join()
        finally:
            await api.stop()
            server.terminate()
            server.join()
    centiles = statistics.quantiles(delays, n=100)
    figures |= {
        "heard in all": len(delays),
        "delay p50, ms": centiles[49] * 1000,
        "delay p99, ms": centiles[98] * 1000,
        "longest delay, ms": delays[-1] * 1000,
        "memory per client when open, KB": (waiting.memory(opened) - waiting.memory(before))
        / clients
        / 1e3,
        "memory per client at the end, KB": (waiting.memory(after) - waiting.memory(before))
        / clients
        / 1e3,
        "CPU of the API, s a second": waiting.cpu(opened, after) / (seconds + 2),
    }
    return figures


def main() -> None:
    """Measure, and print a table for each kind of listener."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--only", choices=["one", "all"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["LONGTASK_STREAMS_PER_CALLER"] = str(arguments.clients)
    kinds: dict[str, Callable[[int], str]] = {
        "one": lambda number: f"/api/v1/tasks/run-{number}/events",
        "all": lambda _: "/api/v1/events",
    }
    figures = {}
    for title, path in kinds.items():
        if arguments.only not in (None, title):
            continue
        each = "all tasks" if title == "all" else "one task"
        load = os.getloadavg()[0]
        print(f"\n{arguments.clients} clients of {each} each; load before: {load:.1f}")
        figures[title] = asyncio.run(measure(arguments.clients, arguments.seconds, path))
        waiting.show(figures[title], None)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

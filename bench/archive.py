"""What 20,000 archived tasks cost: to list, to search, to look at; and whether archiving keeps up.

    python bench/archive.py [--tasks 20000] [--url postgresql://…] [--json FILE]

The API runs in this process, whole, over a Kubernetes in memory; its database is a file of SQLite
in a temporary folder, or the one that the URL names, which must be empty. So the times are the
API's and the database's own: HTTP is spoken without a network.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.database import engine, tables
from longtask_api.stores import archive
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, NAMESPACE, a_condition, a_task, with_meta, with_status

TYPES = ("fibonacci", "prime-numbers", "http-fetch", "report", "render")
WORDS = ("disk", "full", "worker", "wrote", "report", "image", "frame", "gave", "up", "again")
RARE = "segmentation fault"
#: How often each question is asked.
ROUNDS = 50
#: Tasks a second that archiving has to keep up with, and for how many seconds.
RATE, SECONDS = 20, 30
#: How many are due at once, to see what it can do.
BURST = 500
LOG = b"a line of a log as programs write them, some eighty characters long, more or less\n" * 200


def an_archived(number: int, dice: random.Random, now: datetime) -> v1alpha1.LongTask:
    """Return a task as it may stand in an archive: the younger, the higher its number."""
    failed = dice.random() < 0.1
    message = " ".join(dice.choices(WORDS, k=20)) if failed else "done"
    if number % 5_000 == 17:
        message += f": {RARE}"
    task = with_status(
        a_task(
            f"task-{number:06}",
            uid=f"{dice.getrandbits(128):032x}",
            type=dice.choice(TYPES),
            input={"text": "x" * dice.randrange(2_000)},
        ),
        phase=v1alpha1.Phase.FAILED if failed else v1alpha1.Phase.SUCCEEDED,
        conditions=[FINISHED, a_condition(v1alpha1.ConditionType.SUCCEEDED, message=message)],
        queue=dice.choice(("default", "slow")),
        result=v1alpha1.Result(value={"text": "y" * dice.randrange(1_000)}),
    )
    labels = {names.OWNER_LABEL: f"owner-{dice.randrange(50)}", "team": f"t{dice.randrange(200)}"}
    created = now - timedelta(days=60) + timedelta(minutes=number)
    started = created + timedelta(seconds=dice.randrange(300))
    ended = started + timedelta(seconds=dice.randrange(1, 3_000))
    task = with_status(task, queued_at=created, started_at=started, finished_at=ended)
    return with_meta(task, creation_timestamp=created, labels=labels)


async def fill(store: engine.Database, count: int) -> None:
    """Store that many tasks in the archive, a thousand at once."""
    dice, now = random.Random(1), datetime.now(UTC)
    for first in range(0, count, 1_000):
        some = range(first, min(count, first + 1_000))
        made = [an_archived(number, dice, now) for number in some]
        labels = [
            {"task_uid": task.metadata.uid, "key": key, "value": value}
            for task in made
            for key, value in task.metadata.labels.items()
        ]
        async with store.writing() as connection:
            rows = [archive.row_of(task, now) for task in made]
            await connection.execute(sa.insert(tables.ARCHIVE), rows)
            await connection.execute(sa.insert(tables.ARCHIVE_LABELS), labels)
    if store.is_shared:
        # PostgreSQL does it by itself, but not at once.
        async with store.writing() as connection:
            await connection.execute(sa.text("analyze"))


class Bench:
    """The API, and who asks it."""

    def __init__(
        self, kubernetes: MemoryKubernetes, services: wiring.Services, client: httpx.AsyncClient
    ) -> None:
        self.kubernetes = kubernetes
        self.services = services
        self.client = client

    async def time(self, path: str, **query: Any) -> list[float]:
        """Ask the same thing again and again; return how long each answer took, in seconds."""
        times = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answer = await self.client.get(path, params=query)
            times.append(time.perf_counter() - begun)
            assert answer.status_code == 200, answer.text
        return times

    async def walk(self) -> list[float]:
        """Read all pages; return how long each one took."""
        times, query = [], {"limit": "50"}
        while True:
            begun = time.perf_counter()
            page = (await self.client.get("/api/v1/tasks", params=query)).json()
            times.append(time.perf_counter() - begun)
            if page["nextCursor"] is None:
                return times
            query["cursor"] = page["nextCursor"]

    async def search(self, text: str) -> list[float]:
        """Search all of the archive a few times; return how long it took with all pages."""
        times = []
        for _ in range(10):
            query = {"search": text, "limit": "500"}
            begun = time.perf_counter()
            while True:
                page = (await self.client.get("/api/v1/tasks", params=query)).json()
                if page["nextCursor"] is None:
                    break
                query["cursor"] = page["nextCursor"]
            times.append(time.perf_counter() - begun)
        return times

    async def end_of_life(self, count: int, pause: float) -> tuple[list[float], float]:
        """Let tasks end that go at once; return how long each stays, and how many go a second."""
        born: dict[str, float] = {}
        gone: dict[str, float] = {}
        watch = asyncio.create_task(self._watch(born, gone, count))
        begun = time.perf_counter()
        for number in range(count):
            if pause:
                await asyncio.sleep(max(0.0, begun + number * pause - time.perf_counter()))
            name = f"end-{count}-{number}"
            born[name] = time.perf_counter()
            self._end(name)
        await watch
        taken = max(gone.values()) - begun
        return [gone[name] - born[name] for name in born], count / taken

    async def _watch(self, born: dict[str, float], gone: dict[str, float], count: int) -> None:
        async with contextlib.aclosing(self.kubernetes.changes()) as changes:
            async for _ in changes:
                there = {key.name for key in self.kubernetes.objects(names.LONGTASKS)}
                for name in born.keys() - gone.keys() - there:
                    gone[name] = time.perf_counter()
                if len(gone) == count:
                    return

    def _end(self, name: str) -> None:
        """Make a task that has just ended, with its pod and its released Job."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        job, pod = f"{name}-job", f"{name}-pod"
        owner = [{"kind": "LongTask", "name": name, "uid": name}]
        made = {"uid": job, "ownerReferences": owner}
        self.kubernetes.put("jobs", job, metadata=made, spec={"ttlSecondsAfterFinished": 600})
        self.kubernetes.put(
            "pods", pod, metadata={"ownerReferences": [{"kind": "Job", "name": job, "uid": job}]}
        )
        self.kubernetes.logs[pod] = [LOG]
        done = a_condition(v1alpha1.ConditionType.SUCCEEDED, message="done")
        attempt = {"number": 1, "jobName": job, "podName": pod, "finishedAt": now}
        self.kubernetes.put(
            names.LONGTASKS,
            name,
            metadata={"uid": name, "creationTimestamp": now},
            spec={"type": "fibonacci", "input": {"n": 100}, "ttlSecondsAfterFinished": 0},
            status={
                "phase": "Succeeded",
                "conditions": [FINISHED.to_json(), done.to_json()],
                "finishedAt": now,
                "attempt": 1,
                "attempts": [attempt],
                "result": {"value": {"value": "55"}},
            },
        )


@contextlib.asynccontextmanager
async def running(url: str) -> AsyncIterator[Bench]:
    """Run the API on an empty cluster and a database."""
    kubernetes = MemoryKubernetes()
    kubernetes.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    configured = settings.Settings(insecure=True, namespace=NAMESPACE, database_url=url)
    async with (
        wiring.running(kubernetes, configured) as services,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)), base_url="http://bench"
        ) as client,
    ):
        await services.health.synced()
        yield Bench(kubernetes, services, client)


def told(times: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile in milliseconds."""
    every = sorted(times)
    return statistics.median(every) * 1000, every[int(len(every) * 0.95)] * 1000


async def measure(url: str, count: int) -> dict[str, Any]:
    """Return all figures."""
    async with running(url) as bench:
        print(f"filling the archive with {count} tasks", flush=True)
        await fill(bench.services.database, count)
        tasks = "/api/v1/tasks"
        middle = f"task-{count // 2:06}"
        half_way = (datetime.now(UTC) - timedelta(days=53)).strftime("%Y-%m-%dT%H:%M:%SZ")
        questions: dict[str, Callable[[], Awaitable[list[float]]]] = {
            "one task by its id": lambda: bench.time(f"{tasks}/{middle}"),
            "first page of 50": lambda: bench.time(tasks),
            "each page of 50, to the last": bench.walk,
            "first page of 500": lambda: bench.time(tasks, limit=500),
            "of a type": lambda: bench.time(tasks, type="render"),
            "of an owner": lambda: bench.time(tasks, owner="owner-7"),
            "that failed, in a queue": lambda: bench.time(tasks, phase="Failed", queue="slow"),
            "with a label that 1 in 200 has": lambda: bench.time(tasks, label="team=t7"),
            "before some day": lambda: bench.time(tasks, until=half_way),
            "text that 1 in 50 has": lambda: bench.time(tasks, search="disk full"),
            "text that 1 in 5,000 has, all of it": lambda: bench.search(RARE),
            "text that none has, all of it": lambda: bench.search("no such text"),
        }
        figures: dict[str, Any] = {}
        for question, ask in questions.items():
            figures[question] = told(await ask())
            print(f"{question}: {figures[question]}", flush=True)
        stays, _ = await bench.end_of_life(RATE * SECONDS, 1 / RATE)
        figures["stays"] = told(stays)
        begun = time.process_time()
        _, figures["burst per second"] = await bench.end_of_life(BURST, 0.0)
        figures["burst CPU"] = (time.process_time() - begun) / BURST
        return figures


def table(title: str, count: int, figures: dict[str, Any]) -> str:
    """Return the figures as the table of the README."""
    lines = [f"| {title}, {count:,} archived tasks; milliseconds | p50 | p95 |", "|--|--|--|"]
    for name, value in figures.items():
        if isinstance(value, tuple) and name != "stays":
            lines.append(f"| {name} | {value[0]:.1f} | {value[1]:.1f} |")
    stays = figures["stays"]
    lines.append(
        f"| {RATE} ends a second for {SECONDS} s: from due to archived, with a log of 16 KiB, and"
        f" deleted | {stays[0]:.0f} | {stays[1]:.0f} |"
    )
    lines.append("")
    lines.append(
        f"{BURST} tasks that are due at once: {figures['burst per second']:.0f} a second, at"
        f" {figures['burst CPU'] * 1000:.0f} ms of this process each."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--url", default="", help="an empty database of PostgreSQL")
    parser.add_argument("--json", type=Path)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longtask-bench-") as folder:
        url = said.url or f"sqlite:///{folder}/longtask.db"
        figures = asyncio.run(measure(url, said.tasks))
    print(table("PostgreSQL" if said.url else "SQLite", said.tasks, figures))
    if said.json:
        said.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

"""Ask two replicas of the API on one PostgreSQL whether they say the same, and print a table.

    . .localcluster/env
    PYTHONPATH=tests/support python tests/replicas/run_replicas.py [--write docs/reliability.md]

The installed product gets a second replica of the API and a PostgreSQL of this machine, and has its
SQLite again afterwards. What is asked goes through the ingress, or through a port of each pod where
it matters which of them answers.
"""

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

import marked_text
import postgres_support
from e2e_support import SYSTEM, Kubectl, Product, eventually
from longtask_client import aio, errors, models

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/longtask"
HELM = ("helm", "-n", "longtask")
SECRET = "longtask-replicas-database"
TASKS = 40
PASSWORD = "correct horse battery"
#: A token that ended at one replica is refused by the other within this.
BELIEVED_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was asked, and what came of it."""

    asked: str
    found: str
    is_well: bool


@dataclasses.dataclass(frozen=True)
class Stage:
    """The product with two replicas."""

    product: Product
    kubectl: Kubectl
    pods: tuple[str, str]
    replicas: tuple[str, str]  #: the URL of each
    run: str  #: labels what is made here


def helm(*words: str) -> str:
    done = subprocess.run([*HELM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def two_replicas(product: Product, kubectl: Kubectl, url: str) -> Iterator[None]:
    """Let the product have two replicas on that database, and what it had before at the end."""
    at = urlsplit(url)
    data = {"url": base64.b64encode(url.encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": data}
    kubectl("apply", *SYSTEM, "-f", "-", stdin=json.dumps(secret))
    with tempfile.TemporaryDirectory() as folder:
        before, other = Path(folder) / "before.yaml", Path(folder) / "other.yaml"
        before.write_text(helm("get", "values", "longtask", "-o", "yaml"))
        changed = {
            "api": {"replicaCount": 2},
            "database": {"existingSecret": SECRET},
            "networkPolicy": {
                "database": {"cidrs": [f"{at.hostname}/32"], "ports": [at.port]},
            },
        }
        other.write_text(json.dumps(changed))
        upgrade = ("upgrade", "longtask", str(CHART), "--skip-crds", "-f", str(before))
        wait = ("--wait", "--timeout", "5m")
        try:
            helm(*upgrade, "-f", str(other), *wait)
            yield
        finally:
            helm(*upgrade, "--reset-values", *wait)
            kubectl("delete", "secret", SECRET, *SYSTEM, check=False)


def api_pods(kubectl: Kubectl) -> tuple[str, str]:
    """Return the two pods, once there are no others."""

    def named() -> list[str]:
        selector = ("-l", "app.kubernetes.io/component=api")
        found = kubectl.get("pods", *SYSTEM, *selector)["items"]
        return [pod["metadata"]["name"] for pod in found]

    one, other = eventually(named, lambda found: len(found) == 2, within=90)
    return one, other


@contextlib.contextmanager
def forwarded(pod: str) -> Iterator[str]:
    """Yield a URL that leads to this pod alone."""
    command = ["kubectl", "port-forward", *SYSTEM, f"pod/{pod}", ":8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            said = running.stdout.readline()
            port = re.search(r"127\.0\.0\.1:([0-9]+)", said)
            assert port is not None, said
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            running.terminate()


# --- what is asked


def client_of(stage: Stage, url: str) -> aio.AsyncClient:
    return aio.AsyncClient(url, stage.product.token)


def an_order(stage: Stage, name: str, **more: Any) -> models.TaskOrder:
    said = {"name": f"{stage.run}-{name}", "labels": {"run": stage.run}, "input": {"seconds": 1}}
    return models.TaskOrder(type="sleep", **said, **more)


async def read_your_writes(stage: Stage) -> Row:
    """Each is looked at as soon as it is made, by whichever replica the ingress takes."""
    headers = {"Authorization": f"Bearer {stage.product.token}"}

    async def is_missed(http: httpx.AsyncClient, number: int) -> bool:
        order = an_order(stage, f"w{number}").to_json()
        made = await http.post("/api/v1/tasks", json=order)
        assert made.status_code == 202, made.text
        known = {"LongTask-Version": made.headers["LongTask-Version"]}
        page = await http.get(
            "/api/v1/tasks", params={"label": f"run={stage.run}", "limit": 500}, headers=known
        )
        return order["name"] not in {task["id"] for task in page.json()["items"]}

    async with httpx.AsyncClient(base_url=stage.product.url, headers=headers) as http:
        # All at once: the ingress has one connection for what comes one after the other, and so
        # one replica.
        missed = await asyncio.gather(*(is_missed(http, number) for number in range(TASKS)))
    older = sum(missed)
    shares = [
        sum(f"{stage.run}-w" in line for line in stage.kubectl("logs", *SYSTEM, pod).splitlines())
        for pod in stage.pods
    ]
    found = f"{older} of {TASKS} lists lacked it; {shares[0]} and {shares[1]} lines of their logs"
    return Row("a list after each write, by the ingress", found, not older and all(shares))


async def one_key(stage: Stage) -> Row:
    """The same key at both replicas at once makes one task."""
    made = set()
    for number in range(10):
        order, key = an_order(stage, f"k{number}"), f"{stage.run}-{number}"
        order = order.model_copy(update={"name": None})
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(client_of(stage, url)) for url in stage.replicas
            ]
            tasks = await asyncio.gather(*(c.submit(order, idempotency_key=key) for c in clients))
        made.add(len({task.id for task in tasks}))
    return Row("one key at both at once, 10 times", f"{max(made)} task each", made == {1})


async def same_list(stage: Stage) -> Row:
    """Once all is over both tell the same of everything."""
    views = []
    for url in stage.replicas:
        async with client_of(stage, url) as client:
            wanted = models.TaskFilter(labels={"run": stage.run})
            found = [task async for task in client.tasks(wanted)]
            async for _ in client.follow_all([task.id for task in found], timeout=300):
                pass
            views.append([task async for task in client.tasks(wanted)])
    one, other = ([view.model_dump_json() for view in seen] for seen in views)
    differ = sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
    return Row("all tasks, by each replica", f"{len(one)} tasks, {differ} differ", not differ)


async def one_stream(stage: Stage) -> Row:
    """A stream that breaks off at one replica goes on at the other, with the same numbers."""
    async with client_of(stage, stage.replicas[0]) as first:
        task = await first.submit(an_order(stage, "s"))
        told = []
        async for one in first.events(task.id):
            told.append(one)
            if len(told) == 2:
                break
    async with client_of(stage, stage.replicas[1]) as second:
        told += [one async for one in second.events(task.id, last_id=told[-1].id)]
        anew = [one async for one in second.events(task.id)]

    def numbers(seen: list[Any]) -> list[tuple[str, int]]:
        return [(one.data.id, one.data.sequence) for one in seen if one.name == "event"]

    is_well = numbers(told) == numbers(anew) and told[-1].name == "result"
    found = f"{len(numbers(told))} events, each once, with the numbers that both give them"
    return Row("a stream, half at each replica", found if is_well else f"{told}", is_well)


async def accounts(stage: Stage) -> Row:
    """Who is made at one replica logs in at the other; who is deleted is refused by it soon."""
    name = f"u{stage.run[-8:]}"
    one, other = stage.replicas
    async with client_of(stage, one) as admin:
        made = await admin.create_user(models.UserOrder(username=name))
        async with aio.AsyncClient(other) as stranger:
            session = await stranger.login(name, made.password)
        async with aio.AsyncClient(other, session.token) as user:
            await user.page(limit=1)  # from then on it is believed there for some seconds
            await admin.delete_user(name)
            began = time.monotonic()
            took = await _until_refused(user, began)
    return Row(
        "deleted at one replica, refused by the other",
        f"after {took:.1f} s",
        took <= BELIEVED_SECONDS + 1,
    )


async def _until_refused(user: aio.AsyncClient, began: float) -> float:
    while (took := time.monotonic() - began) < 2 * BELIEVED_SECONDS:
        try:
            await user.page(limit=1)
        except errors.Unauthorized:
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    return took


async def archived(stage: Stage) -> Row:
    """What one of them has archived both still show, once."""
    async with client_of(stage, stage.replicas[0]) as client:
        tasks = [
            await client.submit(an_order(stage, f"a{number}", ttl_seconds_after_finished=0))
            for number in range(10)
        ]
        ids = [task.id for task in tasks]
        async for _ in client.follow_all(ids, timeout=120):
            pass
    eventually(
        lambda: stage.kubectl("get", "lt", "-l", f"run={stage.run}", "-o", "name"),
        lambda there: not any(one in there for one in ids),
        within=120,
    )
    counts = []
    for url in stage.replicas:
        async with client_of(stage, url) as client:
            wanted = models.TaskFilter(labels={"run": stage.run}, archived=True)
            seen = [task.id async for task in client.tasks(wanted)]
            shown = [(await client.get(one)).id for one in ids]
            counts.append((len(shown), sum(seen.count(one) for one in ids)))
    is_well = counts == [(10, 10)] * 2
    found = "10 of 10, each once, by both" if is_well else f"{counts}"
    return Row("tasks in the archive", found, is_well)


QUESTIONS: tuple[Callable[[Stage], Awaitable[Row]], ...] = (
    read_your_writes,
    one_key,
    one_stream,
    same_list,
    accounts,
    archived,
)


def table(rows: list[Row]) -> str:
    lines = ["| asked of two replicas | found | |", "|--|--|--|"]
    lines += [f"| {row.asked} | {row.found} | {'✓' if row.is_well else '✗'} |" for row in rows]
    return "\n".join(lines)


async def asked(stage: Stage) -> list[Row]:
    return [await question(stage) for question in QUESTIONS]


def main() -> int:
    """Run it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page that has the table")
    given = parser.parse_args()
    product, kubectl = Product.from_environ(os.environ), Kubectl()
    run = f"replicas-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_support.running(product.host_address))
        stack.enter_context(two_replicas(product, kubectl, server.new_database()))
        stack.callback(
            lambda: kubectl("delete", "lt", "-l", f"run={run}", "--wait=false", check=False)
        )
        one, other = pods = api_pods(kubectl)
        urls = stack.enter_context(forwarded(one)), stack.enter_context(forwarded(other))
        rows = asyncio.run(asked(Stage(product, kubectl, pods, urls, run)))
    print(made := table(rows))
    if given.write is not None:
        text = given.write.read_text(encoding="utf-8")
        given.write.write_text(marked_text.written(text, "replicas", made), encoding="utf-8")
    return int(not all(row.is_well for row in rows))


if __name__ == "__main__":
    sys.exit(main())

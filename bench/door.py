"""What the door costs: POSTs through the ingress and our API, beside the same at the API server.

    . .localcluster/env; python bench/door.py [--tasks 400] [--rounds 5] [--json FILE]

The same task is handed over both ways by the same HTTP client, in turn, into a queue that is
paused: eight connections at once for the rate, then one for what each POST takes longer.
"""

import argparse
import asyncio
import os
import ssl
import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import waiting

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import names

AT_ONCE = 8


class Door:
    """One way in."""

    def __init__(self, client: httpx.AsyncClient, path: str, *, bare: bool) -> None:
        self._client = client
        self._path = path
        self._bare = bare
        self._made = 0

    async def post(self) -> None:
        """Hand one task over."""
        self._made += 1
        name = f"door-{'raw' if self._bare else 'api'}-{time.time_ns():x}-{self._made}"
        spec: dict[str, Any] = {**waiting.SAME, "queue": waiting.QUEUE.name}
        labels = {waiting.LABEL: "true"}
        document = (
            {
                "apiVersion": names.API_VERSION,
                "kind": "LongTask",
                "metadata": {"name": name, "labels": labels},
                "spec": spec,
            }
            if self._bare
            else {"name": name, "labels": labels, **spec}
        )
        (await self._client.post(self._path, json=document)).raise_for_status()

    async def rate(self, count: int) -> float:
        """Return how many a second get in over eight connections."""

        async def one_after_the_other() -> None:
            for _ in range(count // AT_ONCE):
                await self.post()

        began = time.perf_counter()
        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - began)

    async def seconds(self, count: int) -> float:
        """Return the median of what one POST takes, over one connection."""
        found = []
        for _ in range(count):
            began = time.perf_counter()
            await self.post()
            found.append(time.perf_counter() - began)
        return statistics.median(found)


def bare_client() -> httpx.AsyncClient:
    """Return a client of the API server, as the kubeconfig says."""
    kubernetes.config.load_kube_config()
    given = kubernetes.client.Configuration.get_default_copy()
    context = ssl.create_default_context(cafile=given.ssl_ca_cert)
    context.load_cert_chain(given.cert_file, given.key_file)
    return httpx.AsyncClient(base_url=given.host, verify=context, timeout=60)


def our_client() -> httpx.AsyncClient:
    """Return a client of the API, through the ingress."""
    headers = {"Authorization": f"Bearer {os.environ['LONGTASK_TOKEN']}"}
    return httpx.AsyncClient(base_url=os.environ["LONGTASK_URL"], headers=headers, timeout=60)


async def measure(count: int, rounds: int) -> dict[str, float]:
    """Do it all, in turn; return the figures by title."""
    async with (
        KubernetesTransport.connect() as transport,
        bare_client() as bare,
        our_client() as ours,
    ):
        cluster = waiting.Cluster(Connection(transport, user_agent="bench"))
        await cluster.queue(paused=True)
        doors = {
            "API server": Door(bare, kinds.TASKS.collection(waiting.TASKS), bare=True),
            "ingress": Door(ours, "/api/v1/tasks", bare=False),
        }
        rates: dict[str, list[float]] = {title: [] for title in doors}
        times: dict[str, list[float]] = {title: [] for title in doors}
        for number in range(rounds + 1):
            for title, door in doors.items():
                rate, seconds = await door.rate(count), await door.seconds(50)
                if number:
                    rates[title].append(rate)
                    times[title].append(seconds)
        await cluster.clear()
    rate_pairs = zip(rates["ingress"], rates["API server"], strict=True)
    time_pairs = zip(times["ingress"], times["API server"], strict=True)
    ratios = [ours / bare for ours, bare in rate_pairs]
    added = [(ours - bare) * 1000 for ours, bare in time_pairs]
    return {
        **{f"POST per second, {title}": statistics.median(found) for title, found in rates.items()},
        "ingress / API server": statistics.median(ratios),
        **{f"one POST, {t}, p50, ms": statistics.median(f) * 1000 for t, f in times.items()},
        "added, ms": statistics.median(added),
    }


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.tasks, arguments.rounds))
    waiting.show(figures, arguments.json)


if __name__ == "__main__":
    main()

"""What 300 tasks with the largest legal inputs do to the memory of operator and API.

    . .localcluster/env; python bench/inputs.py [--tasks 300] [--json FILE]

The input is the one that costs Python most for its bytes: very many empty lists. Both are started
anew with all of them stored, and the most that each has ever used is read from its own process.
"""

import argparse
import asyncio
import subprocess
from pathlib import Path

import waiting

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import names

LIMIT_MB = 512 * 1.048576
#: 65,399 bytes of compact JSON; 64 KiB are the most there may be.
INPUT = [[]] * 21_799
_PEAK = "print([l for l in open('/proc/1/status') if l.startswith('VmHWM')][0].split()[1])"


async def fill(connection: Connection, count: int) -> None:
    """Make so many tasks in the queue, a few at once."""
    path = kinds.TASKS.collection(waiting.TASKS)

    async def make(number: int) -> None:
        meta = {"name": f"large-{number}", "labels": {waiting.LABEL: "true"}}
        spec = {**waiting.SAME, "queue": waiting.QUEUE.name, "input": INPUT}
        document = {"apiVersion": names.API_VERSION, "kind": "LongTask", "metadata": meta}
        await connection.post(path, {**document, "spec": spec})

    await asyncio.gather(*(make(number) for number in range(count)))


def peak(component: str) -> float:
    """Return the most memory that a component's process has used, in MB."""
    said = subprocess.run(
        [
            *("kubectl", "-n", waiting.RELEASE, "exec", f"deploy/longtask-{component}"),
            *("--", "python3", "-c", _PEAK),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(said.stdout) * 1024 / 1e6


async def measure(count: int) -> dict[str, float]:
    """Do it all; return the figures by title."""
    figures: dict[str, float] = {}
    async with KubernetesTransport.connect() as transport:
        cluster = waiting.Cluster(Connection(transport, user_agent="bench", writes_at_once=4))
        await cluster.queue(paused=True)
        await fill(cluster.connection, count)
        await waiting.until(lambda: cluster.count("Queued"), lambda n: n >= count, pause=1)
        await waiting.until_settled(cluster)
        for component in ("operator", "api"):
            figures[f"{component}: the most while they came, MB"] = peak(component)
            for verb in ("restart", "status"):
                deployment = f"deploy/longtask-{component}"
                await waiting.run("kubectl", "-n", waiting.RELEASE, "rollout", verb, deployment)
            figures[f"{component}: the most at a start, MB"] = peak(component)
        await cluster.clear()
    most = max(figures.values())
    return figures | {"the most, of the pods' limit, %": 100 * most / LIMIT_MB}


def main() -> None:
    """Measure, print a table, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.tasks))
    waiting.show(figures, arguments.json)


if __name__ == "__main__":
    main()

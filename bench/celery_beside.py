"""The same work by FastAPI, Celery and Redis, beside ours on the same machine in the same run.

    . .localcluster/env; python bench/celery_beside.py [--rounds 30] [--bursts 5] [--python FILE]

A small service of that kind (`beside/`) is started: one process that takes orders, a worker with
two processes, Debian's redis-server. It does the work of our type `fibonacci` by the same code, and
sends a callback to the same receiver. It is measured set to lose nothing, and as it comes; then
each task of it is followed by one of ours, first with pods that start cold, then with ten that
wait.
Without the variables of a cluster it is measured alone.
"""

import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes
import latency
import warm

from longtask_localcluster import cgroups

HERE = Path(__file__).parent
ORDER: dict[str, Any] = {"type": "fibonacci", "input": {"n": 100}}
#: That two of the processes share is counted once: the kernel's own proportional size.
_SIZES = {"Rss:": 0, "Pss:": 1}
_OURS = {
    "longtask_operator": "operator",
    "longtask_api": "API",
    "longtask_runner": "pods that wait",
}
#: By what the kernel calls them: 15 letters.
_OF_KUBERNETES = {
    *("etcd", "kube-apiserver", "kube-controller", "kube-scheduler", "kube-proxy", "kubelet"),
    *("containerd", "containerd-shim", "coredns", "traefik"),
}


class Beside:
    """FastAPI, Celery and Redis as processes of this machine.

    Args:
        python: Of the environment that has them.
        folder: Where Redis keeps its files.
        keeps: Whether nothing may be lost: Redis writes each change to the disk before it answers,
            and a task leaves its queue when it has ended.
    """

    def __init__(self, python: Path, folder: Path, *, keeps: bool) -> None:
        redis, self._port = _free_port(), _free_port()
        told = {
            **os.environ,
            "BESIDE_REDIS": f"redis://127.0.0.1:{redis}/0",
            "BESIDE_KEEPS": "true" if keeps else "",
            "PYTHONPATH": ":".join(str(HERE.parent / name / "src") for name in ("runner", "crds")),
        }
        kept = ("--appendonly", "yes", "--appendfsync", "always") if keeps else ()
        run = [str(python), "-m"]
        commands = {
            "Redis": ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", *kept],
            "Celery": [*run, "celery", "-A", "work", "worker", "-c", "2", "-l", "WARNING"],
            "FastAPI": [*run, "uvicorn", "orders:api", "--port", str(self._port)],
        }
        self._folder, self._told, self._commands = folder, told, commands
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, address: str) -> latency.Tasks:
        """Start them all; return what hands tasks over, when the first one has come back."""
        for name, command in self._commands.items():
            with (self._folder / f"{name}.log").open("wb") as log:
                self._parts[name] = subprocess.Popen(
                    command,
                    cwd=self._folder if name == "Redis" else HERE / "beside",
                    env=self._told,
                    stdout=log,
                    stderr=log,
                )
        url = f"http://127.0.0.1:{self._port}"
        _eventually(lambda: httpx.get(f"{url}/openapi.json").is_success)
        tasks = latency.Tasks(url, "none", address)
        tasks.run("the first", ORDER)
        return tasks

    def stop(self) -> None:
        """End them; those who ask before those who are asked."""
        for part in reversed(self._parts.values()):
            part.terminate()
            part.wait(timeout=30)

    def memory(self) -> str:
        """Say what each of them has in memory, with its children."""
        return in_words({name: tree(part.pid) for name, part in self._parts.items()})


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _eventually(holds: Callable[[], bool], within: float = 60) -> None:
    until = time.monotonic() + within
    while True:
        with contextlib.suppress(httpx.TransportError):
            if holds():
                return
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.2)


# --- memory ---


def tree(pid: int) -> list[int]:
    """Return a process and all that it has begun."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in tree(int(child)))]


def ours_at_rest() -> dict[str, list[int]]:
    """Return the processes of the local cluster on this machine, by what they are."""
    found: dict[str, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text(errors="replace")
            name = (folder / "comm").read_text().strip()
            is_in_a_pod = cgroups.GROUP in (folder / "cgroup").read_text()
            kinds = [kind for word, kind in _OURS.items() if is_in_a_pod and word in words]
            if name in _OF_KUBERNETES:
                kinds.append("Kubernetes")
            for kind in kinds:
                found.setdefault(kind, []).append(int(folder.name))
    return found


def sizes(pids: list[int]) -> tuple[float, float]:
    """Return in MB what processes have in memory: each for itself, and shared parts once."""
    total = [0.0, 0.0]
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, size, *_ = line.split()
            if name in _SIZES:
                total[_SIZES[name]] += int(size) / 1000
    return total[0], total[1]


def in_words(groups: dict[str, list[int]]) -> str:
    """Say what groups of processes have in memory."""
    found = {name: (len(pids), *sizes(pids)) for name, pids in groups.items()}
    return ", ".join(
        f"{name} ({count}) {rss:.0f} MB, {pss:.0f} with shared parts once"
        for name, (count, rss, pss) in found.items()
    )


# --- the run ---


@contextlib.contextmanager
def service(python: Path, address: str, *, keeps: bool) -> Iterator[tuple[Beside, latency.Tasks]]:
    """Start the service in a folder of its own, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Beside(python, Path(folder), keeps=keeps)
        try:
            yield beside, beside.start(address)
        except BaseException:
            for log in Path(folder).glob("*.log"):
                print(f"--- {log.stem}", log.read_text()[-2000:], sep="\n", file=sys.stderr)
            raise
        finally:
            beside.stop()


def measure(
    kinds: dict[str, latency.Tasks],
    *,
    rounds: int,
    bursts: int,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Measure each kind once a round, after a pause of up to a second, and print the figures."""
    singles: dict[str, list[float]] = {name: [] for name in kinds}
    ends: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + bursts):
        for name, tasks in kinds.items():
            ready()
            time.sleep(random.random())
            if number < rounds:
                singles[name].append(tasks.run("one", ORDER)["one, submit -> callback"])
            else:
                ends[name].append(warm.burst(tasks, ORDER))
    for name in kinds:
        print(f"## {name} (load {os.getloadavg()[0]:.1f})")
        print(warm.in_words(singles[name], ends[name]), flush=True)


@contextlib.contextmanager
def waiting_pods() -> Iterator[warm.Pool]:
    """Have ten pods wait for tasks of ours, and give the type back what it said before."""
    kubernetes.config.load_kube_config()
    pool = warm.Pool(ORDER["type"])
    before = pool.keep({"size": warm.SIZE})
    try:
        pool.fill()
        yield pool
    finally:
        pool.keep(before)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--python", type=Path, default=HERE.parent / ".venv/beside/bin/python")
    arguments = parser.parse_args()
    # Not resolved: it is a link by which its environment is known.
    python = arguments.python.absolute()
    rounds, bursts = arguments.rounds, arguments.bursts
    address = os.environ.get("LONGTASK_HOST_ADDRESS", "127.0.0.1")
    with service(python, address, keeps=True) as (beside, tasks):
        print("Celery, set to lose nothing, at rest:", beside.memory())
        measure({"Celery, set to lose nothing": tasks}, rounds=rounds, bursts=bursts)
    with service(python, address, keeps=False) as (beside, tasks):
        print("Celery, as it comes, at rest:", beside.memory())
        kinds = {"Celery, as it comes": tasks}
        if "LONGTASK_URL" not in os.environ:
            measure(kinds, rounds=rounds, bursts=bursts)
            return
        ours = latency.installed()
        measure({**kinds, "ours, cold": ours}, rounds=rounds, bursts=bursts)
        with waiting_pods() as pool:
            print("ours, at rest:", in_words(ours_at_rest()))
            kinds["ours, with pods that wait"] = ours
            measure(kinds, rounds=rounds, bursts=bursts, ready=pool.fill)


if __name__ == "__main__":
    main()

"""How long from handing a task over to its callback where pods wait for it, and what that costs.

    . .localcluster/env
    python bench/warm.py [--rounds 30] [--bursts 5] [--pipelines 5] [--type fibonacci]

The type is told to keep ten pods for this, and gets back what it said before. Each single task
comes after a random pause of up to a second, and once all ten wait again. A burst is ten at once;
so is a fan-out, of one pipeline; a chain is five steps, each of which takes the result of the one
before.
What started cold all the same is counted, and measured with the others.
"""

import argparse
import collections
import os
import random
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import kubernetes
import latency

from longtask_localcluster import audit

GROUP, VERSION, NAMESPACE = "longtask.dev", "v1alpha1", "longtasks"
SIZE = 10


class Pool:
    """The pods that wait for tasks of one type."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._types = kubernetes.client.CustomObjectsApi()
        self._pods = kubernetes.client.CoreV1Api()

    def keep(self, warm: dict[str, Any] | None) -> dict[str, Any] | None:
        """Have the type keep so many; return what it said before."""
        where = (GROUP, VERSION, NAMESPACE, "longtasktypes", self._name)
        before = self._types.get_namespaced_custom_object(*where)["spec"].get("warm")
        self._types.patch_namespaced_custom_object(*where, {"spec": {"warm": warm}})
        return before

    def idle(self) -> int:
        """Return how many wait."""
        wanted = f"longtask.dev/warm={self._name},longtask.dev/task="
        found = self._pods.list_namespaced_pod(NAMESPACE, label_selector=wanted).items
        return sum("waits for a task" in self._log(pod) for pod in found if _runs(pod))

    def fill(self, within: float = 120) -> None:
        """Wait until all of them do."""
        until = time.monotonic() + within
        while self.idle() < SIZE:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.idle()} of {SIZE} wait")
            time.sleep(0.5)

    def _log(self, pod: Any) -> str:
        return str(self._pods.read_namespaced_pod_log(pod.metadata.name, NAMESPACE))


def _runs(pod: Any) -> bool:
    return any(one.state.running for one in pod.status.container_statuses or ())


def burst(tasks: latency.Tasks, order: dict[str, Any]) -> float:
    """Hand ten tasks over at once; return when the last callback came."""
    started, ends = time.monotonic(), []

    def one() -> None:
        tasks.submit(order)

    threads = [threading.Thread(target=one) for _ in range(SIZE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ends.append(tasks.arrival()[0])
    for thread in threads:
        thread.join()
    return max(ends) - started


def chain(order: dict[str, Any]) -> dict[str, Any]:
    """Return a pipeline of five steps, each after the one before."""
    steps = [{"name": "s0", **order}]
    for number in range(1, 5):
        value = {"n": {"$from": f"steps.s{number - 1}#/n"}}
        steps.append({"name": f"s{number}", "type": order["type"], "input": value})
    return {"steps": steps}


def fan_out(order: dict[str, Any]) -> dict[str, Any]:
    """Return a pipeline of ten programs that begin at once."""
    items = {"forEach": list(range(100, 100 + SIZE)), "maxParallel": SIZE}
    each = {"name": "each", "type": order["type"], **items, "input": {"n": {"$from": "item#"}}}
    return {"steps": [each]}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--pipelines", type=int, default=5)
    parser.add_argument("--type", default="fibonacci")
    arguments = parser.parse_args()
    kubernetes.config.load_kube_config()
    tasks, pool = latency.installed(), Pool(arguments.type)
    log = Path(os.environ["LONGTASK_AUDIT_LOG"])
    order = {"type": arguments.type, "input": {"n": 100}}
    before = pool.keep({"size": SIZE})
    try:
        pool.fill()
        singles, bursts, stamp = [], [], f"w{time.time_ns():x}"
        offset = log.stat().st_size
        for number in range(arguments.rounds):
            time.sleep(random.random())
            named = {**order, "name": f"{stamp}-{number}"}
            singles.append(tasks.run("one", named)["one, submit -> callback"])
            pool.fill()
        time.sleep(3)  # the last writes, and the log's own buffer
        written: collections.Counter[str] = collections.Counter()
        for request in audit.requests(log, offset=offset):
            if request.is_write and request.name.startswith(stamp):
                written[f"{request.agent:<26} {request.verb:<7} {request.resource}"] += 1
        for _ in range(arguments.bursts):
            pool.fill()
            time.sleep(random.random())
            bursts.append(burst(tasks, order))
        found: dict[str, list[float]] = {"a chain of 5": [], f"a fan-out of {SIZE}": []}
        for _ in range(arguments.pipelines):
            for title, spec in zip(found, (chain(order), fan_out(order)), strict=True):
                pool.fill()
                time.sleep(random.random())
                found[title].append(tasks.run(title, spec)[f"{title}, submit -> callback"])
    finally:
        pool.keep(before)
    begun = _begun()
    print(in_words(singles, bursts))
    for title, seconds in found.items():
        print(f"{title}, submit -> callback:", " ".join(f"{s:.2f}" for s in sorted(seconds)))
    print("how the programs of the last 100 tasks began:", dict(begun))
    print(f"writes with a task's name, each: {sum(written.values()) / len(singles):.2f}")
    for line, times in sorted(written.items(), key=lambda item: -item[1]):
        print(f"  {times / len(singles):5.2f}  {line}")


def in_words(singles: list[float], bursts: list[float]) -> str:
    """Say how long single tasks took, and the last of each burst."""
    at = statistics.quantiles(singles, n=100, method="inclusive")
    return (
        f"{len(singles)} single tasks, submit -> callback: p50 {at[49]:.3f} s, "
        f"p90 {at[89]:.3f} s, p99 {at[98]:.3f} s, min {min(singles):.3f} s\n"
        f"bursts of {SIZE}, the last callback: " + " ".join(f"{b:.2f}" for b in sorted(bursts))
    )


def _begun() -> collections.Counter[str]:
    objects = kubernetes.client.CustomObjectsApi().list_namespaced_custom_object(
        GROUP, VERSION, NAMESPACE, "longtasks"
    )["items"]
    latest = sorted(objects, key=lambda raw: str(raw["metadata"]["creationTimestamp"]))[-100:]
    return collections.Counter(
        attempt.get("start", "none kept") for raw in latest for attempt in _programs(raw["status"])
    )


def _programs(status: dict[str, Any]) -> list[dict[str, Any]]:
    steps = status.get("steps", ())
    items = [child for step in steps for child in step.get("children", ())]
    return [*status.get("attempts", ()), *items, *(s for s in steps if s.get("attempt"))]


if __name__ == "__main__":
    main()

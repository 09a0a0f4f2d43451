"""How long from handing a task over to its callback, beside a raw Job on the same cluster.

    . .localcluster/env; python bench/latency.py [--rounds 10] [--json FILE]

Each round runs every kind once, in turn, so that a noisy minute hits all alike. Before each single
run there is a random pause of up to a second: runs one after the other would lock onto the
kubelet's relist of one second and all show the same figure. Times are seconds on one monotonic
clock; ends are seen by watches.
"""

import argparse
import http.server
import json
import os
import queue
import random
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import kubernetes

IMAGE = os.environ.get("BENCH_IMAGE", "localhost/longtask-base:dev")
NAMESPACE = "default"
_SECURITY = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def raw_job(title: str = "raw Job", *, bare: bool = False) -> dict[str, float]:
    """Create a Job that does nothing; return when its pod's end and its Complete are seen.

    As people write it, its pod mounts the account's token. A bare one mounts nothing, and so starts
    a third of a second sooner: the kubelet looks at volumes every 300 ms.
    """
    batch, core = kubernetes.client.BatchV1Api(), kubernetes.client.CoreV1Api()
    name = f"raw-{uuid.uuid4().hex[:10]}"
    body = {
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": not bare,
                    "securityContext": _SECURITY,
                    "containers": [{"name": "main", "image": IMAGE, "command": ["true"]}],
                }
            },
        },
    }
    seen: dict[str, float] = {}

    def watch_pod(version: str) -> None:
        stream = kubernetes.watch.Watch().stream(
            core.list_namespaced_pod,
            NAMESPACE,
            label_selector=f"job-name={name}",
            resource_version=version,
            timeout_seconds=60,
        )
        for event in stream:
            if event["object"].status.phase in {"Succeeded", "Failed"}:
                seen["pod"] = time.monotonic() - started
                return

    version = core.list_namespaced_pod(NAMESPACE, limit=1).metadata.resource_version
    started = time.monotonic()
    batch.create_namespaced_job(NAMESPACE, body)
    pods = threading.Thread(target=watch_pod, args=(version,))
    pods.start()
    stream = kubernetes.watch.Watch().stream(
        batch.list_namespaced_job,
        NAMESPACE,
        field_selector=f"metadata.name={name}",
        timeout_seconds=60,
    )
    for event in stream:
        if any(c.type == "Complete" for c in event["object"].status.conditions or ()):
            seen["complete"] = time.monotonic() - started
            break
    pods.join()
    batch.delete_namespaced_job(name, NAMESPACE, propagation_policy="Background")
    return {
        f"{title}, create -> Complete": seen["complete"],
        f"{title}, create -> pod's end": seen["pod"],
    }


#: Says how it ends, and with it when that was; then it ends.
_SAYS = """
import http.client, json, os, time, urllib.parse
with open(os.environ["LONGTASK_TOKEN_FILE"]) as file:
    headers = {"Authorization": "Bearer " + file.read(), "Content-Type": "application/json"}
api = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ["LONGTASK_API_URL"]).netloc)
said = json.dumps({"exitCode": 0, "result": time.time()})
api.request("POST", "/runner/v1/outcome", said, headers)
assert api.getresponse().status == 200
"""


class Tasks:
    """Hands tasks over and waits for their callbacks.

    Args:
        url: Where they are handed over.
        token: What it takes to do so.
        address: Of this machine, where callbacks reach it.
    """

    def __init__(self, url: str, token: str, address: str) -> None:
        self._arrived: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at, clock = time.monotonic(), time.time()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._arrived.put((at, body["data"] | {"at": clock}))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer((address, 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._callback = {"url": f"http://{address}:{server.server_address[1]}/"}
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"})

    def submit(self, order: dict[str, Any]) -> httpx.Response:
        """Hand one task over, and have its callback come here."""
        answer = self._http.post("/api/v1/tasks", json={**order, "callback": self._callback})
        return answer.raise_for_status()

    def arrival(self, *, within: float = 60) -> tuple[float, dict[str, Any]]:
        """Return when the next callback came, and what it says."""
        return self._arrived.get(timeout=within)

    def run(self, title: str, order: dict[str, Any], *, within: float = 60) -> dict[str, float]:
        """Hand one task over; return when its callback came."""
        started = time.monotonic()
        answer = self.submit(order)
        accepted = time.monotonic()
        at, data = self.arrival(within=within)
        if (data["id"], data["phase"]) != (answer.json()["id"], "Succeeded"):
            raise RuntimeError(f"unexpected callback: {data}")
        found = {
            f"{title}, submit -> callback": at - started,
            f"{title}, submit -> 202": accepted - started,
        }
        if isinstance(data.get("result"), float):  # when its program ended, by the clock of us both
            found[f"{title}, its end -> callback"] = data["at"] - data["result"]
        return found


def installed() -> Tasks:
    """Return what hands tasks over to the product of `make up`, through its ingress."""
    named = ("LONGTASK_URL", "LONGTASK_TOKEN", "LONGTASK_HOST_ADDRESS")
    return Tasks(*(os.environ[name] for name in named))


def main() -> None:
    """Measure, print a table and the ratio, and keep the raw figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kubernetes.config.load_kube_config()
    tasks = installed()
    same = {"container": {"image": IMAGE, "command": ["true"]}}
    says = {"container": {"image": IMAGE, "command": ["python3", "-c", _SAYS]}}
    kinds: list[Callable[[], dict[str, float]]] = [
        raw_job,
        lambda: raw_job("bare raw Job", bare=True),
        lambda: tasks.run("same container", same),
        lambda: tasks.run("fibonacci", {"type": "fibonacci", "input": {"n": 100}}),
        lambda: tasks.run("says its end", says),
    ]
    figures: dict[str, list[float]] = {}
    for round_number in range(arguments.rounds + 1):
        for kind in kinds:
            time.sleep(random.random())
            measured = kind()
            if round_number > 0:  # the first one warms up
                for title, seconds in measured.items():
                    figures.setdefault(title, []).append(seconds)
    print(f"{arguments.rounds} rounds, seconds        {'p50':>7} {'min':>7} {'max':>7}")
    for title, values in figures.items():
        print(f"{title:<36} {statistics.median(values):7.2f} {min(values):7.2f} {max(values):7.2f}")
    for title in ("same container, submit -> callback", "fibonacci, submit -> callback"):
        for peer in ("raw Job, create -> Complete", "bare raw Job, create -> Complete"):
            low, middle, high = ratio(figures[title], figures[peer])
            print(f"{title} / {peer}, p50: {middle:.2f} (95 % {low:.2f} to {high:.2f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def ratio(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Return the ratio of two medians with its 95 % bootstrap interval, rounds drawn together."""
    rng = random.Random(1)
    drawn = []
    for _ in range(2000):
        rounds = [rng.randrange(len(a)) for _ in a]
        drawn.append(
            statistics.median(a[i] for i in rounds) / statistics.median(b[i] for i in rounds)
        )
    drawn.sort()
    return drawn[50], statistics.median(a) / statistics.median(b), drawn[1949]


if __name__ == "__main__":
    main()

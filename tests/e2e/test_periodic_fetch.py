"""A URL that is fetched again and again: it changes, breaks and is mended, and a poller sees it."""

import dataclasses
import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from e2e_support import Kubectl, Product, eventually

Command = Callable[..., subprocess.CompletedProcess[str]]
WITHIN = 90


@dataclasses.dataclass
class Source:
    """A JSON document on this host: its `rate` changes, and while it is broken nobody answers."""

    url: str = ""
    rate: int = 1
    is_broken: bool = False


@pytest.fixture
def source(product: Product) -> Iterator[Source]:
    found = Source()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if found.is_broken:
                self.close_connection = True  # without a word
                return
            body = json.dumps({"rate": found.rate}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((product.host_address, 0), Handler)
    host, port = server.server_address[:2]
    found.url = f"http://{host!s}:{port}/rates.json"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def schedule(rest: httpx.Client, source: Source, name: str) -> Iterator[str]:
    """The path of a schedule that fetches it each five seconds; some runs are archived soon."""
    made = rest.post(
        "/api/v1/schedules",
        json={
            "name": name,
            "intervalSeconds": 5,
            "taskTemplate": {
                "labels": {"e2e": name},
                "spec": {
                    "type": "http-fetch",
                    "input": {"url": source.url},
                    "retry": {"maxAttempts": 1},
                    "ttlSecondsAfterFinished": 5,
                },
            },
        },
    )
    assert made.status_code == 201, made.text
    path: str = made.headers["Location"]
    yield path
    rest.delete(path)


def got(rest: httpx.Client, path: str) -> dict[str, Any]:
    answer = rest.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def listed(rest: httpx.Client, path: str, *, limit: int) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    found: list[dict[str, Any]] = []
    address: str | None = f"{path}?limit={limit}"
    while address:
        answer = rest.get(address)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        address = answer.links.get("next", {}).get("url")
    return found


def rate_in(fetched: Any) -> int | None:
    """Return the rate that a fetch brought."""
    if fetched is None:
        return None
    assert (fetched["status"], fetched["contentType"]) == (200, "application/json")
    rate: int = json.loads(fetched["body"])["rate"]
    return rate


def test_a_poller_sees_what_becomes_of_a_url(
    rest: httpx.Client, source: Source, schedule: str
) -> None:
    def status() -> dict[str, Any]:
        return got(rest, f"{schedule}/status")

    def has(rate: int, phase: str) -> Callable[[dict[str, Any]], bool]:
        return lambda seen: (
            rate_in(seen["lastExecutionData"]) == rate and seen["lastExecutionStatus"] == phase
        )

    assert status()["lastExecutionStatus"] is None
    good = eventually(status, has(1, "Succeeded"), within=WITHIN)
    assert good["lastExecutionError"] is None
    assert good["executionTime"] >= 0
    assert good["lastExecuteTime"] is not None

    source.rate = 2
    eventually(status, has(2, "Succeeded"), within=WITHIN)

    source.is_broken = True
    # What is known stays known, and it is said why nothing newer is.
    broken = eventually(status, has(2, "Failed"), within=WITHIN)
    assert "url: RemoteDisconnected" in broken["lastExecutionError"]

    source.rate, source.is_broken = 3, False
    mended = eventually(status, has(3, "Succeeded"), within=WITHIN)
    assert mended["lastExecutionError"] is None

    assert rest.post(f"{schedule}:pause").status_code == 200
    idle = eventually(lambda: got(rest, schedule), lambda one: not one["active"], within=WITHIN)
    assert (idle["suspended"], idle["reason"], idle["nextRuns"]) == (True, "AsAsked", [])

    # Some runs are in the archive by now; nobody sees which.
    eventually(
        lambda: got(
            rest, f"/api/v1/tasks?archived=true&label=longtask.dev/schedule={idle['name']}"
        ),
        lambda page: len(page["items"]) >= 2,
        within=WITHIN,
    )
    runs = listed(rest, f"{schedule}/runs", limit=2)
    assert [run["number"] for run in runs] == list(range(idle["runsStarted"], 0, -1))
    assert {run["phase"] for run in runs} == {"Succeeded", "Failed"}
    for run in runs:
        if run["phase"] == "Succeeded":
            assert run["error"] is None
        else:
            assert "url: RemoteDisconnected" in run["error"]
    assert [run["id"] for run in runs[:20]] == [run["id"] for run in idle["runs"]]
    data = listed(rest, f"{schedule}/data", limit=2)
    assert [one["id"] for one in data] == [r["id"] for r in runs if r["phase"] == "Succeeded"]
    rates = [rate_in(one["data"]) for one in data]
    assert rates == sorted(rates, key=lambda rate: -(rate or 0))
    assert set(rates) == {1, 2, 3}


def test_by_hand_by_the_command_and_by_kubectl(
    rest: httpx.Client,
    kubectl: Kubectl,
    longtask: Command,
    source: Source,
    schedule: str,
    name: str,
) -> None:
    assert longtask("schedule", "pause", name).returncode == 0
    eventually(lambda: got(rest, schedule), lambda one: not one["active"], within=WITHIN)
    source.rate = 7
    triggered = longtask("schedule", "trigger", name, "--wait", "--timeout", "90")
    assert triggered.returncode == 0, triggered.stderr
    assert rate_in(json.loads(triggered.stdout)) == 7
    said = longtask("schedule", "status", name, "-o", "json")
    assert rate_in(json.loads(said.stdout)["lastExecutionData"]) == 7

    source.is_broken = True
    at = "2026-01-02T03:04:05Z"
    kubectl("annotate", "lts", name, f"longtask.dev/run-at={at}")
    failed = eventually(
        lambda: got(rest, f"{schedule}/status"),
        lambda seen: seen["lastExecutionStatus"] == "Failed",
        within=WITHIN,
    )
    assert rate_in(failed["lastExecutionData"]) == 7
    assert got(rest, schedule)["runs"][0]["scheduledAt"] == at
    assert name in kubectl("get", "lts")


def test_too_many_failures_stop_it_and_somebody_lets_it_go_on(
    rest: httpx.Client, longtask: Command, source: Source, schedule: str, name: str
) -> None:
    source.is_broken = True
    assert longtask("schedule", "set", name, "maxFailures=2").returncode == 0
    stopped = eventually(
        lambda: got(rest, schedule), lambda one: one["reason"] == "MaxFailures", within=WITHIN
    )
    assert (stopped["suspended"], stopped["nextRuns"]) == (True, [])
    assert stopped["failuresInARow"] >= 2
    source.is_broken = False
    assert longtask("schedule", "reset", name).returncode == 0
    going = eventually(
        lambda: got(rest, schedule),
        lambda one: not one["suspended"] and one["failuresInARow"] == 0 and one["resetAt"],
        within=WITHIN,
    )
    assert going["resetBy"] == "installation"
    eventually(
        lambda: got(rest, f"{schedule}/status"),
        lambda seen: seen["lastExecutionStatus"] == "Succeeded",
        within=WITHIN,
    )


def test_a_schedule_goes_with_its_runs(
    rest: httpx.Client, kubectl: Kubectl, schedule: str, name: str
) -> None:
    eventually(lambda: kubectl("get", "lt", "-l", f"e2e={name}", "-o", "name"), bool, within=WITHIN)
    assert rest.delete(schedule).status_code == 204
    assert rest.get(schedule).status_code == 404
    eventually(
        lambda: kubectl("get", "lt", "-l", f"e2e={name}", "-o", "name"),
        lambda left: left == "",
        within=WITHIN,
    )

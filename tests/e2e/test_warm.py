"""Pods that wait for tasks: taken, handed one each, seen off; and what starts cold beside them."""

import collections
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e_support import (
    Kubectl,
    Product,
    Receiver,
    callback_key,
    eventually,
    finished,
    seconds_of,
    submit,
)
from longtask_localcluster import audit
from warm_support import Pool

pytestmark = pytest.mark.alone


@pytest.fixture
def pool(kubectl: Kubectl, name: str) -> Iterator[Pool]:
    made = Pool(kubectl, name)
    made.keep(2)
    yield made
    kubectl("delete", "ltt", name)


def starts_of(view: dict[str, Any]) -> list[str | None]:
    return [attempt.get("start") for attempt in view["attempts"]]


def test_a_task_gets_a_pod_that_waits_and_everything_is_its_own(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, pool: Pool
) -> None:
    before = {pod["metadata"]["uid"] for pod in pool.filled(2)}
    task = submit(rest, type=pool.name, callback={"url": receiver.url()})["id"]
    (delivery,) = receiver.wait_for(task)
    told = delivery.verify(callback_key(rest))["data"]["result"]
    view = finished(rest, task)
    (attempt,) = view["attempts"]
    assert (view["phase"], attempt["start"]) == ("Succeeded", "Warm")
    assert attempt["podUid"] in before
    assert told == {"name": task, "pod": attempt["podName"]}
    (pod,) = kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"]
    assert pod["metadata"]["uid"] == attempt["podUid"]
    jobs = eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda jobs: bool(jobs),
        within=60,
    )
    assert [owner["name"] for owner in jobs[0]["metadata"]["ownerReferences"]] == [task]
    log = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/logs").text,
        lambda log: "works on" in log,
        within=60,
    )
    assert log.splitlines() == ["waits", f"works on {task}"]
    # What was taken is replaced, and goes with its task.
    after = {one["metadata"]["uid"] for one in pool.filled(2)}
    assert attempt["podUid"] not in after
    assert rest.delete(f"/api/v1/tasks/{task}").status_code == 204
    eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda left: not left,
        within=60,
    )


def test_whoever_comes_too_many_starts_cold_and_says_so(
    rest: httpx.Client, pool: Pool, product: Product
) -> None:
    pool.filled(2)
    # At once: on a busy machine what was taken is replaced before the fourth of several comes.
    orders = [{"type": pool.name, "input": {"seconds": 1}}] * 4
    answers = rest.post("/api/v1/tasks:batch", json={"items": orders}).json()["items"]
    tasks = [answer["task"]["id"] for answer in answers]
    found = collections.Counter(starts_of(finished(rest, task))[0] for task in tasks)
    assert found == {"Warm": 2, "NoneIdle": 2}
    own = submit(rest, type=pool.name, resources={"limits": {"memory": "64Mi"}})["id"]
    assert starts_of(finished(rest, own)) == ["OwnResources"]


def test_a_warm_task_costs_five_writes_of_its_resource(
    rest: httpx.Client, product: Product, receiver: Receiver, pool: Pool, name: str
) -> None:
    pool.filled(2)
    log = Path(product.audit_log)
    offset, task = log.stat().st_size, f"{name}-five"
    submit(rest, name=task, type=pool.name, callback={"url": receiver.url()})
    receiver.wait_for(task)
    view = finished(rest, task)

    def writes() -> int:
        found = audit.requests(log, offset=offset)
        return sum(
            one.is_write and one.name == task and one.resource.startswith("longtasks")
            for one in found
        )

    # On a busy machine it may be seen to run for long enough that this is written, too.
    assert eventually(writes, lambda seen: seen >= 5, within=60) - 5 in (0, seconds_of(view) > 0)


def test_one_that_lasts_runs_for_all_to_see_and_can_be_cancelled(
    rest: httpx.Client, kubectl: Kubectl, pool: Pool
) -> None:
    pool.filled(2)
    task = submit(rest, type=pool.name, input={"seconds": 300}, timeouts={"runSeconds": 200})["id"]
    view = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json(),
        lambda view: view["phase"] == "Running",
        within=60,
    )
    assert starts_of(view) == ["Warm"]
    (pod,) = eventually(
        lambda: kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"],
        lambda pods: pods[0]["spec"]["activeDeadlineSeconds"] < 500,
        within=60,
    )
    assert pod["spec"]["activeDeadlineSeconds"] >= 200
    assert rest.post(f"/api/v1/tasks/{task}:cancel").status_code in (200, 202)
    assert finished(rest, task)["phase"] == "Cancelled"


def test_a_pod_that_is_deleted_after_the_claim_costs_no_attempt(
    rest: httpx.Client, kubectl: Kubectl, pool: Pool
) -> None:
    pool.filled(2)
    task = submit(rest, type=pool.name, input={"seconds": 20})["id"]
    (pod,) = eventually(
        lambda: kubectl.get("pods", "-l", f"longtask.dev/task={task}")["items"],
        lambda pods: bool(pods),
        within=60,
    )
    kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=1", "--wait=false")
    view = finished(rest, task)
    assert (view["phase"], view["attempt"]) == ("Succeeded", 2)


def test_a_changed_type_has_its_pods_made_anew(
    rest: httpx.Client, kubectl: Kubectl, pool: Pool
) -> None:
    before = {pod["metadata"]["uid"] for pod in pool.filled(2)}
    pool.keep(2, env=[{"name": "GREETING", "value": "hello"}])
    eventually(
        lambda: {pod["metadata"]["uid"] for pod in pool.idle()},
        lambda uids: len(uids) == 2 and before.isdisjoint(uids),
        within=90,
    )
    assert starts_of(finished(rest, submit(rest, type=pool.name)["id"])) == ["Warm"]


def test_nothing_waits_on_a_cordoned_node(rest: httpx.Client, kubectl: Kubectl, pool: Pool) -> None:
    pool.filled(2)
    nodes = [node["metadata"]["name"] for node in kubectl.get("nodes")["items"]]
    try:
        kubectl("cordon", *nodes)
        eventually(pool.idle, lambda idle: not idle, within=60)
        # What is to take their place waits for a node; it is made once, and no more than that.
        made = eventually(pool.jobs, lambda jobs: len(jobs) == 2, within=60)
        since = time.monotonic()
        seen = eventually(
            lambda: (time.monotonic() - since, pool.jobs()), lambda now: now[0] > 20, within=60
        )
        assert seen[1] == made
        task = submit(rest, type=pool.name)["id"]
        view = eventually(
            lambda: rest.get(f"/api/v1/tasks/{task}").json(),
            lambda view: bool(view.get("attempts")),
            within=60,
        )
        assert starts_of(view) == ["NoneIdle"]
    finally:
        kubectl("uncordon", *nodes)
    assert finished(rest, task)["phase"] == "Succeeded"
    assert {job_of(pod) for pod in pool.filled(2)} == made
    assert starts_of(finished(rest, submit(rest, type=pool.name)["id"])) == ["Warm"]


def job_of(pod: dict[str, Any]) -> str:
    """The name of a pod's Job."""
    return str(pod["metadata"]["ownerReferences"][0]["name"])


def test_of_ten_steps_that_begin_at_once_eight_get_the_eight_pods_that_wait(
    rest: httpx.Client, kubectl: Kubectl, pool: Pool
) -> None:
    pool.keep(9, min_idle=2)  # nothing is replaced before they are all taken
    before = {pod["metadata"]["uid"] for pod in pool.filled(9)}
    got = {"of": {"$from": "steps.first#/pod"}, "item": {"$from": "item#"}}
    each = {"forEach": list("abcdefghij"), "maxParallel": 10, "input": {"got": got}}
    steps = [{"name": "first", "type": pool.name}, {"name": "each", "type": pool.name, **each}]
    task = submit(rest, steps=steps)["id"]
    view = finished(rest, task)
    assert view["phase"] == "Succeeded"
    first, fanned = view["steps"]
    items = fanned["children"]
    assert first["start"] == "Warm"
    assert collections.Counter(item["start"] for item in items) == {"Warm": 8, "NoneIdle": 2}
    warm = {item["podUid"] for item in items if item["start"] == "Warm"}
    assert len(warm) == 8
    assert warm | {first["podUid"]} == before
    assert len({item["begunAt"] for item in items}) == 1  # claimed by one write
    results = fanned["result"]["value"]
    assert [one["got"]["item"] for one in results] == list("abcdefghij")
    assert {one["got"]["of"] for one in results} == {first["podName"]}
    (pod,) = kubectl.get("pods", "-l", f"longtask.dev/task={task},longtask.dev/step=first")["items"]
    assert pod["metadata"]["uid"] == first["podUid"]
    # What was taken is the task's, down to the last Job.
    jobs = eventually(
        lambda: kubectl.get("jobs", "-l", f"longtask.dev/task={task}")["items"],
        lambda jobs: len(jobs) == 11,
        within=60,
    )
    owners = {owner["name"] for job in jobs for owner in job["metadata"]["ownerReferences"]}
    assert owners == {task}

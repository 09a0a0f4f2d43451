"""Everything may be killed at any time: nothing is lost, nothing runs twice."""

import collections
import concurrent.futures
from typing import Any

import httpx
import pytest

from e2e_support import (
    Kubectl,
    Product,
    Receiver,
    answers,
    callback_key,
    eventually,
    finished,
    jobs_ever_created,
    kill,
    ready,
    submit,
)

pytestmark = pytest.mark.alone


def test_a_callback_is_tried_again_until_the_receiver_is_back(
    rest: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers = [503]
    task = submit(rest, type="fibonacci", input={"n": 5}, callback={"url": receiver.url()})["id"]

    first, second = receiver.wait_for(task, count=2, within=60)

    assert first.id == second.id
    assert first.body == second.body
    # Not at once, but in five seconds or so.
    assert second.at - first.at >= 3
    second.verify(callback_key(rest))
    delivered = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json()["callback"],
        lambda callback: callback["state"] == "Delivered",
        within=60,
    )
    assert delivered["tries"] == 2


def test_a_receiver_that_is_down_gets_its_callback_when_it_is_up(
    rest: httpx.Client, product: Product
) -> None:
    down = Receiver(product.host_address)
    task = submit(rest, type="fibonacci", input={"n": 5}, callback={"url": down.url()})["id"]
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}").json()["callback"],
        lambda callback: callback is not None and callback["tries"] == 1,
        within=60,
    )

    with down as up:
        (delivery,) = up.wait_for(task, within=60)

    assert delivery.verify(callback_key(rest))["data"]["id"] == task


def test_the_operator_killed_mid_run_loses_nothing(
    rest: httpx.Client, kubectl: Kubectl, product: Product, receiver: Receiver
) -> None:
    task = submit(rest, type="sleep", input={"seconds": 6}, callback={"url": receiver.url()})["id"]
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/state").json()["state"],
        lambda state: state == "Running",
        within=60,
    )

    kill(kubectl, "operator")

    assert finished(rest, task)["phase"] == "Succeeded"
    ids = {delivery.id for delivery in receiver.wait_for(task)}
    assert len(ids) == 1
    assert jobs_ever_created(product, task) == 1
    ready(kubectl, "operator")


def test_the_api_killed_mid_run_loses_nothing(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver
) -> None:
    task = submit(rest, type="sleep", input={"seconds": 6}, callback={"url": receiver.url()})["id"]
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"lt/{task}", "--timeout=60s")

    kill(kubectl, "api")

    (delivery,) = receiver.wait_for(task, within=60)
    ready(kubectl, "api")
    eventually(lambda: answers(rest), bool, within=60)
    delivery.verify(callback_key(rest))
    assert finished(rest, task)["phase"] == "Succeeded"


@pytest.mark.parametrize("kills", [0, 2], ids=["undisturbed", "operator-killed-twice"])
def test_twenty_at_once_all_finish_with_one_job_and_one_callback_id_each(
    rest: httpx.Client, kubectl: Kubectl, product: Product, receiver: Receiver, kills: int
) -> None:
    def hand_over(number: int) -> str:
        order: dict[str, Any] = {
            "type": "fibonacci",
            "input": {"n": number},
            "callback": {"url": receiver.url()},
        }
        return str(submit(rest, **order)["id"])

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        tasks = list(pool.map(hand_over, range(20)))
    for delivered in range(kills):
        # Once while the first ones start, once as soon as the next operator has done something.
        receiver.wait_for_count(delivered, within=120)
        kill(kubectl, "operator")
        ready(kubectl, "operator")

    for task in tasks:
        assert finished(rest, task, within=180)["phase"] == "Succeeded"
        receiver.wait_for(task, within=60)

    ids = collections.defaultdict(set)
    for delivery in receiver.deliveries:
        ids[delivery.data["id"]].add(delivery.id)
    assert {task: len(ids[task]) for task in tasks} == dict.fromkeys(tasks, 1)
    assert {task: jobs_ever_created(product, task) for task in tasks} == dict.fromkeys(tasks, 1)

"""Callbacks of the installed product: on the way, again, with two keys, and a trial."""

import base64
import json
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
import pytest
import standardwebhooks

from e2e_support import BASE_IMAGE, Kubectl, Receiver, callback_key, eventually, finished, submit

#: Speaks of its progress, in no hurry.
STEPS = {"seconds": 30}


def deliveries_of(rest: httpx.Client, task: str) -> list[tuple[str, int | None]]:
    log = rest.get(f"/api/v1/tasks/{task}/callbacks").json()
    return [(made["event"], made["code"]) for made in log["items"]]


def test_events_on_the_way_are_told_in_their_order(rest: httpx.Client, receiver: Receiver) -> None:
    events = ["queued", "started", "progress", "succeeded"]
    callback = {"url": receiver.url(), "events": events}
    task = submit(rest, type="sleep", input=STEPS, callback=callback)["id"]

    finished(rest, task)
    received = eventually(
        lambda: receiver.of(task), lambda got: bool(got) and "result" in got[-1].data, within=60
    )

    key = callback_key(rest)
    kinds = [delivery.verify(key)["type"].removeprefix("longtask.") for delivery in received]
    assert [kind for kind in kinds if kind != "progress"] == ["queued", "started", "succeeded"]
    assert kinds.count("progress") >= 1
    numbers = [delivery.data["sequence"] for delivery in received]
    assert numbers == sorted(set(numbers))
    assert len({delivery.id for delivery in received}) == len(received)
    progress = next(d.data for d in received if d.data["phase"] == "Running" and d.data["percent"])
    assert (progress["attempt"], progress["finishedAt"]) == (1, None)
    # The last one is recorded after it was answered.
    made = eventually(
        lambda: deliveries_of(rest, task),
        lambda found: ("succeeded", 204) in found,
        within=60,
    )
    assert {event for event, _ in made} == set(events)


def test_a_further_attempt_is_told(rest: httpx.Client, receiver: Receiver) -> None:
    task = submit(
        rest,
        container={"image": BASE_IMAGE, "command": ["sh", "-c", "echo later; exit 75"]},
        retry={"maxAttempts": 2, "backoffSeconds": 1},
        callback={"url": receiver.url(), "events": ["retrying", "failed"]},
    )["id"]

    finished(rest, task)

    again, failed = receiver.wait_for(task, count=2)
    assert (again.data["phase"], again.data["reason"]) == ("Retrying", "TryAgain")
    assert (failed.data["phase"], failed.data["attempt"]) == ("Failed", 2)


# By time, it is those of others, too.
@pytest.mark.alone
def test_a_callback_is_delivered_again_by_rest_by_kubectl_and_by_time(
    rest: httpx.Client,
    receiver: Receiver,
    kubectl: Kubectl,
    longtask: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    receiver.answers.append(410)
    task = submit(rest, type="sleep", input={"seconds": 0}, callback={"url": receiver.url()})["id"]
    view = eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/callbacks").json(),
        lambda log: log["state"] == "Exhausted",
        within=60,
    )
    assert deliveries_of(rest, task) == [("succeeded", 410)]

    assert rest.post(f"/api/v1/tasks/{task}/callbacks:redeliver").status_code == 202
    receiver.wait_for(task, count=2)
    eventually(
        lambda: rest.get(f"/api/v1/tasks/{task}/callbacks").json()["state"],
        lambda state: state == "Delivered",
        within=60,
    )

    kubectl("annotate", "lt", task, "longtask.dev/redeliver=by-hand", "--overwrite")
    receiver.wait_for(task, count=3)
    eventually(lambda: deliveries_of(rest, task), lambda made: len(made) == 3, within=60)

    # Only what ended in that second: other tests' receivers are gone.
    since = datetime.fromisoformat(rest.get(f"/api/v1/tasks/{task}").json()["finishedAt"])
    until = (since + timedelta(seconds=1)).isoformat()
    words = ("--since", since.isoformat(), "--until", until, "--state", "delivered")
    ended = longtask("redeliver", *words)
    assert task in ended.stdout.splitlines(), ended.stderr
    received = receiver.wait_for(task, count=4)

    assert {delivery.id for delivery in received} == {view["id"]}
    assert len({delivery.body for delivery in received}) == 1
    key = callback_key(rest)
    for delivery in received:
        delivery.verify(key)
    shown = longtask("callbacks", task)
    assert "410" in shown.stdout, shown.stderr


@pytest.mark.alone
def test_for_a_day_both_keys_sign(
    rest: httpx.Client,
    receiver: Receiver,
    kubectl: Kubectl,
    longtask: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    old = callback_key(rest)
    # Those of runs before this one would count, and no more than five may sign.
    data = {"default": base64.b64encode(old.encode()).decode()}
    secret = ("secret", "longtask-callback-keys", "-n", "longtask")
    kubectl("patch", *secret, "--type=merge", f"-p={json.dumps({'data': data})}")
    new = rest.post("/api/v1/me/callback-key:rotate").json()["key"]
    assert new != old
    assert longtask("callback-key").stdout == f"{new}\n"

    def delivered_with_both() -> bool:
        order = {"type": "sleep", "input": {"seconds": 0}, "callback": {"url": receiver.url()}}
        (delivery,) = receiver.wait_for(submit(rest, **order)["id"])
        delivery.verify(old)
        try:
            delivery.verify(new)
        except standardwebhooks.WebhookVerificationError:
            return False
        return True

    # Each process reads the keys anew after five seconds.
    eventually(delivered_with_both, bool, within=90)


def test_a_receiver_is_tried(
    rest: httpx.Client,
    receiver: Receiver,
    longtask: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ended = longtask("callback-test", receiver.url("/trial"))
    assert (ended.returncode, ended.stdout.split(":")[0]) == (0, "delivered"), ended.stderr
    (delivery,) = receiver.deliveries
    assert delivery.verify(callback_key(rest))["type"] == "longtask.test"

    receiver.answers.append(403)
    made = rest.post("/api/v1/callbacks:test", json={"url": receiver.url()}).json()
    assert (made["delivered"], made["code"]) == (False, 403)

    refused = rest.post("/api/v1/callbacks:test", json={"url": "https://169.254.169.254/"})
    assert refused.status_code == 422
    assert [wrong["pointer"] for wrong in refused.json()["errors"]] == ["/url"]

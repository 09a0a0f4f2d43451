"""Streams of the installed product, through its ingress."""

import json
from typing import Any

import httpx
from httpx_sse import EventSource

from e2e_support import BASE_IMAGE, Product, Receiver, eventually, submit
from longtask_client import Client, models


def told_of(rest: httpx.Client, path: str, **headers: str) -> list[tuple[str, Any]]:
    """Return what a stream tells until it ends."""
    with rest.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as answer:
        assert answer.status_code == 200
        sent = EventSource(answer).iter_sse()
        return [(each.event, json.loads(each.data)) for each in sent if each.data]


def test_a_task_is_followed_to_its_end_and_tells_what_its_callbacks_tell(
    rest: httpx.Client, receiver: Receiver
) -> None:
    wanted = ["queued", "started", "retrying", "failed"]
    task = submit(
        rest,
        container={"image": BASE_IMAGE, "command": ["sh", "-c", "sleep 4; exit 75"]},
        retry={"maxAttempts": 2, "backoffSeconds": 5},
        callback={"url": receiver.url(), "events": wanted},
    )["id"]
    told = told_of(rest, f"/api/v1/tasks/{task}/events")
    assert told[-1][0] == "result"
    assert told[-1][1]["phase"] == "Failed"
    happened = [data for name, data in told if name == "event"]
    kinds = ["queued", "started", "retrying", "started", "failed"]
    assert [event["type"] for event in happened] == kinds
    numbers = {event["id"]: event["sequence"] for event in happened}
    received = eventually(
        lambda: receiver.of(task),
        lambda got: bool(got) and got[-1].data["phase"] == "Failed",
        within=60,
    )
    assert {each.id: each.data["sequence"] for each in received}.items() <= numbers.items()
    # Who comes to it later is told the same.
    later = told_of(rest, f"/api/v1/tasks/{task}")
    assert [data for name, data in later if name == "event"] == happened


def test_the_stream_of_all_tasks_tells_of_one_that_comes_and_goes(
    product: Product, rest: httpx.Client, name: str
) -> None:
    with Client(product.url, product.token) as client:
        stream = client.events_of(models.TaskFilter(labels={"e2e": name}), last_id=_now(rest))
        submit(rest, name=name, type="fibonacci", input={"n": 10}, labels={"e2e": name})
        for told in stream:
            if isinstance(told.data, models.TaskView) and told.data.phase.is_terminal:
                break
        assert told.data.id == name
        rest.delete(f"/api/v1/tasks/{name}").raise_for_status()
        assert next(told.name for told in stream if told.name != "status") == "deleted"


def _now(rest: httpx.Client) -> str:
    """Return the id of a stream that begins now."""
    with rest.stream("GET", "/api/v1/events") as answer:
        return next(each.id for each in EventSource(answer).iter_sse() if each.id)

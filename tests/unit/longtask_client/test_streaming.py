import json
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent

from longtask_client import errors, models, streaming

PATH = "/api/v1/tasks/a/events"
GONE = {"id": "a", "namespace": "longtasks"}
HALF = GONE | {"phase": "Running", "percent": 50, "message": None, "updatedAt": None}


def a_stream(*parts: tuple[str, dict[str, Any], str], rest: str = "") -> httpx.Response:
    """Return a stream that tells this, and ends."""
    text = "".join(f"event: {n}\ndata: {json.dumps(d)}\nid: {i}\n\n" for n, d, i in parts)
    headers = {"Content-Type": "text/event-stream"}
    return httpx.Response(200, text=f"retry: 100\n: ping\nid: 0\n\n{text}{rest}", headers=headers)


def test_a_stream_goes_on_where_it_broke_off(api: Any) -> None:
    cut = f"event: progress\ndata: {json.dumps(HALF)}\nid: 2"
    api.on(
        "GET",
        PATH,
        a_stream(("progress", HALF, "1"), rest=cut),
        httpx.ReadError("gone"),
        a_stream(("other", {}, "2"), ("deleted", GONE, "3")),
    )
    told = list(api.connect().events("a"))
    assert [(each.name, each.id) for each in told] == [("progress", "1"), ("deleted", "3")]
    assert isinstance(told[0].data, models.TaskProgress)
    resumed = [request.headers.get("Last-Event-ID") for request in api.requests]
    assert resumed == [None, "1", "1"]
    assert api.requests[0].headers["Accept"].startswith("text/event-stream")
    assert 0.05 <= api.slept[0] <= 0.1


def test_what_is_known_already_is_over_at_once(api: Any) -> None:
    api.on("GET", PATH, httpx.Response(204))
    assert list(api.connect().events("a", last_id="7.end")) == []
    assert api.requests[0].headers["Last-Event-ID"] == "7.end"


def test_the_stream_of_all_tasks_has_no_end_of_its_own(api: Any) -> None:
    first, second = a_stream(("deleted", GONE, "5")), a_stream(("deleted", GONE, "6"))
    api.on("GET", "/api/v1/events", first, second)
    wanted = models.TaskFilter(phases=("Running",), labels={"a": "b"}, owner="ann")
    stream = api.connect().events_of(wanted, last_id="4")
    assert [next(stream).id, next(stream).id] == ["5", "6"]
    asked = api.requests[0].url.params
    assert dict(asked) == {"phase": "Running", "label": "a=b", "owner": "ann"}


def test_a_task_that_is_not_there(api: Any) -> None:
    problem = {"type": "urn:longtask:problem:not-found", "title": "No", "status": 404}
    headers = {"Content-Type": "application/problem+json"}
    api.on("GET", PATH, httpx.Response(404, json=problem, headers=headers))
    with pytest.raises(errors.NotFound):
        next(api.connect().events("a"))


def test_what_cannot_be_read_is_told() -> None:
    sent = ServerSentEvent(event="deleted", data="{}", id="1")
    with pytest.raises(errors.UnexpectedAnswer):
        streaming.of_task("a").take(sent)


def test_the_pause_grows_while_nothing_comes_and_begins_anew_with_news() -> None:
    subscription = streaming.of_task("a")
    pauses = [subscription.broken() for _ in range(10)]
    assert pauses[0] <= 1.0
    assert 7.5 <= pauses[-1] <= 15.0
    subscription.take(ServerSentEvent(retry=200))
    assert subscription.broken() <= 0.2

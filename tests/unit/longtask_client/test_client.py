import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pydantic
import pytest

from client_support import AwaitedApi, FakeApi
from longtask_client import aio, client, errors, models
from longtask_crds import names, v1alpha1
from longtask_crds.testing import NOW

TASKS = "/api/v1/tasks"


@pytest.fixture(params=[FakeApi, AwaitedApi], ids=["sync", "asyncio"])
def api(request: pytest.FixtureRequest) -> Iterator[FakeApi]:
    """Both clients are asked the same."""
    made: FakeApi = request.param()
    yield made
    if isinstance(made, AwaitedApi):
        made.loop.run_until_complete(made.loop.shutdown_asyncgens())
        made.loop.close()


def test_a_task_is_handed_over_with_token_name_and_key(api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("fibonacci-x"), status=202)
    order = models.TaskOrder(type="fibonacci", input={"n": 100, "none": None})
    task = api.connect().submit(order)
    (request,) = api.requests
    assert task.id == "fibonacci-x"
    assert request.headers["Authorization"] == "Bearer secret"
    assert len(request.headers["Idempotency-Key"]) == 32
    name = api.body.pop("name")
    assert re.fullmatch("fibonacci-[a-z2-7]{8}", name)
    assert json.loads(request.content)["input"] == {"n": 100, "none": None}


def test_a_key_of_ones_own_makes_no_name(api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task(), status=202)
    api.connect().submit(models.TaskOrder(type="sleep"), idempotency_key="mine")
    assert api.requests[0].headers["Idempotency-Key"] == "mine"
    assert api.body == {"type": "sleep"}


def test_a_made_up_name_is_never_too_long(api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task(), status=202)
    api.connect().submit(models.TaskOrder(type="a" * 43 + "-" + "b" * 19))
    assert len(api.body["name"]) <= names.TASK_NAME_MAX
    assert "--" not in api.body["name"]


def test_a_broken_connection_is_tried_again_with_the_same_key(api: Any, a_task: Any) -> None:
    api.on(
        "POST",
        TASKS,
        httpx.ReadError("reset"),
        httpx.Response(503, headers={"Retry-After": "2"}, text="no healthy upstream"),
        a_task(),
    )
    api.connect().submit(models.TaskOrder(type="sleep"))
    sent = [(r.headers["Idempotency-Key"], r.content) for r in api.requests]
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert api.slept[1] >= 2


def test_what_was_written_is_asked_for_from_then_on(api: Any, a_task: Any, a_problem: Any) -> None:
    written = httpx.Response(202, json=a_task(), headers={"LongTask-Version": "longtasks=7"})
    api.on("POST", TASKS, written)
    api.on("GET", f"{TASKS}/a", a_task("a"), a_problem(503), a_task("a"))
    asking = api.connect()
    asking.submit(models.TaskOrder(type="sleep"))
    asking.get("a")
    asking.get("a")
    said = [request.headers.get("LongTask-Version") for request in api.requests]
    # A replica that cannot get there gives what it has.
    assert said == [None, "longtasks=7", "longtasks=7", None]


def test_patience_ends(api: Any) -> None:
    api.on("GET", f"{TASKS}/a", httpx.ConnectError("refused"))
    with pytest.raises(errors.ConnectionFailed, match=r"longtask\.test: refused"):
        api.connect().get("a")
    assert 1 < len(api.requests) < 20
    assert api.now == pytest.approx(30)


def test_the_apis_own_retry_after_is_within_patience(api: Any, a_task: Any, a_problem: Any) -> None:
    away = a_problem(503)
    away.headers["Retry-After"] = "5"  # as the API says while Kubernetes is away
    api.on("GET", f"{TASKS}/a", away, away, a_task("a"))
    assert api.connect().get("a").id == "a"
    assert len(api.slept) == 2
    assert min(api.slept) >= 5


def test_what_is_left_of_patience_is_used_to_the_end(api: Any, a_task: Any, a_problem: Any) -> None:
    away = a_problem(503)
    away.headers["Retry-After"] = "5"

    def back_at_the_end(_: httpx.Request) -> httpx.Response:
        return away if api.now < 29.99 else httpx.Response(200, json=a_task("a"))

    api.routes.append(("GET", f"/base{TASKS}/a", back_at_the_end))
    assert api.connect().get("a").id == "a"
    assert api.now == pytest.approx(30)


def test_a_long_retry_after_is_not_slept_through(api: Any, a_problem: Any) -> None:
    answer = a_problem(429)
    answer.headers["Retry-After"] = "600"
    api.on("GET", f"{TASKS}/a", answer)
    with pytest.raises(errors.TooManyRequests):
        api.connect().get("a")
    assert api.slept == []


def test_a_deletion_is_never_repeated(api: Any) -> None:
    api.on("DELETE", f"{TASKS}/a", httpx.ReadError("reset"))
    with pytest.raises(errors.ConnectionFailed):
        api.connect().delete("a")
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Unauthorized),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.InvalidRequest),
        (418, errors.ApiError),
        (422, errors.InvalidRequest),
        (429, errors.TooManyRequests),
        (500, errors.ServerUnavailable),
        (503, errors.ServerUnavailable),
    ],
)
def test_each_refusal_has_its_error(
    api: Any, a_problem: Any, status: int, kind: type[errors.ApiError]
) -> None:
    wrong = [{"pointer": "/input/n", "detail": "too big"}]
    api.on("GET", f"{TASKS}/a", a_problem(status, detail="so it is", errors=wrong))
    with pytest.raises(errors.ApiError, match="so it is") as caught:
        api.connect().get("a")
    assert type(caught.value) is kind
    assert caught.value.errors == [models.ProblemError(pointer="/input/n", detail="too big")]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(httpx.Response(404, text="404 page not found"), errors.UnexpectedAnswer),
        pytest.param(httpx.Response(302, headers={"Location": "/"}), errors.UnexpectedAnswer),
        pytest.param(httpx.Response(200, text="<html>"), errors.UnexpectedAnswer),
        pytest.param(httpx.Response(200, json={"id": 1}), errors.UnexpectedAnswer),
        pytest.param(httpx.Response(502, text="Bad Gateway"), errors.ServerUnavailable),
        pytest.param(
            httpx.Response(404, text="{", headers={"Content-Type": "application/problem+json"}),
            errors.UnexpectedAnswer,
        ),
    ],
    ids=["ingress-404", "redirect", "no-json", "other-json", "gateway", "broken-problem"],
)
def test_what_is_not_longtask_is_called_so(
    api: Any, answer: httpx.Response, kind: type[Exception]
) -> None:
    api.on("GET", f"{TASKS}/a", answer)
    with pytest.raises(errors.LongTaskError) as caught:
        api.connect().get("a")
    assert type(caught.value) is kind


def test_an_id_cannot_leave_its_place(a_task: Any) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(200, json=a_task())

    transport = httpx.MockTransport(answer)
    client.Client("http://longtask.test/base/", transport=transport).get("../types?x#y")
    assert asked == [b"/base/api/v1/tasks/..%2Ftypes%3Fx%23y"]


def test_a_list_is_followed_to_its_end(api: Any, a_task: Any) -> None:
    pages = [
        {"items": [a_task("a"), a_task("b")], "nextCursor": "c1"},
        {"items": [a_task("c")], "nextCursor": None},
    ]
    api.on("GET", TASKS, *pages)
    wanted = models.TaskFilter(
        phases=(v1alpha1.Phase.QUEUED, v1alpha1.Phase.RUNNING),
        labels={"team": "red"},
        search="out of memory",
        since=NOW,
        archived=False,
    )
    found = api.connect().tasks(wanted)
    assert [task.id for task in found] == ["a", "b", "c"]
    first, second = (request.url.params for request in api.requests)
    assert first.get_list("phase") == ["Queued", "Running"]
    assert first["label"] == "team=red"
    assert first["search"] == "out of memory"
    assert (first["since"], "until" in first) == ("2026-01-02T03:04:05Z", False)
    assert first["archived"] == second["archived"] == "false"
    assert "cursor" not in first
    assert second["cursor"] == "c1"


def test_a_limit_ends_a_list(api: Any, a_task: Any) -> None:
    api.on("GET", TASKS, {"items": [a_task("a"), a_task("b")], "nextCursor": "c1"})
    assert len(list(api.connect().tasks(limit=3))) == 3
    assert [request.url.params["limit"] for request in api.requests] == ["3", "1"]


def test_a_filter_knows_its_fields() -> None:
    with pytest.raises(pydantic.ValidationError, match="phase"):
        models.TaskFilter.model_validate({"phase": "Queued"})


def waited(task: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=task, headers={"Preference-Applied": "wait=30"})


def test_waiting_takes_one_request_at_a_time(api: Any, a_task: Any) -> None:
    api.on(
        "GET",
        f"{TASKS}/a",
        waited(a_task(phase="Running")),
        httpx.ConnectError("restarting"),
        waited(a_task(phase="Failed")),
    )
    assert api.connect().wait("a").phase is v1alpha1.Phase.FAILED
    assert api.requests[0].headers["Prefer"] == "wait=30"
    assert len(api.slept) == 2  # after the early answer, and for the restart


def test_answers_that_come_too_soon_make_no_hot_loop(api: Any, a_task: Any) -> None:
    def at_once(_: httpx.Request) -> httpx.Response:
        assert len(api.requests) <= 41
        return waited(a_task(phase="Running"))

    api.routes.append(("GET", f"/base{TASKS}/a", at_once))
    with pytest.raises(errors.WaitTimeout):
        api.connect().wait("a", timeout=10)
    assert set(api.slept) == {0.25}


def test_waiting_ends_in_time(api: Any, a_task: Any) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        api.now += int(request.headers["Prefer"].removeprefix("wait="))
        return waited(a_task(phase="Running", percent=40))

    api.routes.append(("GET", f"/base{TASKS}/a", slow))
    with pytest.raises(errors.WaitTimeout, match="a is not finished yet: it is Running") as caught:
        api.connect().wait("a", timeout=45)
    assert api.now == 45
    assert caught.value.state == models.TaskState(state=v1alpha1.Phase.RUNNING, percent=40)


def test_watching_yields_each_state_once_and_ends_with_the_last(api: Any, a_task: Any) -> None:
    looks = [a_task("a", phase) for phase in ("Queued", "Running", "Running", "Succeeded")]
    api.on("GET", f"{TASKS}/a", *looks)
    seen = [str(state.state) for state in api.connect().watch("a")]
    assert seen == ["Queued", "Running", "Succeeded"]


def test_watching_outlives_a_restart_of_the_api(api: Any, a_task: Any) -> None:
    first, last = a_task("a", "Running"), a_task("a", "Succeeded")
    api.on("GET", f"{TASKS}/a", first, *[httpx.ConnectError("refused")] * 8, last)
    assert [str(s.state) for s in api.connect().watch("a")] == ["Running", "Succeeded"]
    assert sum(api.slept) > 20


def test_watching_ends_in_time(api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a", "Running"))
    with pytest.raises(errors.WaitTimeout):
        list(api.connect().watch("a", timeout=10))
    assert api.now == pytest.approx(10)


def test_following_yields_the_whole_task_and_ends_with_its_end(api: Any, a_task: Any) -> None:
    step = {"name": "b", "phase": "Running"}
    looks = [a_task("a", "Running", step="1/1 b", steps=[step]), a_task("a", "Succeeded")]
    api.on("GET", f"{TASKS}/a", looks[0], httpx.ConnectError("refused"), looks[1])
    seen = list(api.connect().follow("a"))
    assert [(str(task.phase), task.step) for task in seen] == [
        ("Running", "1/1 b"),
        ("Succeeded", None),
    ]
    assert seen[0].steps == [v1alpha1.StepStatus(name="b", phase=v1alpha1.StepPhase.RUNNING)]


def test_following_ends_in_time(api: Any, a_task: Any) -> None:
    api.on("GET", f"{TASKS}/a", a_task("a", "Running", percent=40))
    with pytest.raises(errors.WaitTimeout) as told:
        list(api.connect().follow("a", timeout=10))
    assert told.value.state == models.TaskState(state=v1alpha1.Phase.RUNNING, percent=40)
    assert api.now == pytest.approx(10)


def test_results_come_as_they_are(api: Any) -> None:
    digits = "1" * 5000
    headers = {"Content-Type": "application/json"}
    content = f'{{"value":"{digits}"}}'.encode()
    api.on("GET", f"{TASKS}/a/result", httpx.Response(200, headers=headers, content=content))
    assert api.connect().result("a") == {"value": digits}
    assert api.connect().result("a", step="b") == {"value": digits}
    assert [dict(request.url.params) for request in api.requests] == [{}, {"step": "b"}]


@pytest.mark.parametrize(
    ("media_type", "content", "value"),
    [
        ("application/json", b'{"a": [null]}', {"a": [None]}),
        ("text/plain; charset=utf-8", "é 1".encode(), "é 1"),
        ("application/octet-stream", b"\xff1", b"\xff1"),
    ],
)
def test_a_result_is_what_its_type_says(
    api: Any, media_type: str, content: bytes, value: object
) -> None:
    headers = {"Content-Type": media_type}
    api.on("GET", f"{TASKS}/a/result", httpx.Response(200, headers=headers, content=content))
    assert api.connect().result("a") == value


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Breaking(Pieces):
    """A body that ends before its end."""

    def __iter__(self) -> Iterator[bytes]:
        yield from super().__iter__()
        raise httpx.ReadError("the connection broke")


def test_a_large_result_goes_on_where_the_connection_broke(api: Any) -> None:
    headers = {"ETag": '"e"'}
    api.on(
        "GET",
        f"{TASKS}/a/result",
        httpx.Response(200, headers=headers, stream=Breaking(b"0123", b"4")),
        httpx.Response(503, headers={"Retry-After": "1"}),
        httpx.Response(206, headers=headers, stream=Breaking(b"56")),
        httpx.Response(206, headers=headers, content=b"789"),
    )
    assert b"".join(api.connect().result_content("a")) == b"0123456789"
    asked = [(r.headers.get("Range"), r.headers.get("If-Range")) for r in api.requests]
    assert asked == [(None, None), *[("bytes=5-", '"e"')] * 2, ("bytes=7-", '"e"')]
    assert {request.headers["Accept-Encoding"] for request in api.requests} == {"identity"}


@pytest.mark.parametrize(
    ("then", "wanted"),
    [
        pytest.param(
            httpx.Response(200, content=b"other"), errors.UnexpectedAnswer, id="it-is-another"
        ),
        pytest.param(
            httpx.Response(206, headers={"ETag": '"e"'}, stream=Breaking()),
            errors.ConnectionFailed,
            id="nothing-more-comes",
        ),
    ],
)
def test_a_large_result_is_never_made_of_two(
    api: Any, then: httpx.Response, wanted: type[Exception]
) -> None:
    first = httpx.Response(200, headers={"ETag": '"e"'}, stream=Breaking(b"0123"))
    api.on("GET", f"{TASKS}/a/result", first, then)
    with pytest.raises(wanted):
        list(api.connect().result_content("a"))


def test_a_log_comes_in_pieces(api: Any) -> None:
    twelve = "zw\u00f6lf\n".encode()
    body = Pieces(b"one\n", twelve[:3], twelve[3:])
    api.on("GET", f"{TASKS}/a/logs", httpx.Response(200, stream=body))
    assert list(api.connect().logs("a", attempt=2)) == ["one\n", "zw", "ölf\n"]
    assert dict(api.requests[0].url.params) == {"follow": "false", "attempt": "2"}


def test_a_part_of_a_log(api: Any) -> None:
    api.on("GET", f"{TASKS}/a/logs", "x\n")
    list(api.connect().logs("a", step="b.3", tail=0, since=NOW, timestamps=True))
    assert dict(api.requests[0].url.params) == {
        "step": "b.3",
        "follow": "false",
        "tail": "0",
        "since": "2026-01-02T03:04:05Z",
        "timestamps": "true",
    }


def test_following_waits_for_the_start(
    api: Any, a_task: Any, a_problem: Callable[..., Any]
) -> None:
    early = a_problem(409, type="urn:longtask:problem:not-started")
    api.on("GET", f"{TASKS}/a/logs", early, "done\n")
    api.on("GET", f"{TASKS}/a", a_task("a"), a_task("a"), a_task("a", "Starting"))
    assert "".join(api.connect().logs("a", follow=True)) == "done\n"
    # Without a stream the task is looked at: soon at first.
    assert api.slept == [1.0, 0.25, 0.375]
    assert [one.url.path.rpartition("/")[2] for one in api.requests] == [
        *("logs", "events", "a", "a", "a", "logs")
    ]


def test_a_log_that_is_not_there_yet(api: Any, a_problem: Any) -> None:
    api.on("GET", f"{TASKS}/a/logs", a_problem(409, type="urn:longtask:problem:not-started"))
    with pytest.raises(errors.NotStarted):
        list(api.connect().logs("a"))


def test_a_task_is_made_again_once(api: Any, a_task: Any) -> None:
    api.on("POST", f"{TASKS}/sleep-abcdefgh:retry", httpx.ConnectError("no"), a_task())
    again = api.connect().retry("sleep-abcdefgh", {"callback": None})
    assert again.id == "sleep-a"
    first, second = api.requests
    assert dict(first.url.params) == {}
    assert first.content == second.content
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    name = api.body.pop("name")
    assert name != "sleep-abcdefgh"
    assert re.fullmatch("sleep-[a-z2-7]{8}", name)
    assert json.loads(second.content) == {"callback": None, "name": name}


def test_a_key_of_ones_own_names_no_retry(api: Any, a_task: Any) -> None:
    api.on("POST", f"{TASKS}/a:retry", a_task())
    api.connect().retry("a", from_failed=True, idempotency_key="k")
    assert dict(api.requests[0].url.params) == {"fromFailed": "true"}
    assert (api.body, api.requests[0].headers["Idempotency-Key"]) == ({}, "k")


def test_a_task_that_was_handed_over_can_be_asked_on(api: Any, a_task: Any) -> None:
    api.on("POST", TASKS, a_task("a"), status=202)
    api.on("GET", f"{TASKS}/a", waited(a_task("a", "Running")), waited(a_task("a", "Succeeded")))
    api.on("GET", f"{TASKS}/a/result", '{"n": 1}')
    api.on("POST", f"{TASKS}/a:cancel", a_task("a", "Succeeded"))
    task = api.connect().submit(models.TaskOrder(type="sleep"))
    ended = task.wait(timeout=40)
    assert (task.phase, ended.phase) == (v1alpha1.Phase.QUEUED, v1alpha1.Phase.SUCCEEDED)
    assert [str(seen.phase) for seen in task.follow()] == ["Succeeded"]
    assert b"".join(ended.result_content()) == b'{"n": 1}'
    assert ended.cancel().id == ended.refresh().id == "a"


def test_small_calls(api: Any, a_task: Any) -> None:
    kind = {"name": "sleep", "description": None, "inputSchema": None, "defaults": None}
    api.on("POST", f"{TASKS}/a:cancel", a_task(), status=202)
    api.on("DELETE", f"{TASKS}/a", "", status=204)
    api.on("GET", "/api/v1/types", {"items": [kind]})
    api.on("GET", "/api/v1/types/sleep", kind)
    queue = {
        "name": "a/b",
        "maxRunning": 1,
        "maxRunningPerOwner": None,
        "paused": False,
        "running": 0,
        "waiting": 0,
        "oldestQueuedAt": None,
        "startsPerMinute": 0.0,
        "links": {},
    }
    api.on("PATCH", f"{TASKS}/a", a_task())
    api.on("GET", "/api/v1/queues", {"items": [queue]})
    api.on("GET", "/api/v1/queues/q", queue | {"content": [], "nextCursor": None})
    api.on("POST", "/api/v1/queues/q:pause", queue)
    api.on("POST", "/api/v1/queues/q:resume", queue)
    api.on("GET", "/api/v1/me/callback-key", {"key": "whsec_x"})
    api.on("GET", "/version", {"version": "0.1.0"})
    with api.connect() as connection:
        assert connection.cancel("a").id == "sleep-a"
        connection.delete("a")
        assert connection.set_priority("a", 7).id == "sleep-a"
        assert api.body == {"priority": 7}
        paused, resumed = connection.pause_queue("q"), connection.resume_queue("q")
        assert connection.queues() == [paused] == [resumed]
        assert connection.queue("q").content == []
        assert connection.types() == [connection.type("sleep")]
        assert connection.callback_key() == "whsec_x"
        assert connection.version() == "0.1.0"


def test_without_a_token_none_is_sent(api: Any) -> None:
    api.on("GET", "/version", {"version": "0.1.0"})
    api.connect(token=None).version()
    assert "Authorization" not in api.requests[0].headers


LOG = {
    "id": "msg_1",
    "event": "succeeded",
    "state": "Exhausted",
    "tries": 1,
    "nextTryAt": None,
    "deliveredAt": None,
    "items": [{"at": "2026-01-02T03:00:00Z", "event": "succeeded", "error": "Timeout"}],
}
TRIAL = {"id": "msg_2", "delivered": True, "code": 204, "error": None, "seconds": 0.1}


def test_calls_about_callbacks(api: Any) -> None:
    api.on("GET", f"{TASKS}/a/callbacks", LOG)
    api.on("POST", f"{TASKS}/a/callbacks:redeliver", LOG, status=202)
    api.on("POST", "/api/v1/callbacks:test", TRIAL)
    rotated = {"key": "whsec_y", "previousUntil": "2026-01-03T00:00:00Z"}
    api.on("POST", "/api/v1/me/callback-key:rotate", rotated)
    with api.connect() as connection:
        assert connection.callbacks("a") == connection.redeliver("a")
        assert connection.test_callback("https://example.com/").delivered
        assert api.body == {"url": "https://example.com/"}
        assert connection.rotate_callback_key().key == "whsec_y"


def test_callbacks_of_a_range_are_delivered_again_to_the_last_page(api: Any) -> None:
    pages = {"items": ["a", "b"], "nextCursor": "more"}, {"items": ["c"], "nextCursor": None}
    api.on("POST", "/api/v1/callbacks:redeliver", *pages, status=202)
    since = datetime(2026, 1, 2, 3, tzinfo=UTC)
    done = api.connect().redeliver_all(
        since, "2026-01-02T04:00:00Z", state=v1alpha1.CallbackState.EXHAUSTED
    )
    assert list(done) == ["a", "b", "c"]
    assert api.body == {
        "from": "2026-01-02T03:00:00+00:00",
        "to": "2026-01-02T04:00:00Z",
        "state": "Exhausted",
        "cursor": "more",
    }


@pytest.mark.parametrize("call", ["rotate_callback_key", "test_callback"])
def test_what_may_be_done_once_only_is_not_tried_again(api: Any, call: str) -> None:
    for path in ("/api/v1/callbacks:test", "/api/v1/me/callback-key:rotate"):
        api.on("POST", path, httpx.ConnectError("nobody answers"))
    words = ["https://example.com/"] if call == "test_callback" else []
    with pytest.raises(errors.ConnectionFailed):
        getattr(api.connect(), call)(*words)
    assert len(api.requests) == 1


def test_many_are_handed_over_in_one_request(api: Any, a_task: Any) -> None:
    problem = {"type": "urn:longtask:problem:x", "title": "It is so", "status": 422}
    made = {"status": 202, "task": a_task(), "problem": None}
    wrong = {"status": 422, "task": None, "problem": problem}
    api.on("POST", f"{TASKS}:batch", {"items": [made, wrong], "accepted": 1})
    orders = [models.TaskOrder(type="sleep"), models.TaskOrder(type="nothing")]
    first, second = api.connect().submit_many(orders)
    assert first.task is not None
    assert (first.task.id, second.status) == ("sleep-a", 422)
    assert second.problem is not None
    stems = [(order["type"], order["name"].rpartition("-")[0]) for order in api.body["items"]]
    assert stems == [("sleep", "sleep"), ("nothing", "nothing")]
    assert api.requests[0].headers["Idempotency-Key"]
    api.connect().submit_many(orders, idempotency_key="k")
    assert api.requests[1].headers["Idempotency-Key"] == "k"
    assert api.body == {"items": [{"type": "sleep"}, {"type": "nothing"}]}


def test_many_are_cancelled_to_the_last_page(api: Any) -> None:
    page = {"count": 1, "items": ["a"], "more": True, "nextCursor": "c"}
    last = {"count": 1, "items": ["b"], "more": False, "nextCursor": None}
    api.on("POST", f"{TASKS}:cancel", page, last)
    wanted = models.TaskFilter(labels={"project": "alpha"})
    assert [*api.connect().cancel_many(wanted)] == ["a", "b"]
    first, second = (json.loads(request.content) for request in api.requests)
    assert first["labels"] == {"project": "alpha"}
    assert second == first | {"cursor": "c"}


def test_all_are_cancelled_only_if_one_says_so(api: Any) -> None:
    none = {"count": 0, "items": [], "more": False, "nextCursor": None}
    api.on("POST", f"{TASKS}:cancel", none)
    assert [*api.connect().cancel_many(models.TaskFilter(), everything=True)] == []
    assert api.body["all"] is True


def methods(of: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method).replace(return_annotation=inspect.Signature.empty)
        for name, method in vars(of).items()
        if inspect.isfunction(method) and name[0] != "_" and name not in ("iterate", "run")
    }


def test_both_clients_can_do_the_same() -> None:
    assert methods(client.Client) == methods(aio.AsyncClient)
    of_tasks = [of.__mro__[1] for of in (client.TaskHandle, aio.AsyncTaskHandle)]
    assert methods(of_tasks[0]) == methods(of_tasks[1])


@pytest.mark.parametrize("of", [client.Client, aio.AsyncClient])
def test_a_method_says_what_it_does_and_takes(of: type) -> None:
    assert inspect.getdoc(vars(of)["wait"]).startswith("Wait until a task is finished")  # type: ignore[union-attr]
    assert str(methods(of)["wait"]) == "(self, /, task_id: str, *, timeout: float | None = None)"
    assert vars(of)["type"].__name__ == "type"

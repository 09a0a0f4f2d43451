"""What a callback says: the same bytes whoever computes them, whenever."""

import hashlib
import json
from datetime import timedelta, timezone
from typing import Any

import pytest

from longtask_crds import events, testing, v1alpha1
from longtask_crds.testing import NOW, TASK_UID, a_condition
from longtask_crds.v1alpha1 import ConditionStatus, ConditionType, Phase, Reason, TaskEvent

DONE_WELL = a_condition(ConditionType.SUCCEEDED)
FAILED_BADLY = a_condition(
    ConditionType.SUCCEEDED, ConditionStatus.FALSE, Reason.PROGRAM_FAILED, "exit code 3"
)


def a_task(**status: Any) -> v1alpha1.LongTask:
    """Return a task that succeeded, unless its status says otherwise."""
    task = testing.a_task(type="fibonacci", callback={"url": "https://example.com/"})
    given = {"phase": "Succeeded", "attempt": 1, "finishedAt": "2026-01-01T12:00:00Z"}
    after = v1alpha1.LongTaskStatus.model_validate(given | {"conditions": [DONE_WELL]} | status)
    return task.model_copy(update={"status": after})


def test_the_id_is_the_same_for_the_same_facts() -> None:
    assert events.webhook_id("odd", TaskEvent.FAILED, 1) != events.webhook_id("", "failed", 1)
    made = events.webhook_id(TASK_UID, TaskEvent.SUCCEEDED, 1)
    assert made == events.webhook_id(TASK_UID, TaskEvent.SUCCEEDED, 1)
    assert made.startswith("msg_")
    assert "." not in made


@pytest.mark.parametrize(("event", "attempt"), [(TaskEvent.FAILED, 1), (TaskEvent.SUCCEEDED, 2)])
def test_another_event_or_attempt_has_another_id(event: TaskEvent, attempt: int) -> None:
    assert events.webhook_id(TASK_UID, event, attempt) != events.webhook_id(
        TASK_UID, TaskEvent.SUCCEEDED, 1
    )


def test_an_id_never_changes() -> None:
    # A try after an upgrade is known by it.
    assert (
        events.webhook_id(TASK_UID, TaskEvent.SUCCEEDED, 1)
        == "msg_1bb1f601-2f2a-59de-b976-1019f0325a1e"
    )
    assert (
        events.webhook_id(TASK_UID, TaskEvent.PROGRESS, 2, percent=40)
        == "msg_a322c366-8d0f-5bb4-9b82-1a0ae86f3f63"
    )


# Receivers verify a signature over these bytes, and they are the same on every try, even if an
# upgrade lies between two: not one of them may change.
DONE = (
    b'{"type":"longtask.succeeded","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Succeeded",'
    b'"percent":100,"reason":"Completed","message":"","attempt":1,"queuedAt":"2026-01-01T11:00:00Z",'
    b'"startedAt":"2026-01-01T11:30:00Z","finishedAt":"2026-01-01T12:00:00Z","sequence":1900,'
    b'"result":%b}}'
)
FAILED = (
    b'{"type":"longtask.failed","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Failed",'
    b'"percent":30,"reason":"ProgramFailed","message":"exit code 3","attempt":2,"queuedAt":null,'
    b'"startedAt":null,"finishedAt":"2026-01-01T12:00:00Z","sequence":2900}}'
)
CANCELLED = (
    b'{"type":"longtask.cancelled","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Cancelled",'
    b'"percent":null,"reason":null,"message":null,"attempt":0,"queuedAt":null,"startedAt":null,'
    b'"finishedAt":"2026-01-01T12:00:00Z","sequence":900}}'
)


def a_success(result: Any) -> v1alpha1.LongTask:
    return a_task(
        queuedAt="2026-01-01T11:00:00Z",
        startedAt="2026-01-01T11:30:00Z",
        progress={"percent": 100},
        result=result,
    )


@pytest.mark.parametrize(
    ("task", "event", "body"),
    [
        pytest.param(
            a_success(
                {"value": {"b": [1, -(2**63), 1.0, 1e16, 1e-7, True, None], "a": "", "": {}}}
            ),
            TaskEvent.SUCCEEDED,
            DONE % b'{"b":[1,-9223372036854775808,1.0,1e+16,1e-07,true,null],"a":"","":{}}',
            id="numbers-and-the-order-of-fields-stay",
        ),
        pytest.param(
            a_success({"value": 'ü \u2028 "/\\\n\x7f'}),
            TaskEvent.SUCCEEDED,
            DONE % b'"\xc3\xbc \xe2\x80\xa8 \\"/\\\\\\n\x7f"',
            id="text-travels-as-utf-8",
        ),
        pytest.param(a_success({}), TaskEvent.SUCCEEDED, DONE % b"null", id="null-is-a-result"),
        pytest.param(a_success(None), TaskEvent.SUCCEEDED, DONE % b"null", id="so-is-none"),
        pytest.param(
            a_success({"value": json.loads("[" * 100 + "]" * 100)}),
            TaskEvent.SUCCEEDED,
            DONE % (b"[" * 100 + b"]" * 100),
            id="the-deepest-result-that-is-kept",
        ),
        pytest.param(
            a_task(
                phase="Failed",
                attempt=2,
                conditions=[FAILED_BADLY],
                progress={"percent": 30},
            ),
            TaskEvent.FAILED,
            FAILED,
            id="a-failure-has-no-result",
        ),
        pytest.param(
            a_task(phase="Cancelled", attempt=None, conditions=[]),
            TaskEvent.CANCELLED,
            CANCELLED,
            id="a-task-that-never-started",
        ),
    ],
)
def test_the_body(task: v1alpha1.LongTask, event: TaskEvent, body: bytes) -> None:
    assert events.body(task, event) == body


def test_the_end_of_a_pipeline_tells_of_its_steps() -> None:
    fan_out = {"name": "b", "phase": "Failed", "items": 3, "succeeded": 2, "failed": 1}
    task = a_task(
        phase="Failed",
        conditions=[FAILED_BADLY],
        outcome={"phase": "Failed", "reason": "StepFailed", "step": "b"},
        steps=[
            {"name": "a", "phase": "Succeeded", "attempt": 2, "reason": "Completed"},
            fan_out | {"reason": "ItemsFailed", "message": "item 0: ProgramFailed"},
            {"name": "c"},
        ],
    )
    told = json.loads(events.body(task, TaskEvent.FAILED))["data"]
    nothing = {"attempt": 0, "reason": None, "message": None}
    assert (told["step"], told["steps"]) == (
        "b",
        [
            {
                "name": "a",
                "phase": "Succeeded",
                "attempt": 2,
                "reason": "Completed",
                "message": None,
            },
            nothing | fan_out | {"reason": "ItemsFailed", "message": "item 0: ProgramFailed"},
            nothing | {"name": "c", "phase": "Pending"},
        ],
    )


def test_the_body_does_not_change_over_the_tries() -> None:
    tried = {"id": "msg_1", "event": "succeeded", "state": "Pending", "tries": 3, "lastCode": 500}
    first = events.body(a_task(), TaskEvent.SUCCEEDED)
    assert events.body(a_task(callback=tried), TaskEvent.SUCCEEDED) == first


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (Phase.SUCCEEDED, TaskEvent.SUCCEEDED),
        (Phase.FAILED, TaskEvent.FAILED),
        (Phase.CANCELLED, TaskEvent.CANCELLED),
    ],
)
def test_each_end_has_its_event_and_is_wanted_unless_said_otherwise(
    phase: Phase, event: TaskEvent
) -> None:
    assert events.terminal_event(phase) is event
    assert events.is_wanted(v1alpha1.Callback(url="https://example.com/"), event)
    only_started = v1alpha1.Callback(url="https://example.com/", events=[TaskEvent.STARTED])
    assert not events.is_wanted(only_started, event)


def a_ref(content: bytes, **more: Any) -> dict[str, Any]:
    return {"ref": {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} | more}


def told_of(result: dict[str, Any], content: bytes | None) -> dict[str, Any]:
    task = a_task(result=result)
    body = events.body(
        task, TaskEvent.SUCCEEDED, public_url="https://api.test/longtask/", result=content
    )
    data: dict[str, Any] = json.loads(body)["data"]
    return data


@pytest.mark.parametrize(
    ("content", "more", "wanted"),
    [
        pytest.param(b"[1]", {}, True, id="json"),
        pytest.param(b"[1]", {"mediaType": "application/json"}, True, id="json-that-says-so"),
        pytest.param(b"hello", {"mediaType": "text/plain"}, True, id="text"),
        pytest.param(b"\xff", {"mediaType": "application/octet-stream"}, False, id="bytes"),
        pytest.param(b"1" * 65_536, {}, True, id="as-large-as-may-be"),
        pytest.param(b"1" * 65_537, {}, False, id="too-large"),
    ],
)
def test_what_is_fetched_before_it_is_told(
    content: bytes, more: dict[str, Any], wanted: bool
) -> None:
    task = a_task(result=a_ref(content, **more))
    assert (events.fetched(task, TaskEvent.SUCCEEDED) is not None) == wanted
    assert events.fetched(task, TaskEvent.FAILED) is None


def test_what_is_in_the_status_is_not_fetched() -> None:
    assert events.fetched(a_task(result={"value": 1}), TaskEvent.SUCCEEDED) is None
    assert events.fetched(a_task(), TaskEvent.SUCCEEDED) is None


def test_a_fetched_result_is_told_digit_by_digit() -> None:
    content = b'{"n": ' + b"7" * 5000 + b', "x": 1.00000000000000000001}\n'
    body = events.body(a_task(result=a_ref(content)), TaskEvent.SUCCEEDED, result=content)
    assert body.endswith(b',"result":' + content + b"}}")
    assert b"resultUrl" not in body


def test_a_fetched_text_is_told_as_a_string() -> None:
    content = 'so "be" it: é\n'.encode()
    told = told_of(a_ref(content, mediaType="text/plain"), content)
    assert told["result"] == content.decode()


def test_what_is_not_fetched_is_told_by_its_place() -> None:
    told = told_of(a_ref(b"1" * 70_000), None)
    assert told["result"] is None
    assert told["resultUrl"] == "https://api.test/longtask/api/v1/tasks/report/result"


# --- what is told before the end ---

EVENTS = ["queued", "started", "progress", "retrying"]
RUNNING = {"phase": "Running", "attempt": 1, "startedAt": "2026-01-01T11:30:00Z"}


def on_its_way(*events_: str, **status: Any) -> v1alpha1.LongTask:
    """Return a task that is not over, whose receiver asked for these events."""
    spec = {"url": "https://example.com/", "events": list(events_) or EVENTS}
    task = testing.a_task(type="fibonacci", callback=spec)
    return task.model_copy(update={"status": v1alpha1.LongTaskStatus.model_validate(status)})


def becoming(task: v1alpha1.LongTask, **status: Any) -> v1alpha1.LongTask:
    """Return the task as a status makes it, with the delivery of what that tells."""
    known = task.status.to_json()
    after = v1alpha1.LongTaskStatus.model_validate(known | status)
    after = events.numbered(task.status, after)
    entry = events.on_the_way(task, after, now=NOW)
    update = {"callback": entry or task.status.callback}
    return task.model_copy(update={"status": after.model_copy(update=update)})


def told(task: v1alpha1.LongTask) -> dict[str, Any]:
    """Return what its receiver is sent."""
    assert task.status.callback is not None
    sent: dict[str, Any] = json.loads(events.body(task, task.status.callback.event))
    return sent


def an_attempt_of(number: int = 1, **values: Any) -> dict[str, Any]:
    return testing.an_attempt(number, **values).to_json()


QUEUED = {"phase": "Queued", "queuedAt": "2026-01-01T11:00:00Z"}
STARTED = RUNNING | {"attempts": [an_attempt_of(started_at=NOW)]}
AGAIN = {"phase": "Retrying", "attempts": [an_attempt_of(started_at=NOW, finished_at=NOW)]}


def test_joining_a_queue_is_told_once_also_where_there_is_a_place_at_once() -> None:
    for status in (QUEUED, QUEUED | {"phase": "Starting", "attempts": [an_attempt_of()]}):
        task = becoming(on_its_way(), **status)
        assert told(task)["type"] == "longtask.queued"
        assert told(task)["timestamp"] == "2026-01-01T11:00:00Z"
        data = told(task)["data"]
        assert (data["phase"], data["attempt"], data["sequence"]) == ("Queued", 0, 1)
        assert becoming(task, phase="Queued").status.callback == task.status.callback


def test_a_program_that_runs_is_told_once_for_each_attempt() -> None:
    task = becoming(on_its_way(**QUEUED), **STARTED)
    first = task.status.callback
    data = told(task)["data"]
    assert (told(task)["type"], data["phase"], data["attempt"]) == (
        "longtask.started",
        "Running",
        1,
    )
    assert data["startedAt"] == "2026-01-01T11:30:00Z"
    assert becoming(task, phase="Starting").status.callback == first
    assert becoming(task, **STARTED).status.callback == first
    again = becoming(task, attempt=2, attempts=[an_attempt_of(2, started_at=NOW)])
    assert again.status.callback is not None
    assert first is not None
    assert again.status.callback.id != first.id
    assert told(again)["data"]["sequence"] > data["sequence"]


def test_a_further_attempt_is_told_with_why_the_one_before_failed() -> None:
    failed = an_attempt_of(reason="ProgramFailed", message="exit code 3", finished_at=NOW)
    task = becoming(on_its_way(**STARTED), phase="Retrying", attempts=[failed])
    assert becoming(task, phase="Queued").status.callback == task.status.callback
    data = told(task)["data"]
    assert told(task)["type"] == "longtask.retrying"
    assert (data["phase"], data["attempt"]) == ("Retrying", 1)
    assert (data["reason"], data["message"]) == ("ProgramFailed", "exit code 3")
    assert becoming(task, phase="Retrying").status.callback == task.status.callback


def test_a_further_attempt_of_a_step_is_told_with_its_name() -> None:
    step = {"name": "a", "phase": "Running", "attempt": 2, "jobName": "j"}
    failed = {"phase": "Retrying", "reason": "ProgramFailed", "message": "exit code 3"}
    task = becoming(on_its_way(**STARTED, steps=[step]), steps=[step | failed])
    data = told(task)["data"]
    assert (told(task)["type"], data["step"], data["attempt"]) == ("longtask.retrying", "a", 2)
    assert (data["reason"], data["message"]) == ("ProgramFailed", "exit code 3")
    again = becoming(
        on_its_way(**STARTED, steps=[step | {"name": "b"}]), steps=[step | failed | {"name": "b"}]
    )
    assert again.status.callback is not None
    assert task.status.callback is not None
    assert again.status.callback.id != task.status.callback.id


def at_percent(percent: int, task: v1alpha1.LongTask | None = None) -> v1alpha1.LongTask:
    progress = {"percent": percent, "message": "half of it", "updatedAt": NOW.isoformat()}
    return becoming(task or on_its_way(**STARTED), progress=progress)


def test_progress_is_told_with_percent_and_message() -> None:
    task = at_percent(43)
    data = told(task)["data"]
    assert told(task)["type"] == "longtask.progress"
    assert (data["phase"], data["percent"], data["message"]) == ("Running", 43, "half of it")
    assert data["sequence"] == 1143
    assert task.status.callback is not None
    assert task.status.callback.id == events.webhook_id(TASK_UID, TaskEvent.PROGRESS, 1, percent=43)


@pytest.mark.parametrize(
    ("before", "percent", "seconds"),
    [
        pytest.param(None, 9, None, id="less-than-a-tenth-is-no-news"),
        pytest.param(None, 10, 0, id="the-first-tenth-is"),
        pytest.param(43, 49, None, id="within-a-tenth-nothing-is-told"),
        pytest.param(43, 50, 10, id="the-next-tenth-is-but-not-at-once"),
        pytest.param(43, 100, 10, id="as-is-the-whole"),
    ],
)
def test_when_progress_is_told(before: int | None, percent: int, seconds: int | None) -> None:
    task = on_its_way(**STARTED) if before is None else at_percent(before)
    status = task.status.model_copy(update={"progress": v1alpha1.Progress(percent=percent)})
    due = events.progress_due_at(task, status)
    if seconds is None:
        assert due is None
    else:
        assert due is not None
        assert max(NOW, due) == NOW + timedelta(seconds=seconds)


def test_the_pause_begins_when_progress_is_told_not_when_it_was_made() -> None:
    made_at = (NOW - timedelta(seconds=7)).isoformat()
    task = becoming(on_its_way(**STARTED), progress={"percent": 43, "updatedAt": made_at})
    assert told(task)["timestamp"] == "2026-01-02T03:04:05Z"
    status = task.status.model_copy(update={"progress": v1alpha1.Progress(percent=50)})
    assert events.progress_due_at(task, status) == NOW + timedelta(seconds=10)


def test_what_was_told_of_another_attempt_does_not_count() -> None:
    task = at_percent(90)
    again = becoming(task, attempt=2, attempts=[an_attempt_of(2)], progress={"percent": 10})
    assert (told(again)["data"]["attempt"], told(again)["data"]["percent"]) == (2, 10)


@pytest.mark.parametrize("phase", ["Starting", "Retrying", "Succeeded"])
def test_progress_is_told_of_a_program_that_runs(phase: str) -> None:
    task = on_its_way(**STARTED | {"phase": phase, "progress": {"percent": 50}})
    assert events.progress_due_at(task, task.status) is None


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(becoming(on_its_way(), **QUEUED), id="queued"),
        pytest.param(becoming(on_its_way(**QUEUED), **STARTED), id="started"),
        pytest.param(at_percent(43), id="progress"),
        pytest.param(becoming(on_its_way(**STARTED), **AGAIN), id="retrying"),
    ],
)
def test_the_bytes_stay_while_the_task_goes_on(task: v1alpha1.LongTask) -> None:
    assert task.status.callback is not None
    event, first = task.status.callback.event, events.body(task, task.status.callback.event)
    gone_on = {
        "phase": "Running",
        "attempt": 3,
        "startedAt": "2026-01-01T11:45:00Z",
        "attempts": [an_attempt_of(3, started_at=NOW, message="x")],
        "progress": {"percent": 99, "message": "nearly"},
        "finishedAt": "2026-01-01T12:00:00Z",
    }
    known = task.status.to_json()
    tried = known["callback"] | {"tries": 3, "lastCode": 500}
    later = v1alpha1.LongTaskStatus.model_validate(known | gone_on | {"callback": tried})
    assert events.body(task.model_copy(update={"status": later}), event) == first


@pytest.mark.parametrize("wanted", EVENTS)
def test_nobody_is_told_what_they_did_not_ask_for(wanted: str) -> None:
    for event, before, after in (
        ("queued", {}, QUEUED),
        ("started", QUEUED, STARTED),
        ("retrying", STARTED, AGAIN),
        ("progress", STARTED, {"progress": {"percent": 50}}),
    ):
        task = becoming(on_its_way(wanted, **before), **after)
        assert (task.status.callback is not None) == (event == wanted)
    nobody = testing.a_task(type="fibonacci")
    assert becoming(nobody, **QUEUED).status.callback is None


def test_an_end_comes_after_all_else_and_keeps_the_log_of_what_was_told_before() -> None:
    made = v1alpha1.Delivery(at=NOW, event=TaskEvent.PROGRESS, code=200)
    spec = {"url": "https://example.com/"}
    task = at_percent(100)
    entry = task.status.callback
    assert entry is not None
    progress = told(task)["data"]["sequence"]
    ended = testing.with_status(
        testing.with_meta(
            testing.a_task(callback=spec),
            annotations={"longtask.dev/redeliver": "long ago"},
        ),
        callback=entry.model_copy(update={"deliveries": [made]}),
        phase=Phase.SUCCEEDED,
        attempt=1,
    )
    after = events.outbox(ended, Phase.SUCCEEDED, 1, now=NOW)
    assert after is not None
    assert (after.deliveries, after.facts, after.redelivery) == ([made], None, "long ago")
    ended = testing.with_status(ended, callback=after)
    assert told(ended)["data"]["sequence"] > progress


def test_a_try_that_is_recorded_with_the_next_event_stays_in_the_log() -> None:
    task = at_percent(15)
    entry = task.status.callback
    assert entry is not None
    made = v1alpha1.Delivery(at=NOW, event=TaskEvent.PROGRESS, code=200)
    after = task.status.model_copy(
        update={
            "progress": v1alpha1.Progress(percent=40),
            "callback": entry.model_copy(update={"deliveries": [made]}),
        }
    )
    following = events.on_the_way(task, after, now=NOW + timedelta(seconds=10))
    assert following is not None
    assert (following.facts and following.facts.percent, following.deliveries) == (40, [made])


def test_an_end_is_due_at_once_under_its_own_id() -> None:
    task = testing.a_task(callback={"url": "https://example.com/"})
    entry = events.outbox(task, Phase.FAILED, 2, now=NOW)
    assert entry is not None
    assert entry.id == events.webhook_id(TASK_UID, TaskEvent.FAILED, 2)
    assert (entry.event, entry.next_try_at) == (TaskEvent.FAILED, NOW)


def test_an_end_that_nobody_asked_for_is_not_told() -> None:
    only = {"url": "https://example.com/", "events": ["succeeded"]}
    assert events.outbox(testing.a_task(callback=only), Phase.FAILED, 1, now=NOW) is None
    assert events.outbox(testing.a_task(type="sleep"), Phase.FAILED, 1, now=NOW) is None


def test_what_is_told_on_the_way_is_due_at_once() -> None:
    entry = becoming(on_its_way(**QUEUED), **STARTED, progress={"percent": 7}).status.callback
    assert entry is not None
    assert entry.next_try_at == NOW
    # Only progress is told by its percent.
    assert entry.id == events.webhook_id(TASK_UID, TaskEvent.STARTED, 1)


def test_progress_that_nobody_asked_for_is_never_due() -> None:
    task = on_its_way("queued", **STARTED, progress={"percent": 50})
    assert events.progress_due_at(task, task.status) is None


def test_a_status_without_a_phase_tells_nothing() -> None:
    assert becoming(on_its_way(), queuedAt="2026-01-01T11:00:00Z").status.callback is None


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(on_its_way(), id="no-delivery"),
        pytest.param(
            on_its_way(callback={"id": "msg_1", "event": "queued", "state": "Pending"}),
            id="no-facts",
        ),
    ],
)
def test_what_is_no_end_is_told_by_what_was_kept_of_it(task: v1alpha1.LongTask) -> None:
    with pytest.raises(ValueError, match=r"^an event that is no end is kept with what it tells$"):
        events.body(task, TaskEvent.QUEUED)


def test_without_a_public_url_a_results_place_is_a_path() -> None:
    task = a_success({"ref": {"size": 70_000, "sha256": "0" * 64}})
    sent = json.loads(events.body(task, TaskEvent.SUCCEEDED))
    assert sent["data"]["resultUrl"] == "/api/v1/tasks/report/result"


def test_a_receiver_is_tried_with_an_event_of_no_task() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=2)))
    assert events.trial_body(at) == (
        b'{"type":"longtask.test","timestamp":"2026-01-02T03:04:05Z","data":{}}'
    )

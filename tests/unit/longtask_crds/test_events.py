"""What a callback says: the same bytes whoever computes them, whenever."""

import hashlib
import json
from typing import Any

import pytest

from longtask_crds import events, testing, v1alpha1
from longtask_crds.testing import TASK_UID, a_condition
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
    made = events.webhook_id(TASK_UID, TaskEvent.SUCCEEDED, 1)
    assert made == events.webhook_id(TASK_UID, TaskEvent.SUCCEEDED, 1)
    assert made.startswith("msg_")
    assert "." not in made


@pytest.mark.parametrize(("event", "attempt"), [(TaskEvent.FAILED, 1), (TaskEvent.SUCCEEDED, 2)])
def test_another_event_or_attempt_has_another_id(event: TaskEvent, attempt: int) -> None:
    assert events.webhook_id(TASK_UID, event, attempt) != events.webhook_id(
        TASK_UID, TaskEvent.SUCCEEDED, 1
    )


# Receivers verify a signature over these bytes, and they are the same on every try, even if an
# upgrade lies between two: not one of them may change.
DONE = (
    b'{"type":"longtask.succeeded","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Succeeded",'
    b'"reason":"Completed","message":"","attempt":1,"queuedAt":"2026-01-01T11:00:00Z",'
    b'"startedAt":"2026-01-01T11:30:00Z","finishedAt":"2026-01-01T12:00:00Z","sequence":4,'
    b'"result":%b}}'
)
FAILED = (
    b'{"type":"longtask.failed","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Failed",'
    b'"reason":"ProgramFailed","message":"exit code 3","attempt":2,"queuedAt":null,'
    b'"startedAt":null,"finishedAt":"2026-01-01T12:00:00Z","sequence":4}}'
)
CANCELLED = (
    b'{"type":"longtask.cancelled","timestamp":"2026-01-01T12:00:00Z","data":{"id":"report",'
    b'"name":"report","namespace":"longtasks","type":"fibonacci","phase":"Cancelled",'
    b'"reason":null,"message":null,"attempt":0,"queuedAt":null,"startedAt":null,'
    b'"finishedAt":"2026-01-01T12:00:00Z","sequence":4}}'
)


def a_success(result: Any) -> v1alpha1.LongTask:
    return a_task(queuedAt="2026-01-01T11:00:00Z", startedAt="2026-01-01T11:30:00Z", result=result)


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

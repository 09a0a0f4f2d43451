"""The same news in other words, each as those who take it read it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from longtask_crds import events, v1alpha1
from longtask_crds.testing import NOW, a_condition, a_task, with_status
from longtask_crds.v1alpha1 import ConditionType, MessageFormat, TaskEvent

SUCCEEDED: dict[str, Any] = {
    "phase": v1alpha1.Phase.SUCCEEDED,
    "finished_at": NOW,
    "attempt": 1,
}


def an_ended(**status: Any) -> v1alpha1.LongTask:
    said = a_condition(ConditionType.SUCCEEDED, message=status.pop("message", ""))
    return with_status(a_task(), **SUCCEEDED | {"conditions": [said]} | status)


def told(task: v1alpha1.LongTask, form: MessageFormat, **parts: Any) -> bytes:
    return events.body(task, TaskEvent.SUCCEEDED, webhook_id="msg_1", form=form, **parts)


def parsed(body: bytes) -> Any:
    headers = {"content-type": events.media_type(MessageFormat.CLOUDEVENTS)}
    return from_http_event(HTTPMessage(headers=headers, body=body), JSONFormat())


def test_the_cloud_events_library_reads_it() -> None:
    task = an_ended(result=v1alpha1.Result(value={"a": [1, "é"]}))
    event = parsed(told(task, MessageFormat.CLOUDEVENTS))
    assert event.get_specversion() == "1.0"
    assert event.get_id() == "msg_1"
    assert event.get_type() == "dev.longtask.succeeded"
    namespace, name = task.metadata.namespace, task.metadata.name
    assert event.get_source() == (f"/apis/longtask.dev/v1alpha1/namespaces/{namespace}/longtasks")
    assert event.get_subject() == name
    assert event.get_datacontenttype() == "application/json"
    assert event.get_time() == NOW
    standard = json.loads(told(task, MessageFormat.STANDARD))
    assert event.get_data() == standard["data"]
    assert event.get_data()["result"] == {"a": [1, "é"]}


def test_a_trial_is_a_cloud_event_of_no_task() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    event = parsed(events.trial_body(at, webhook_id="msg_2", form=MessageFormat.CLOUDEVENTS))
    assert (event.get_id(), event.get_type()) == ("msg_2", "dev.longtask.test")
    assert event.get_subject() is None
    assert event.get_data() == {}


@pytest.mark.parametrize("form", [MessageFormat.STANDARD, MessageFormat.CLOUDEVENTS])
def test_digits_of_a_large_result_survive(form: MessageFormat) -> None:
    digits = b"[1.2345678901234567890123456789,100000000000000000000000000000000000001]"
    ref = {"key": "k", "size": len(digits), "sha256": "0" * 64, "mediaType": "application/json"}
    body = told(
        an_ended(result=v1alpha1.Result(ref=v1alpha1.ResultRef.model_validate(ref))),
        form,
        result=digits,
    )
    assert body.endswith(b'"result":' + digits + b"}}")
    assert json.loads(body)["data"]["phase"] == "Succeeded"


def test_people_read_a_line() -> None:
    task = with_status(
        a_task(type="convert"),
        phase=v1alpha1.Phase.FAILED,
        attempt=3,
        finished_at=NOW,
        conditions=[
            a_condition(
                ConditionType.SUCCEEDED, reason=v1alpha1.Reason.PROGRAM_FAILED, message="no disk"
            )
        ],
    )
    body = events.body(task, TaskEvent.FAILED, form=MessageFormat.SLACK)
    name = task.metadata.name
    assert json.loads(body) == {
        "text": f"{name} (convert): failed, attempt 3. ProgramFailed: no disk"
    }


def test_what_a_program_says_calls_nobody_and_leads_nowhere() -> None:
    task = an_ended(message="<!channel> & <https://evil.test|click> @here" + "x" * 900)
    text = json.loads(told(task, MessageFormat.SLACK))["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.test|click&gt;" in text
    assert "@here" not in text
    assert len(text) < 1100


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param("x" * 1000, "x" * 1000, id="the-longest"),
        pytest.param("x" * 1001, "x" * 999 + "…", id="what-is-longer-is-cut"),
        pytest.param("@a <@b> &", "@\u200ba &lt;@\u200bb&gt; &amp;", id="signs"),
    ],
)
def test_a_line_for_people(line: str, text: str) -> None:
    assert json.loads(events.formats.for_people(line)) == {"text": text}


def test_a_trial_for_people() -> None:
    body = events.trial_body(NOW, form=MessageFormat.SLACK)
    assert json.loads(body) == {"text": "This is a test."}

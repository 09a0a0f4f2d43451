"""What a callback says, and what signs it: the same bytes whoever computes them, whenever."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks

from longtask_crds import callback, v1alpha1
from longtask_crds.v1alpha1 import CallbackEvent, Phase

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UID = "6e8b0c8e-8f44-4b0c-9d7e-0d9b8b1f0a11"


def a_task(**status: Any) -> v1alpha1.LongTask:
    return v1alpha1.LongTask.model_validate(
        {
            "metadata": {"name": "report", "namespace": "longtasks", "uid": UID},
            "spec": {"type": "fibonacci", "callback": {"url": "https://example.com/"}},
            "status": {
                "phase": "Succeeded",
                "attempt": 1,
                "finishedAt": "2026-01-01T12:00:00Z",
                "result": {"value": {"ü": None}},
                "conditions": [
                    {
                        "type": "Succeeded",
                        "status": "True",
                        "reason": "Completed",
                        "lastTransitionTime": "2026-01-01T12:00:00Z",
                    }
                ],
                **status,
            },
        }
    )


def test_the_id_is_the_same_for_the_same_facts() -> None:
    made = callback.webhook_id(UID, CallbackEvent.SUCCEEDED, 1)
    assert made == callback.webhook_id(UID, CallbackEvent.SUCCEEDED, 1)
    assert made.startswith("msg_")
    assert "." not in made


@pytest.mark.parametrize(
    ("event", "attempt"), [(CallbackEvent.FAILED, 1), (CallbackEvent.SUCCEEDED, 2)]
)
def test_another_event_or_attempt_has_another_id(event: CallbackEvent, attempt: int) -> None:
    assert callback.webhook_id(UID, event, attempt) != callback.webhook_id(
        UID, CallbackEvent.SUCCEEDED, 1
    )


def test_the_body_is_what_the_design_says() -> None:
    assert json.loads(callback.body(a_task(), CallbackEvent.SUCCEEDED)) == {
        "type": "longtask.succeeded",
        "timestamp": "2026-01-01T12:00:00Z",
        "data": {
            "id": "report",
            "name": "report",
            "namespace": "longtasks",
            "type": "fibonacci",
            "phase": "Succeeded",
            "reason": "Completed",
            "message": "",
            "attempt": 1,
            "queuedAt": None,
            "startedAt": None,
            "finishedAt": "2026-01-01T12:00:00Z",
            "result": {"ü": None},
            "sequence": 4,
        },
    }


def test_the_body_does_not_change_over_the_tries() -> None:
    tried = {"id": "msg_1", "event": "succeeded", "state": "Pending", "tries": 3, "lastCode": 500}
    first = callback.body(a_task(), CallbackEvent.SUCCEEDED)
    assert callback.body(a_task(callback=tried), CallbackEvent.SUCCEEDED) == first


def test_a_failed_task_has_no_result() -> None:
    body = json.loads(callback.body(a_task(phase="Failed"), CallbackEvent.FAILED))
    assert "result" not in body["data"]


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (Phase.SUCCEEDED, CallbackEvent.SUCCEEDED),
        (Phase.FAILED, CallbackEvent.FAILED),
        (Phase.CANCELLED, CallbackEvent.CANCELLED),
    ],
)
def test_each_end_has_its_event_and_is_wanted_unless_said_otherwise(
    phase: Phase, event: CallbackEvent
) -> None:
    assert callback.terminal_event(phase) is event
    assert callback.is_wanted(v1alpha1.Callback(url="https://example.com/"), event)
    only_started = v1alpha1.Callback(url="https://example.com/", events=[CallbackEvent.STARTED])
    assert not callback.is_wanted(only_started, event)


def test_a_new_key_signs_what_the_receivers_library_verifies() -> None:
    key = callback.check_key(callback.new_key())
    body = callback.body(a_task(), CallbackEvent.SUCCEEDED).decode()
    sent_at = datetime.now(UTC)
    signature = standardwebhooks.Webhook(key).sign("msg_1", sent_at, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": signature,
    }
    assert standardwebhooks.Webhook(key).verify(body, headers)["data"]["id"] == "report"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(callback.new_key()).verify(body, headers)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("whsec_" + base64.b64encode(bytes(23)).decode(), id="too-short"),
        pytest.param("whsec_" + base64.b64encode(bytes(65)).decode(), id="too-long"),
        pytest.param(base64.b64encode(bytes(32)).decode(), id="no-prefix"),
        pytest.param("whsec_not base64!", id="no-base64"),
        pytest.param("", id="empty"),
    ],
)
def test_a_weak_key_signs_nothing(key: str) -> None:
    with pytest.raises(callback.KeyUnusable):
        callback.check_key(key)


def test_a_rotated_key_signs_for_another_day() -> None:
    first = callback.OwnerKeys.parse("whsec_old")
    rotated = callback.OwnerKeys.parse(first.rotated("whsec_new", NOW).render())
    assert rotated.active(NOW) == ["whsec_new", "whsec_old"]
    assert rotated.active(NOW + timedelta(hours=23)) == ["whsec_new", "whsec_old"]
    assert rotated.active(NOW + timedelta(hours=25)) == ["whsec_new"]


def test_a_second_rotation_does_not_prolong_the_first() -> None:
    keys = callback.OwnerKeys.parse("whsec_1").rotated("whsec_2", NOW)
    later = keys.rotated("whsec_3", NOW + timedelta(hours=12))
    assert later.active(NOW + timedelta(hours=25)) == ["whsec_3", "whsec_2"]


def test_an_empty_entry_has_no_key() -> None:
    assert callback.OwnerKeys.parse("").active(NOW) == []

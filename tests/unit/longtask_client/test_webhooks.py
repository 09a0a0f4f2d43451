import json
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks

from longtask_client import webhooks
from longtask_crds import events, signing_keys
from longtask_crds.testing import NOW

KEY, OLD_KEY = signing_keys.new_key(), signing_keys.new_key()
BODY = json.dumps(
    {
        "type": "longtask.succeeded",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {
            "id": "a",
            "name": "a",
            "namespace": "longtasks",
            "type": "sleep",
            "phase": "Succeeded",
            "percent": 100,
            "reason": "Completed",
            "message": None,
            "attempt": 1,
            "queuedAt": None,
            "startedAt": None,
            "finishedAt": "2026-01-02T03:04:05Z",
            "sequence": 1900,
            "result": {"ü": 1},
            "somethingNew": "later versions say more",
        },
    }
).encode()


def headers(key: str = KEY, *, at: datetime = NOW, body: bytes = BODY) -> dict[str, str]:
    """What somebody else's signer says."""
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": standardwebhooks.Webhook(key).sign("msg_1", at, body.decode()),
    }


def received(body: bytes = BODY, said: dict[str, str] | None = None, **how: Any) -> webhooks.Event:
    return webhooks.receive(
        body,
        headers() if said is None else said,
        **{"key": KEY, "now": NOW.timestamp()} | how,
    )


def test_a_genuine_callback_says_what_became_of_which_task() -> None:
    event = received()
    assert (event.id, event.type) == ("msg_1", "longtask.succeeded")
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert event.data is not None
    assert (event.data.id, event.data.phase, event.data.result) == ("a", "Succeeded", {"ü": 1})


def test_a_cloud_event_says_the_same() -> None:
    standard = received()
    told = json.loads(BODY)
    wrapped = {
        "specversion": "1.0",
        "id": "msg_1",
        "source": "/a",
        "type": "dev.longtask.succeeded",
        "time": told["timestamp"],
        "data": told["data"],
    }
    body = json.dumps(wrapped).encode()
    assert received(body, headers(body=body)) == standard


def test_a_trial_is_of_no_task() -> None:
    body = events.trial_body(NOW)
    event = received(body, headers(body=body))
    assert (event.type, event.data) == ("longtask.test", None)


def test_one_of_several_signatures_and_keys_is_enough() -> None:
    both = headers(OLD_KEY)
    both["Webhook-Signature"] += f" {headers()['Webhook-Signature']} v1a,of-another-kind"
    assert received(said=both).id == "msg_1"
    assert received(said=headers(OLD_KEY), key=[KEY, OLD_KEY]).id == "msg_1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"Webhook-Signature": "v1,AAAA"}, "not signed", id="another-signature"),
        pytest.param({"Webhook-Signature": ""}, "not signed", id="no-signature"),
        pytest.param({"Webhook-Signature": "v1,\u00fc"}, "not signed", id="no-ascii"),
        pytest.param({"Webhook-Id": "msg_2"}, "not signed", id="another-id"),
        pytest.param({"Webhook-Id": ""}, "missing", id="no-id"),
        pytest.param({"Webhook-Timestamp": "soon"}, "missing", id="no-time"),
        pytest.param({"Webhook-Timestamp": "\u00b2"}, "missing", id="a-digit-that-is-none"),
        pytest.param({"Webhook-Timestamp": "9" * 5000}, "missing", id="a-time-of-5000-digits"),
        pytest.param(headers(OLD_KEY), "not signed", id="another-key"),
    ],
)
def test_what_is_not_genuine_is_refused(change: dict[str, str], why: str) -> None:
    with pytest.raises(webhooks.NotGenuine, match=why):
        received(said=headers() | change)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(webhooks.NotGenuine):
        received(BODY.replace(b"100", b"101"))


@pytest.mark.parametrize("seconds", [-301, -300, 300, 301])
def test_the_tolerance_is_five_minutes_either_way_as_others_have_it(seconds: int) -> None:
    now = NOW.timestamp() + seconds
    if abs(seconds) > 300:
        with pytest.raises(webhooks.NotGenuine, match="too long ago"):
            received(now=now)
    else:
        assert received(now=now).id == "msg_1"


@pytest.mark.parametrize("body", [b"[]", b'{"type": 1}', b"\xff", b'{"type":"x","data":{"a":1}}'])
def test_what_is_signed_and_no_callback_is_told_so(body: bytes) -> None:
    said = headers()
    said["Webhook-Signature"] = webhooks._signature(KEY, b"msg_1." + stamp() + b"." + body).decode()
    with pytest.raises(webhooks.NotGenuine, match="no callback"):
        received(body, said)


def test_a_key_that_is_none_is_a_mistake_of_ones_own() -> None:
    with pytest.raises(signing_keys.KeyUnusable):
        received(key="whsec_short")


def stamp() -> bytes:
    return str(int(NOW.timestamp())).encode()

"""Which keys sign: weak ones never, rotated ones for another day, and no typing error raises."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
import standardwebhooks

from longtask_crds import signing_keys
from longtask_crds.signing_keys import OwnerKeys

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST, SECOND, THIRD = (f"whsec_{base64.b64encode(bytes([n] * 32)).decode()}" for n in (1, 2, 3))


def test_a_new_key_signs_what_the_receivers_library_verifies() -> None:
    key = signing_keys.check_key(signing_keys.new_key())
    sent_at = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(key).sign("msg_1", sent_at, '{"a":1}'),
    }
    assert standardwebhooks.Webhook(key).verify('{"a":1}', headers) == {"a": 1}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(signing_keys.new_key()).verify('{"a":1}', headers)


UNUSABLE = [
    pytest.param("whsec_" + base64.b64encode(bytes(23)).decode(), id="too-short"),
    pytest.param("whsec_" + base64.b64encode(bytes(65)).decode(), id="too-long"),
    pytest.param(base64.b64encode(bytes(32)).decode(), id="no-prefix"),
    pytest.param("whsec_not-base64!", id="no-base64"),
    pytest.param("whsec_é", id="no-ascii"),
]


@pytest.mark.parametrize("key", [*UNUSABLE, pytest.param("", id="empty")])
def test_a_weak_key_signs_nothing(key: str) -> None:
    with pytest.raises(signing_keys.KeyUnusable):
        signing_keys.check_key(key)


@pytest.mark.parametrize("size", [24, 64])
def test_the_shortest_and_the_longest_key_can_sign(size: int) -> None:
    key = "whsec_" + base64.b64encode(bytes(size)).decode()
    assert signing_keys.check_key(key) == key


@pytest.mark.parametrize("key", ["whsec_not-base64!", "whsec_"])
def test_why_a_key_cannot_sign_is_told_without_it(key: str) -> None:
    with pytest.raises(signing_keys.KeyUnusable) as raised:
        signing_keys.check_key(key)
    told = "A signing key must be `whsec_` and the base64 of 24 to 64 bytes."
    assert str(raised.value) == told


def test_a_new_key_has_as_many_bytes_as_the_hash() -> None:
    key = signing_keys.new_key()
    assert len(base64.b64decode(key.removeprefix("whsec_"))) == 32
    assert key != signing_keys.new_key()


def test_until_when_the_one_before_signs_too() -> None:
    keys = OwnerKeys.parse(FIRST)
    assert keys.previous_until(NOW) is None
    rotated = keys.rotated(SECOND, NOW)
    day = NOW + signing_keys.KEY_OVERLAP
    assert rotated.previous_until(NOW) == day
    assert rotated.previous_until(day - timedelta(seconds=1)) == day
    assert rotated.previous_until(day) is None
    assert rotated.active(day) == [SECOND]
    later = rotated.rotated(THIRD, NOW + timedelta(hours=1))
    assert later.previous_until(NOW) == day + timedelta(hours=1), "the last one of them"
    assert rotated.rotated(THIRD, day).active(day) == [THIRD, SECOND], "an expired one is dropped"


def test_a_secret_holds_a_key_in_each_line() -> None:
    expiry = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=1)))
    text = OwnerKeys(((SECOND, None), (FIRST, expiry))).render()
    assert text == f"{SECOND}\n{FIRST} 2026-01-01T13:00:00Z"


@pytest.mark.parametrize(
    ("labels", "owner"),
    [({"longtask.dev/owner": "a"}, "a"), ({}, "default"), ({"x": "a"}, "default")],
)
def test_whose_key_signs(labels: dict[str, str], owner: str) -> None:
    assert signing_keys.owner_of(labels) == owner


def test_a_rotated_key_signs_for_another_day() -> None:
    rotated = OwnerKeys.parse(OwnerKeys.parse(FIRST).rotated(SECOND, NOW).render())
    assert rotated.active(NOW) == [SECOND, FIRST]
    assert rotated.active(NOW + timedelta(hours=23)) == [SECOND, FIRST]
    assert rotated.active(NOW + timedelta(hours=25)) == [SECOND]


def test_a_second_rotation_does_not_prolong_the_first() -> None:
    keys = OwnerKeys.parse(FIRST).rotated(SECOND, NOW)
    later = keys.rotated(THIRD, NOW + timedelta(hours=12))
    assert later.active(NOW + timedelta(hours=25)) == [THIRD, SECOND]


@pytest.mark.parametrize("text", ["", "\n", " \r\n \n"])
def test_an_empty_entry_has_no_key(text: str) -> None:
    assert OwnerKeys.parse(text) == OwnerKeys()


@pytest.mark.parametrize("line", UNUSABLE)
def test_a_line_whose_key_cannot_sign_is_ignored_and_told(line: str) -> None:
    keys = OwnerKeys.parse(f"{FIRST}\n{line}\n{SECOND}\n")
    assert keys.active(NOW) == [FIRST, SECOND]
    (told,) = keys.ignored
    assert told.startswith("line 2: ")
    assert line not in told


@pytest.mark.parametrize(
    "expiry",
    [
        pytest.param("tomorrow", id="a-word"),
        pytest.param("2026-13-01T00:00:00Z", id="no-such-month"),
        pytest.param("2027-01-01T00:00:00", id="without-an-offset"),
        pytest.param("2027-01-01", id="a-day"),
        pytest.param(SECOND, id="a-second-key-on-the-line"),
        pytest.param("1" * 5000, id="very-many-digits"),
    ],
)
def test_a_line_whose_expiry_cannot_be_read_is_ignored_and_told(expiry: str) -> None:
    keys = OwnerKeys.parse(f"{FIRST} {expiry}\r\n{THIRD}")
    assert keys.active(NOW) == [THIRD]
    assert keys.ignored == ("line 1: its expiry is no time in RFC 3339 with an offset",)


def test_spaces_around_an_expiry_do_no_harm() -> None:
    keys = OwnerKeys.parse(f"  {FIRST}   2026-01-01T13:00:00Z ")
    assert keys.active(NOW) == [FIRST]
    assert keys.active(NOW + timedelta(hours=2)) == []
    assert keys.ignored == ()

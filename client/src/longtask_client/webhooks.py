"""For receivers of callbacks: is it LongTask's, and what does it say?

event = webhooks.receive(request.body, request.headers, key="whsec_…")
if event.id not in seen:  # it may come more than once
    print(event.type, event.data and event.data.id)

The signature is that of Standard Webhooks. It is of the body's bytes: whoever parses the JSON
before and writes it again has other bytes. Nothing here does IO or needs a connection.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from longtask_crds import events, signing_keys, v1alpha1

#: An older callback may be one that somebody has recorded, and a newer one has no honest clock.
TOLERANCE: Final = timedelta(minutes=5)
_VERSION = "v1,"


class NotGenuine(Exception):
    """The callback is not signed with the key, or it is too old: answer 401."""


class Event(v1alpha1.Model):
    """What a callback says."""

    id: str
    """The webhook-id: the same each time that it is delivered."""

    type: str
    """`longtask.` and queued, started, progress, retrying, succeeded, failed, cancelled or test."""

    timestamp: v1alpha1.Time | None
    """When it happened."""

    data: events.CallbackData | None
    """The task, and what became of it; None for `longtask.test`, which is of none."""


def receive(
    body: bytes,
    headers: Mapping[str, str],
    *,
    key: str | Sequence[str],
    tolerance: timedelta = TOLERANCE,
    now: float | None = None,
) -> Event:
    """Return what a genuine callback says.

    Args:
        body: The bytes that came, before anything reads them as JSON.
        headers: The headers that came, in whatever case.
        key: The key that signs one's callbacks, `whsec_…`; or several, of which one is enough.
        tolerance: How old it may be, and how far ahead its clock.
        now: The time, in seconds since 1970; the machine's when absent.

    Raises:
        NotGenuine: Nobody who has the key has sent it just now.
    """
    verify(body, headers, key=key, tolerance=tolerance, now=now)
    said = {name.lower(): value for name, value in headers.items()}
    try:
        told = _Told.model_validate_json(body)
        data = events.CallbackData.model_validate(told.data) if told.data else None
    except ValidationError as error:
        raise NotGenuine("It is signed, and no callback of LongTask.") from error
    kind = told.type.removeprefix("dev.")  # a CloudEvent's begins with our domain turned round
    return Event(id=said["webhook-id"], type=kind, timestamp=told.timestamp or told.time, data=data)


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    key: str | Sequence[str],
    tolerance: timedelta = TOLERANCE,
    now: float | None = None,
) -> None:
    """Return if the callback is genuine; arguments as of `receive`.

    Raises:
        NotGenuine: Nobody who has the key has sent it just now.
    """
    said = {name.lower(): value for name, value in headers.items()}
    webhook_id, stamp = said.get("webhook-id", ""), said.get("webhook-timestamp", "")
    if not webhook_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise NotGenuine("webhook-id or webhook-timestamp is missing, or is none.")
    at = time.time() if now is None else now
    if abs(at - int(stamp)) > tolerance.total_seconds():
        raise NotGenuine("It was sent too long ago, or a clock is wrong.")
    # Several while a key is rotated; all are looked at, so that the time it takes tells nothing.
    given = said.get("webhook-signature", "").encode().split()
    signed = f"{webhook_id}.{stamp}.".encode() + body
    matches = [
        hmac.compare_digest(expected, signature)
        for expected in [_signature(one, signed) for one in _keys(key)]
        for signature in given
    ]
    if not any(matches):
        raise NotGenuine("It is not signed with the key.")


class _Told(v1alpha1.Model):
    type: str
    timestamp: v1alpha1.Time | None = None
    time: v1alpha1.Time | None = None  #: of a CloudEvent
    data: v1alpha1.Json = None


def _keys(key: str | Sequence[str]) -> Sequence[str]:
    return [key] if isinstance(key, str) else key


def _signature(key: str, signed: bytes) -> bytes:
    secret = base64.b64decode(signing_keys.check_key(key).removeprefix(signing_keys.KEY_PREFIX))
    return _VERSION.encode() + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))

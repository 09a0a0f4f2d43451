"""What a callback says: its id, its body, and the keys that sign it.

The bytes are derived from the stored resource alone, so that no restart can change them.
"""

import base64
import dataclasses
import json
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longtask_crds import names, v1alpha1
from longtask_crds.v1alpha1 import conditions

#: The Secret that holds the owners' signing keys: one data key for each owner.
KEYS_SECRET: Final = "longtask-callback-keys"
#: Whose key signs for tasks without an owner.
DEFAULT_OWNER: Final = "default"
KEY_PREFIX: Final = "whsec_"
#: How long the key before the last still signs after a rotation.
KEY_OVERLAP: Final = timedelta(days=1)

_TERMINAL = {
    v1alpha1.Phase.SUCCEEDED: v1alpha1.CallbackEvent.SUCCEEDED,
    v1alpha1.Phase.FAILED: v1alpha1.CallbackEvent.FAILED,
    v1alpha1.Phase.CANCELLED: v1alpha1.CallbackEvent.CANCELLED,
}
_SEQUENCE = {
    v1alpha1.CallbackEvent.QUEUED: 1,
    v1alpha1.CallbackEvent.STARTED: 2,
    v1alpha1.CallbackEvent.PROGRESS: 3,
    v1alpha1.CallbackEvent.SUCCEEDED: 4,
    v1alpha1.CallbackEvent.FAILED: 4,
    v1alpha1.CallbackEvent.CANCELLED: 4,
}


class KeyUnusable(ValueError):
    """A signing key must be `whsec_` and the base64 of 24 to 64 bytes."""


def terminal_event(phase: v1alpha1.Phase) -> v1alpha1.CallbackEvent:
    """Return the event that reports this end."""
    return _TERMINAL[phase]


def is_wanted(callback: v1alpha1.Callback, event: v1alpha1.CallbackEvent) -> bool:
    """Tell whether the receiver asked for this event; the three ends unless it says otherwise."""
    wanted = callback.events
    return event in (_TERMINAL.values() if wanted is None else wanted)


def webhook_id(task_uid: str, event: v1alpha1.CallbackEvent, attempt: int) -> str:
    """Return the delivery's id: the same for the same facts, whoever computes it, whenever."""
    return f"msg_{uuid.uuid5(uuid.UUID(task_uid), f'{event}/{attempt}')}"


def body(task: v1alpha1.LongTask, event: v1alpha1.CallbackEvent) -> bytes:
    """Return the bytes to send: the same on every try."""
    status, meta = task.status, task.metadata
    succeeded = conditions.find(status.conditions, v1alpha1.ConditionType.SUCCEEDED)
    times = status.to_json()
    data: dict[str, Any] = {
        "id": meta.name,
        "name": meta.name,
        "namespace": meta.namespace,
        "type": task.spec.type,
        "phase": status.phase,
        "reason": succeeded.reason if succeeded else None,
        "message": succeeded.message if succeeded else None,
        "attempt": status.attempt or 0,
        "queuedAt": times.get("queuedAt"),
        "startedAt": times.get("startedAt"),
        "finishedAt": times.get("finishedAt"),
        "sequence": _SEQUENCE[event],
    }
    if event is v1alpha1.CallbackEvent.SUCCEEDED:
        data["result"] = status.result.value if status.result else None
    document = {"type": f"longtask.{event}", "timestamp": data["finishedAt"], "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


@dataclasses.dataclass(frozen=True)
class OwnerKeys:
    """An owner's signing keys, the newest first; the text is one line for each.

    A line is `KEY` or `KEY EXPIRY`, the expiry in RFC 3339. Only keys that a newer one has
    replaced expire.
    """

    lines: tuple[tuple[str, datetime | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "OwnerKeys":
        """Read what the Secret holds."""
        lines = []
        for line in text.split("\n"):
            key, _, expiry = line.strip().partition(" ")
            if key:
                lines.append((key, datetime.fromisoformat(expiry) if expiry else None))
        return cls(tuple(lines))

    def render(self) -> str:
        """Return the text that the Secret holds."""
        return "\n".join(
            key if expiry is None else f"{key} {expiry.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            for key, expiry in self.lines
        )

    def active(self, now: datetime) -> list[str]:
        """Return the keys that sign now, the newest first."""
        return [key for key, expiry in self.lines if expiry is None or expiry > now]

    def rotated(self, new: str, now: datetime) -> "OwnerKeys":
        """Return them with a new key in front; the one before signs for another day."""
        kept = tuple(
            (key, expiry or now + KEY_OVERLAP)
            for key, expiry in self.lines
            if expiry is None or expiry > now
        )
        return OwnerKeys(((new, None), *kept))


def new_key() -> str:
    """Return a fresh signing key of 32 random bytes."""
    return KEY_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_key(key: str) -> str:
    """Return the key if it can sign.

    Raises:
        KeyUnusable: It is no `whsec_` key, or too short or too long.
    """
    try:
        size = len(base64.b64decode(key.removeprefix(KEY_PREFIX), validate=True))
    except ValueError as error:
        raise KeyUnusable(KeyUnusable.__doc__) from error
    if not key.startswith(KEY_PREFIX) or not 24 <= size <= 64:
        raise KeyUnusable(KeyUnusable.__doc__)
    return key


def owner_of(labels: Mapping[str, str]) -> str:
    """Return whose key signs for a task with these labels."""
    return labels.get(names.OWNER_LABEL) or DEFAULT_OWNER

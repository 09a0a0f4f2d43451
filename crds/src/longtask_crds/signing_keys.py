"""The keys that sign what is sent to users' URLs: how they are written down, and which sign now."""

import base64
import dataclasses
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from longtask_crds import names

#: The Secret that holds the owners' signing keys: one data key for each owner.
KEYS_SECRET: Final = "longtask-callback-keys"
#: Whose key signs for tasks without an owner.
DEFAULT_OWNER: Final = "default"
KEY_PREFIX: Final = "whsec_"
#: How long the key before the last still signs after a rotation.
KEY_OVERLAP: Final = timedelta(days=1)
#: How many keys sign at most: each is a signature in a header.
MOST_KEYS: Final = 5


class KeyUnusable(ValueError):
    """A signing key must be `whsec_` and the base64 of 24 to 64 bytes."""


@dataclasses.dataclass(frozen=True)
class OwnerKeys:
    """An owner's signing keys, the newest first; the text is one line for each.

    A line is `KEY` or `KEY EXPIRY`, the expiry in RFC 3339. Only keys that a newer one has
    replaced expire. People edit the text by hand: a line whose key cannot sign, or whose expiry
    cannot be read, signs nothing and spoils nothing.
    """

    lines: tuple[tuple[str, datetime | None], ...] = ()
    ignored: tuple[str, ...] = ()  #: which lines sign nothing, and why; none of their text

    @classmethod
    def parse(cls, text: str) -> "OwnerKeys":
        """Read what the Secret holds; never raises for what people wrote."""
        lines, ignored = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            key, _, expiry = line.strip().partition(" ")
            if not key:
                continue
            try:
                lines.append((check_key(key), _instant(expiry) if expiry else None))
            except ValueError as error:
                ignored.append(f"line {number}: {error}")
        return cls(tuple(lines), tuple(ignored))

    def render(self) -> str:
        """Return the text that the Secret holds, without the ignored lines."""
        return "\n".join(
            key if expiry is None else f"{key} {expiry.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            for key, expiry in self.lines
        )

    def active(self, now: datetime) -> list[str]:
        """Return the keys that sign now, the newest first; each of them can."""
        return [key for key, expiry in self.lines if expiry is None or expiry > now]

    def previous_until(self, now: datetime) -> datetime | None:
        """Return until when a key before the newest one signs as well; None if none does."""
        return max((at for _, at in self.lines[1:] if at is not None and at > now), default=None)

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


def _instant(text: str) -> datetime:
    """Read an expiry; the error shows nothing of it, for it may be a misplaced key."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError("its expiry is no time in RFC 3339 with an offset") from None
    return at

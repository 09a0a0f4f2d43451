"""Cursors: where the next page of a list begins, as text that says nothing to its bearer."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from longtask_api import errors

#: Many times what one of ours has, and too little for a hole that is deep.
_MOST_CHARACTERS = 1024

#: What sorts a thing in its list.
Key = Sequence[Any]


def mark_of(*parts: object) -> str:
    """Return what tells the cursors of one list from those of another."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def encode(key: Key, mark: str) -> str:
    """Return the cursor of the page that begins behind this key."""
    return base64.urlsafe_b64encode(json.dumps([mark, *key]).encode()).decode().rstrip("=")


def decode(cursor: str, mark: str, is_key: Callable[[Key], bool]) -> Key:
    """Return the key behind which the page begins.

    Args:
        cursor: What the caller brings.
        mark: The list's.
        is_key: Tells whether something can be compared with every key of the list.

    Raises:
        Malformed: It is none of our cursors, or of another list.
    """
    unreadable = errors.Malformed("The cursor cannot be read.")
    if len(cursor) > _MOST_CHARACTERS:
        raise unreadable
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found, *rest = json.loads(text)
    except (ValueError, TypeError) as error:
        raise unreadable from error
    if found != mark:
        raise errors.Malformed("The cursor belongs to a list with other filters.")
    key: Key = rest
    if not is_key(key):
        raise unreadable
    return key

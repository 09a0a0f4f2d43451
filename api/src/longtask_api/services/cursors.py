"""Cursors: where the next page of a list begins, as text that says nothing to its bearer."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from longtask_api import errors

T = TypeVar("T")

#: Many times what one of ours has, and too little for a hole that is deep.
_MOST_CHARACTERS = 1024
#: The ids of what is sorted by when it happened.
_ID: Final = re.compile("[0-9a-f]{32}")

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


def moment_and_id(cursor: str | None, mark: str) -> tuple[datetime, str] | None:
    """Return behind what a page begins of a list that is sorted by when it happened.

    Raises:
        Malformed: As `decode`.
    """
    if cursor is None:
        return None
    moment, last = decode(cursor, mark, _is_moment_and_id)
    return datetime.fromisoformat(moment), last


def one_page(
    found: Sequence[T], limit: int, mark: str, key: Callable[[T], tuple[datetime, str]]
) -> tuple[Sequence[T], str | None]:
    """Return what one page of such a list shows, and the cursor of the next one.

    Args:
        found: What was found for it: one more than the page shows, if there is a next one.
        limit: So many are shown.
        mark: The list's.
        key: Returns when a thing happened, and its id.
    """
    shown = found[:limit]
    if len(found) <= limit:
        return shown, None
    moment, last = key(shown[-1])
    return shown, encode([moment.isoformat(), last], mark)


def _is_moment_and_id(key: Key) -> bool:
    """Tell whether a key is a moment and an id: what sorts a list of what happened."""
    if [type(part) for part in key] != [str, str] or not _ID.fullmatch(key[1]):
        return False
    try:
        moment = datetime.fromisoformat(key[0])
        moment.astimezone(UTC)
    except (ValueError, OverflowError):  # none, or too early or too late for UTC
        return False
    return moment.tzinfo is not None

"""What a mail brings that is worth something: a link that ends mails, and a code for an address.

Both are signed with the installation's key and say all that is needed, so nothing is stored.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Final

#: How long a code is good.
GOOD_FOR: Final = timedelta(hours=24)
_SUM_BYTES: Final = 16


def unsubscribe_token(key: bytes, address: str) -> str:
    """Return what ends the mails to an address; it is good for ever."""
    return _signed(key, "unsubscribe", address)


def unsubscribed(key: bytes, token: str) -> str | None:
    """Return the address that the token is of, or None if it is none of ours."""
    return _said(key, "unsubscribe", token)


def code(key: bytes, username: str, address: str, *, now: datetime) -> str:
    """Return what shows that who has it reads the mails to an address: for this user alone."""
    until = int((now + GOOD_FOR).timestamp())
    return _signed(key, "verify", f"{until}\n{username}\n{address}")


def confirmed(key: bytes, username: str, given: str, *, now: datetime) -> str | None:
    """Return the address that the code is of; None if it is none of this user's, or too old."""
    said = _said(key, "verify", given)
    if said is None:
        return None
    until, whose, address = said.split("\n")
    return address if whose == username and now.timestamp() <= int(until) else None


def _signed(key: bytes, purpose: str, text: str) -> str:
    content = text.encode()
    return f"{_written(content)}.{_written(_sum(key, purpose, content))}"


def _said(key: bytes, purpose: str, token: str) -> str | None:
    content, _, mark = token.partition(".")
    try:
        found, given = _read(content), _read(mark)
    except (ValueError, binascii.Error):
        return None
    is_ours = hmac.compare_digest(given, _sum(key, purpose, found))
    return found.decode() if is_ours else None


def _sum(key: bytes, purpose: str, content: bytes) -> bytes:
    # The purpose first: a token for one thing is of no use for another.
    made = hmac.new(key, purpose.encode() + b"\0" + content, hashlib.sha256)
    return made.digest()[:_SUM_BYTES]


def _written(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _read(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

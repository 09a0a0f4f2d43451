"""The bearer token that guards the API for now: one for all, from a Secret."""

import hashlib
import hmac

from longtask_api import errors
from longtask_api.auth import callers


class Credentials:
    """Knows who bears which token."""

    def __init__(self, token: str | None) -> None:
        """Let everybody in who bears the token; None lets everybody in."""
        self._token = token

    def caller(self, token: str | None) -> callers.Caller:
        """Return who bears the token.

        Raises:
            Unauthenticated: The token is absent or wrong.
        """
        if self._token is not None and (token is None or not _same(token, self._token)):
            raise errors.Unauthenticated
        return callers.INSTALLATION


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing, not even the length."""
    digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (one, other))
    return hmac.compare_digest(*digests)

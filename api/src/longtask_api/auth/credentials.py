"""From the bearer token of a request to who asks: each kind of token has its verifier."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol

from longtask_api import errors
from longtask_api.auth import callers


class Verifier(Protocol):
    """Knows one kind of token."""

    async def caller(self, token: str) -> callers.Caller | None:
        """Return who bears the token; None if it is none of its kind.

        Raises:
            Unauthenticated: It is of its kind, and not valid (any more).
        """
        ...


class InstallationToken:
    """The token of the installation's Secret: who bears it is an admin."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def caller(self, token: str) -> callers.Caller | None:
        """Return the installation, if this is its token."""
        return callers.INSTALLATION if _same(token, self._token) else None


class Credentials:
    """Knows who bears which token."""

    def __init__(self, verifiers: Sequence[Verifier], *, insecure: bool = False) -> None:
        """Ask the verifiers in their order.

        Args:
            verifiers: One for each kind of token.
            insecure: Let everybody in, as the installation, whatever they bear.
        """
        self._verifiers = tuple(verifiers)
        self._insecure = insecure

    @property
    def insecure(self) -> bool:
        """Tell whether everybody is let in."""
        return self._insecure

    async def caller(self, token: str | None, *, of_cookie: bool = False) -> callers.Caller:
        """Return who bears the token.

        Args:
            token: The token.
            of_cookie: It came in a cookie, where only that of a login is taken: whoever has a
                browser send another, which never ends, knows it already.

        Raises:
            Unauthenticated: The token is absent, of no kind that is known, or not valid.
        """
        if self._insecure:
            return callers.INSTALLATION
        if token is not None:
            for verifier in self._verifiers:
                if (found := await verifier.caller(token)) is not None:
                    if of_cookie and found.via is not callers.Via.SESSION:
                        break
                    return found
        raise errors.Unauthenticated


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing, not even the length."""
    digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (one, other))
    return hmac.compare_digest(*digests)

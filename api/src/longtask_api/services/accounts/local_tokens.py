"""The tokens of LongTask's own users: how they are made, and who bears one."""

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores import users
from longtask_api.stores.users import Users
from longtask_client import models

PREFIX: Final = "lt_"
#: 256 bits, as `secrets.token_urlsafe` writes them.
_TOKEN: Final = re.compile(PREFIX + r"[-_A-Za-z0-9]{43}")
#: How long a token is believed before it is looked up again: one that was revoked at another
#: replica is refused within that.
BELIEVED_SECONDS: Final = 5.0
_MOST_BELIEVED: Final = 10_000


def new_token(prefix: str = PREFIX) -> str:
    """Return a token that nobody can guess."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """Return what is kept of a token: it has so many bits that no more is needed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class _Believed(NamedTuple):
    caller: callers.Caller
    expires_at: datetime
    until: float  #: by the monotonic clock


class LocalTokens:
    """Knows who bears a token of a user of LongTask's own."""

    def __init__(
        self,
        stored: Users,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = stored
        self._clock = clock
        self._monotonic = monotonic
        self._believed: OrderedDict[str, _Believed] = OrderedDict()
        self._changes = 0  #: how often something was changed here

    async def caller(self, token: str) -> callers.Caller | None:
        """Return who bears the token; None if it is none of its kind.

        Raises:
            Unauthenticated: It is of its kind, and not valid (any more).
            DatabaseAway: It cannot be looked up for now.
        """
        if not token.startswith(PREFIX):
            return None
        if not _TOKEN.fullmatch(token):
            raise errors.Unauthenticated
        digest = digest_of(token)
        known = self._believed.get(digest)
        if known is None or known.until <= self._monotonic():
            known = await self._look_up(digest)
        if known is None or known.expires_at <= self._clock():
            raise errors.Unauthenticated
        return known.caller

    def forget(self) -> None:
        """Look all tokens up anew: here, what was just changed is so at once."""
        self._changes += 1
        self._believed.clear()

    async def _look_up(self, digest: str) -> _Believed | None:
        # Counted from before the look, which may take its time.
        until, changes = self._monotonic() + BELIEVED_SECONDS, self._changes
        self._believed.pop(digest, None)
        found = await self._users.bearer(digest)
        if found is None or found[1].is_disabled:
            return None
        believed = _Believed(_caller(*found), found[0].expires_at, until)
        if changes != self._changes:
            return believed  # what was found may be as it was before the change
        self._believed[digest] = believed
        if len(self._believed) > _MOST_BELIEVED:
            self._believed.popitem(last=False)
        return believed


def _caller(token: users.Token, user: users.User) -> callers.Caller:
    is_session = token.kind == models.TokenKind.SESSION
    return callers.with_role(
        user.username,
        callers.Role(user.role),
        name=user.username,
        via=callers.Via.SESSION if is_session else callers.Via.TOKEN,
        scopes=map(callers.Act, token.scopes),
        token_id=token.id,
    )

"""The bearer token that guards the API for now: one for all, from a Secret."""

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from longtask_api import dependencies, errors

bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="The installation's token.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def require_token(backend: dependencies.BackendDep, given: Credentials) -> None:
    """Let nobody in without the token, unless the installation says `insecure`.

    Raises:
        Unauthenticated: The token is absent or wrong.
    """
    if backend.token is None:
        return
    if given is None or not _same(given.credentials, backend.token):
        raise errors.Unauthenticated


def _same(one: str, other: str) -> bool:
    """Compare in a time that tells nothing, not even the length."""
    digests = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (one, other))
    return hmac.compare_digest(*digests)

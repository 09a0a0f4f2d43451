"""JSON Web Tokens before anybody has checked them: whose they claim to be."""

from collections.abc import Mapping
from typing import Any, Final

import jwt

#: Longer than tokens with many groups are.
_LONGEST: Final = 16_384
_UNCHECKED: Final = {"verify_signature": False}


def claims_of(token: str) -> Mapping[str, Any] | None:
    """Return what a token says of itself, none of it checked; None if it is no JSON Web Token."""
    if len(token) > _LONGEST or token.count(".") != 2:
        return None
    try:
        claims = jwt.decode(token, options=_UNCHECKED)  # type: ignore[arg-type]
    except (jwt.InvalidTokenError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def audiences_of(claims: Mapping[str, Any]) -> list[Any]:
    """Return for whom the token claims to be meant."""
    said = claims.get("aud", [])
    return said if isinstance(said, list) else [said]

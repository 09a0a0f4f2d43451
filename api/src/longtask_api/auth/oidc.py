"""Tokens of an identity provider, by OpenID Connect."""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from longtask_api import errors
from longtask_api.auth import callers, subjects, web_tokens
from longtask_api.auth.issuer import ALGORITHMS, Issuer

#: By so much the issuer's clock and ours may differ.
_LEEWAY_SECONDS: Final = 30.0
#: Tokens that say who somebody is, or what they may: an issuer signs others with the same keys.
_KINDS: Final = ("jwt", "at+jwt")
_LONGEST_NAME: Final = 256


class OidcTokens:
    """Knows the tokens of one issuer that are meant for us."""

    def __init__(
        self, issuer: Issuer, *, audience: str, roles_claim: str = "", admin_value: str = ""
    ) -> None:
        """Believe an issuer.

        Args:
            issuer: Whom.
            audience: For whom its tokens must be meant.
            roles_claim: Where they say what somebody is: a claim, or a path to it with dots.
            admin_value: What makes an admin of them there.
        """
        self._issuer = issuer
        self._audience = audience
        self._roles_claim = roles_claim
        self._admin_value = admin_value

    async def caller(self, token: str) -> callers.Caller | None:
        """Return who bears the token; None if it does not claim to be the issuer's.

        Raises:
            Unauthenticated: It is not valid, or not for us.
            Unavailable: The issuer does not say its keys.
        """
        claims = web_tokens.claims_of(token)
        if claims is None or claims.get("iss") != self._issuer.url:
            return None
        try:
            checked = await self._checked(token)
        except (jwt.PyJWTError, RecursionError) as error:
            raise errors.Unauthenticated(f"The token is not valid: {_why(error)}.") from error
        return self._judged(checked)

    async def _checked(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        kind = str(header.get("typ", "JWT")).lower().removeprefix("application/")
        algorithm = header.get("alg")
        if kind not in _KINDS or algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        key = await self._issuer.key(header.get("kid"), algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=self._audience,
            issuer=self._issuer.url,
            leeway=_LEEWAY_SECONDS,
            options={
                "require": ["iss", "aud", "sub", "exp"],
                "enforce_minimum_key_length": True,
            },
        )
        if not claims["sub"]:
            raise jwt.MissingRequiredClaimError("sub")
        return claims

    def _judged(self, claims: Mapping[str, Any]) -> callers.Caller:
        """Return who they are: by the subject alone, as all else may become another's."""
        sub = claims["sub"]
        called = claims.get("preferred_username")
        return callers.with_role(
            subjects.of_oidc(self._issuer.url, sub),
            callers.Role.ADMIN if self._is_admin(claims) else callers.Role.USER,
            name=(called if isinstance(called, str) and called else sub)[:_LONGEST_NAME],
            via=callers.Via.OIDC,
        )

    def _is_admin(self, claims: Mapping[str, Any]) -> bool:
        if not self._roles_claim:
            return False
        said = _claim(claims, self._roles_claim)
        return self._admin_value in (said if isinstance(said, list) else [said])


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim, or what lies in one; names of claims may have dots themselves."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _why(error: Exception) -> str:
    """Say what is wrong, and nothing of what is in the token."""
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "its time has not come yet"
        case jwt.InvalidAudienceError():
            return "it is meant for somebody else"
        case jwt.MissingRequiredClaimError():
            return f"it says no {error.claim}"
        case _:
            return "its signature, or what it says, is wrong"

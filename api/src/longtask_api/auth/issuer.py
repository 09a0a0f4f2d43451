"""The public keys of an OpenID issuer: found by discovery, kept, and looked for again.

The issuer's address is the administrator's word, so nothing guards where it leads. But what comes
from there is bounded: it may be broken, slow or somebody else's by now.
"""

import asyncio
import contextlib
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt

from longtask_api import errors

_logger = logging.getLogger(__name__)

#: With what a token may be signed: none of these has a secret in common with the issuer.
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")

_DISCOVERY: Final = "/.well-known/openid-configuration"
#: For each of the two documents.
_SECONDS: Final = 5.0
_MOST_BYTES: Final = 128 * 1024
#: After so long the keys are looked for anew: what the issuer has withdrawn is good no more.
_FRESH_SECONDS: Final = 600.0
#: For so long they serve where the issuer does not answer.
_LAST_SECONDS: Final = 3600.0
#: So often, at most, somebody's unknown key makes us ask.
_PAUSE_SECONDS: Final = 10.0


class Issuer:
    """Knows with which keys an issuer signs."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = _SECONDS,
    ) -> None:
        """Ask nothing yet.

        Args:
            url: What the issuer calls itself.
            session: How it is asked.
            clock: Says seconds.
            seconds: How long it may take to answer.
        """
        self.url: Final = url
        self._session = session
        self._clock = clock
        self._seconds = seconds
        self._keys: Sequence[jwt.PyJWK] = ()
        self._learnt_at = -math.inf
        self._asked_at = -math.inf
        self._is_away = False
        self._asking = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator["Issuer"]:
        """Keep a connection to an issuer."""
        # No cookies, no proxies, no passwords of the environment; what is packed small stays small.
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        ) as session:
            yield cls(url, session)

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key of that name for that algorithm, or None if the issuer has none.

        Args:
            kid: The name; None is good where there is one key only.
            algorithm: What it signs with.

        Raises:
            Unavailable: The issuer does not say.
        """
        found = self._find(kid, algorithm)
        if found is not None and (self._is_fresh() or self._asking.locked()):
            return found
        async with self._asking:
            # Somebody else may have learnt it meanwhile.
            found = self._find(kid, algorithm)
            is_due = self._clock() - self._asked_at >= _PAUSE_SECONDS
            if is_due and (found is None or not self._is_fresh()):
                await self._learn()
                found = self._find(kid, algorithm)
        if found is None and self._is_away:
            raise errors.Unavailable("The identity provider does not answer.")
        return found

    def _is_fresh(self) -> bool:
        return self._clock() - self._learnt_at < _FRESH_SECONDS

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if self._clock() - self._learnt_at >= _LAST_SECONDS:
            return None
        found = [key for key in self._keys if kid in (None, key.key_id)]
        if len(found) != 1 or found[0].algorithm_name != algorithm:
            return None
        return found[0]

    async def _learn(self) -> None:
        """Ask for the keys; those that are known stay if there is no answer."""
        self._asked_at = self._clock()
        try:
            document = await self._read(self.url.rstrip("/") + _DISCOVERY)
            if document.get("issuer") != self.url:
                raise ValueError("it calls itself something else")
            address = document.get("jwks_uri")
            if not isinstance(address, str) or not _is_as_safe(address, self.url):
                raise ValueError("it does not say where its keys are")
            keys = _usable(await self._read(address))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            self._is_away = True
            told = {"issuer": self.url, "cause": repr(error)}
            _logger.warning("The identity provider does not say its keys", extra=told)
            return
        self._is_away = False
        self._keys, self._learnt_at = keys, self._clock()
        _logger.info("Learnt keys", extra={"issuer": self.url, "keys": len(keys)})

    async def _read(self, url: str) -> dict[str, Any]:
        """Return a JSON object.

        Raises:
            ClientError, TimeoutError, ValueError: There is none, or it is too large.
        """
        async with (
            asyncio.timeout(self._seconds),
            self._session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            text = bytearray()
            async for piece in response.content.iter_any():
                text += piece
                if len(text) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("no JSON object")
        return document


def _is_as_safe(url: str, issuer: str) -> bool:
    """Tell whether what comes from there is as much the issuer's word as it is from the issuer."""
    parts = urlsplit(url)
    return bool(parts.hostname) and parts.scheme in ("https", urlsplit(issuer).scheme)


def _usable(document: dict[str, Any]) -> list[jwt.PyJWK]:
    """Return the keys of a set that can be used; what others are for others is no error.

    Raises:
        ValueError: It is no set of keys.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("no keys")
    keys = []
    for raw in listed:
        # Whoever publishes a private key, by mistake, has signed nothing with it for long.
        if not isinstance(raw, dict) or raw.get("use", "sig") != "sig" or "d" in raw:
            continue
        with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError):
            key = jwt.PyJWK(raw)
            if key.algorithm_name in ALGORITHMS:
                keys.append(key)
    return keys

"""The door to users' URLs: one request, signed, to an address that may be called."""

import asyncio
import contextlib
import contextvars
import logging
import random
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import aiohttp
import aiohttp.abc
import aiohttp.http
import standardwebhooks

from longtask_crds import address_guard, delivery

_logger = logging.getLogger(__name__)
_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
_AT_ONCE = 16
_AT_ONCE_PER_HOST = 2
_ANSWER_READ = 4096
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError)

#: The host that the request of this asyncio task goes to: the connector knows addresses only.
_host: contextvars.ContextVar[str | None] = contextvars.ContextVar("webhook_host", default=None)


class _AddressRefused(OSError):
    """An address that may not be called; an OSError, or aiohttp stumbles over several of them."""


class Sender(Protocol):
    """Sends webhooks."""

    async def send(
        self,
        url: str,
        *,
        webhook_id: str,
        body: bytes,
        keys: Sequence[str],
        headers: dict[str, str],
    ) -> delivery.Try:
        """Send one webhook once, signed with each of the keys; never raises for the receiver."""


class HttpSender:
    """Sends over HTTP; the guard judges each address that is really dialled."""

    def __init__(
        self,
        guard: address_guard.Guard,
        *,
        count: Callable[[str], None] = lambda _: None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> None:
        """Send to whatever a guard lets through.

        Args:
            guard: Judges each URL, and each address that is dialled.
            count: Called for each try with what became of it: `2xx` and the like, or the problem.
            resolver: Finds addresses; by default the system's.
            timeout: For how long a receiver is waited for.
        """
        self._guard = guard
        self._count = count
        self._all = asyncio.Semaphore(_AT_ONCE)
        # Weak: a host is forgotten when nothing is being sent to it.
        self._hosts: weakref.WeakValueDictionary[str, asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )
        self._session = aiohttp.ClientSession(
            # No kept connections: each delivery's address is judged anew.
            connector=aiohttp.TCPConnector(
                socket_factory=self._guarded_socket, resolver=resolver, force_close=True, limit=0
            ),
            timeout=timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(
        self,
        url: str,
        *,
        webhook_id: str,
        body: bytes,
        keys: Sequence[str],
        headers: dict[str, str],
    ) -> delivery.Try:
        """Send one webhook once, signed with each of the keys; never raises for the receiver."""
        try:
            target = self._guard.check_url(url)
        except address_guard.Refused as refused:
            _logger.warning("Refused a webhook's URL", extra={"refusal": refused.reason})
            return self._failed(delivery.Problem.ADDRESS_REFUSED)
        async with self._place(target.host):
            sent_at = datetime.now(UTC)
            signed = headers | {
                "Content-Type": "application/json",
                "User-Agent": "longtask",
                "webhook-id": webhook_id,
                "webhook-timestamp": str(int(sent_at.timestamp())),
                "webhook-signature": " ".join(
                    standardwebhooks.Webhook(key).sign(webhook_id, sent_at, body.decode())
                    for key in keys
                ),
            }
            token = _host.set(target.host)
            try:
                async with self._session.post(
                    target.url, data=body, headers=signed, allow_redirects=False
                ) as answer:
                    # A little is read so that the receiver may finish; none of it is kept, and
                    # whatever is wrong with it, the status code was the answer.
                    with contextlib.suppress(*_FAILURES, aiohttp.http.HttpProcessingError):
                        await answer.content.read(_ANSWER_READ)
                    self._count(f"{answer.status // 100}xx")
                    return _try(code=answer.status, retry_after=_retry_after(answer.headers))
            except (*_FAILURES, ValueError) as error:  # aiohttp sends no header with a line break
                return self._failed(_problem(error))
            finally:
                _host.reset(token)

    def _failed(self, problem: delivery.Problem) -> delivery.Try:
        self._count(problem)
        return _try(problem=problem)

    def _guarded_socket(self, info: Any) -> socket.socket:
        """Make a socket only for an address that may be called: what aiohttp dials passes here."""
        family, kind, protocol, _, address = info
        try:
            self._guard.check_sockaddr(address, host=_host.get())
        except address_guard.Refused as refused:
            _logger.warning("Refused a webhook's address", extra={"refusal": refused.reason})
            # The same words each time: of different errors aiohttp makes one of another class.
            raise _AddressRefused("refused") from refused
        return socket.socket(family=family, type=kind, proto=protocol)

    @contextlib.asynccontextmanager
    async def _place(self, host: str) -> AsyncIterator[None]:
        # The host's place first: those who wait for a slow host must not fill the others' places.
        of_host = self._hosts.get(host)
        if of_host is None:
            of_host = self._hosts[host] = asyncio.Semaphore(_AT_ONCE_PER_HOST)
        async with of_host, self._all:
            yield


def _try(
    *,
    code: int | None = None,
    problem: delivery.Problem | None = None,
    retry_after: timedelta | None = None,
) -> delivery.Try:
    return delivery.Try(
        at=datetime.now(UTC),
        code=code,
        problem=problem,
        retry_after=retry_after,
        jitter=random.uniform(-1, 1),
    )


def _problem(error: Exception) -> delivery.Problem:
    match error:
        case aiohttp.ClientConnectorError(os_error=_AddressRefused()):
            # Of the URL itself there was nothing to refuse, so a name led there.
            return delivery.Problem.RESOLVED_ADDRESS_REFUSED
        case TimeoutError():
            return delivery.Problem.TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return delivery.Problem.NAME_NOT_RESOLVED
        case aiohttp.ClientSSLError():
            return delivery.Problem.TLS_FAILED
        case _:
            return delivery.Problem.CONNECTION_FAILED


def _retry_after(headers: Any) -> timedelta | None:
    """Return what Retry-After asks for: seconds, or a date."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        # Python refuses to read more than 4300 digits, and a day is long enough.
        return timedelta(seconds=min(int(text[:9]), 86_400))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(timedelta(0), parsedate_to_datetime(text) - datetime.now(UTC))
    return None

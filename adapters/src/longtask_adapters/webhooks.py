"""The door to users' URLs: one request, signed, to an address that may be called.

A try goes through three gates, and what it waits for there is none of the receiver's time: its host
(two at once, and a pause after failures), the lookup of its name, then a place among all. So hosts
that are dead or slow, and names that nobody answers for, hold up none but themselves.
"""

import contextlib
import contextvars
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol

import aiohttp
import aiohttp.abc
import aiohttp.http
import standardwebhooks

from longtask_adapters import lookups, places
from longtask_crds import address_guard, delivery

_logger = logging.getLogger(__name__)
_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
#: How many tries may have begun just now; who gets no answer at once makes room for the next.
_AT_ONCE = 16
#: How many may be under way: no more than half of it for one owner.
_UNDER_WAY = 512
#: The same of those whose host failed last time: a dead one takes no place of a healthy one.
_UNDER_WAY_AFTER_FAILURE = 64
_AT_ONCE_PER_HOST = 2
_FAILURES_BEFORE_PAUSE = 5
_PAUSE_SECONDS = 60.0
_ANSWER_READ = 4096
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError)


class _Dialled(NamedTuple):
    """Where the request of this asyncio task goes: the connector knows addresses only."""

    host: str
    addresses: lookups.Addresses


_dialled: contextvars.ContextVar[_Dialled] = contextvars.ContextVar("webhook_dialled")


class _FoundBefore(aiohttp.abc.AbstractResolver):
    """Returns what was looked up before the request had its place."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        return list(_dialled.get().addresses)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _AddressRefused(OSError):
    """An address that may not be called; an OSError, or aiohttp stumbles over several of them."""


class Letter(NamedTuple):
    """What is sent, and the keys that sign it."""

    body: bytes
    keys: Sequence[str]
    media_type: str = "application/json"


#: Writes the letter when it can be sent at once: nothing is kept of those that wait for a place.
Writer = Callable[[], Awaitable[Letter]]


class Sender(Protocol):
    """Sends webhooks."""

    async def send(
        self, url: str, *, owner: str, webhook_id: str, headers: dict[str, str], write: Writer
    ) -> delivery.Try:
        """Send one webhook once, signed with each of the keys; never raises for the receiver.

        Args:
            url: Where it goes.
            owner: Who has it sent: nobody's webhooks delay those of another.
            webhook_id: What the receiver knows it by.
            headers: Further headers.
            write: Writes it; what it raises is raised here.
        """


class HttpSender:
    """Sends over HTTP; the guard judges each address that is really dialled."""

    def __init__(
        self,
        guard: address_guard.Guard,
        *,
        count: Callable[[str], None] = lambda _: None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        """Send to whatever a guard lets through.

        Args:
            guard: Judges each URL, and each address that is dialled.
            count: Called for each try with what became of it: `2xx` and the like, or the problem.
            resolver: Finds addresses; by default the system's.
            timeout: For how long a receiver is waited for.
            pause: For how many seconds a host is left alone that failed five times in a row.
        """
        self._guard = guard
        self._count = count
        self._hosts = places.Hosts(
            at_once=_AT_ONCE_PER_HOST, failures=_FAILURES_BEFORE_PAUSE, pause=pause
        )
        self._lookups = lookups.Lookups(resolver)
        self._places = places.Turns(_UNDER_WAY, young=_AT_ONCE)
        self._after_failure = places.Turns(_UNDER_WAY_AFTER_FAILURE)
        self._session = aiohttp.ClientSession(
            # No kept connections: each delivery's address is judged anew.
            connector=aiohttp.TCPConnector(
                socket_factory=self._guarded_socket,
                resolver=_FoundBefore(),
                use_dns_cache=False,
                force_close=True,
                limit=0,
            ),
            timeout=timeout,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_ANSWER_READ,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._lookups.close()
        await self._session.close()

    async def send(
        self, url: str, *, owner: str, webhook_id: str, headers: dict[str, str], write: Writer
    ) -> delivery.Try:
        """Send one webhook once, signed with each of the keys; never raises for the receiver."""
        try:
            target = self._guard.check_url(url)
        except address_guard.Refused as refused:
            _logger.warning("Refused a webhook's URL", extra={"refusal": refused.reason})
            return self._failed(delivery.Problem.ADDRESS_REFUSED)
        async with (
            self._hosts.turn(owner, f"{target.host}:{target.port}") as host,
            self._after_failure.turn(owner) if host.failures else contextlib.nullcontext(),
        ):
            made = await self._try(target, owner, webhook_id, headers, write)
            self._hosts.note(host, failed=_speaks_of_the_host(made))
            return made

    async def _try(
        self,
        target: address_guard.Target,
        owner: str,
        webhook_id: str,
        headers: dict[str, str],
        write: Writer,
    ) -> delivery.Try:
        try:
            addresses = await self._lookups.find(target.host, target.port, owner=owner)
        except (OSError, ValueError):  # Python encodes no label that is too long for DNS
            return self._failed(delivery.Problem.NAME_NOT_RESOLVED)
        async with self._places.turn(owner):
            letter = await write()
            token = _dialled.set(_Dialled(target.host, addresses))
            try:
                return await self._post(target.url, webhook_id, headers, letter)
            finally:
                _dialled.reset(token)

    async def _post(
        self, url: str, webhook_id: str, headers: dict[str, str], letter: Letter
    ) -> delivery.Try:
        sent_at, began = datetime.now(UTC), time.monotonic()
        signed = headers | {
            "Content-Type": letter.media_type,
            "User-Agent": "longtask",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": " ".join(
                standardwebhooks.Webhook(key).sign(webhook_id, sent_at, letter.body.decode())
                for key in letter.keys
            ),
        }
        try:
            async with self._session.post(
                url, data=letter.body, headers=signed, allow_redirects=False
            ) as answer:
                seconds = time.monotonic() - began
                # A little is read so that the receiver may finish; none of it is kept, and
                # whatever is wrong with it, the status code was the answer.
                with contextlib.suppress(*_FAILURES, aiohttp.http.HttpProcessingError):
                    await answer.content.read(_ANSWER_READ)
                self._count(f"{answer.status // 100}xx")
                return _try(
                    code=answer.status,
                    retry_after=_retry_after(answer.headers),
                    seconds=seconds,
                )
        except (*_FAILURES, ValueError) as error:  # aiohttp sends no header with a line break
            return self._failed(_problem(error), seconds=time.monotonic() - began)

    def _failed(self, problem: delivery.Problem, *, seconds: float = 0.0) -> delivery.Try:
        self._count(problem)
        return _try(problem=problem, seconds=seconds)

    def _guarded_socket(self, info: Any) -> socket.socket:
        """Make a socket only for an address that may be called: what aiohttp dials passes here."""
        family, kind, protocol, _, address = info
        try:
            self._guard.check_sockaddr(address, host=_dialled.get().host)
        except address_guard.Refused as refused:
            _logger.warning("Refused a webhook's address", extra={"refusal": refused.reason})
            # The same words each time: of different errors aiohttp makes one of another class.
            raise _AddressRefused("refused") from refused
        return socket.socket(family=family, type=kind, proto=protocol)


def _speaks_of_the_host(made: delivery.Try) -> bool:
    """Tell whether a try says that the host is not well: of a path that is wrong none does."""
    return made.problem is not None or made.code == 429 or (made.code or 0) >= 500


def _try(
    *,
    code: int | None = None,
    problem: delivery.Problem | None = None,
    retry_after: timedelta | None = None,
    seconds: float = 0.0,
) -> delivery.Try:
    return delivery.Try(
        at=datetime.now(UTC),
        code=code,
        problem=problem,
        retry_after=retry_after,
        seconds=seconds,
        jitter=random.uniform(-1, 1),
    )


def _problem(error: Exception) -> delivery.Problem:
    match error:
        case aiohttp.ClientConnectorError(os_error=_AddressRefused()):
            # Of the URL itself there was nothing to refuse, so a name led there.
            return delivery.Problem.RESOLVED_ADDRESS_REFUSED
        case TimeoutError():
            return delivery.Problem.TIMEOUT
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

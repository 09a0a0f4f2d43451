"""The seam towards Kubernetes: a request, its answer, and who carries them. No meaning yet."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import yarl

from longtask_adapters.kube import deep_json, errors
from longtask_adapters.kube.accounts import Account
from longtask_crds import json_values

_logger = logging.getLogger(__name__)

_GOODBYE = 0.1  #: seconds
#: For so many seconds a connection that nobody uses is kept: a handshake costs both sides more than
#: the request. The API server closes it after 90.
_KEPT = 60.0
#: Of a watch, one object: etcd takes 1.5 MiB.
_LONGEST_LINE = 2**21


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds; None is for ever."""

    total: float | None = 10.0
    connect: float | None = 5.0
    silence: float | None = None  #: between two pieces of the answer


@dataclasses.dataclass(frozen=True)
class Request:
    """One request to the API server."""

    method: str
    path: str  #: quoted, without the query
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    json: Any = None  #: the body, as what it says; None for none
    timeouts: Timeouts = Timeouts()

    @property
    def target(self) -> str:
        """Return the path with its query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Response(Protocol):
    """An answer whose body is still to be read, in one of four ways, once."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""

    @property
    def size(self) -> int:
        """How many bytes of the body were read so far; 0 where nothing was written down."""

    async def read(self) -> bytes:
        """Return the whole body; raise Unavailable if it breaks off, as the others do."""

    async def json(self) -> Any:
        """Return what the body says; raise ValueError or RecursionError if it is no JSON."""

    def lines(self) -> AsyncIterator[bytes]:
        """Yield the body line by line, as the lines come."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""


class Transport(Protocol):
    """Carries requests to an API server."""

    def open(self, request: Request) -> contextlib.AbstractAsyncContextManager[Response]:
        """Send a request and let its answer be read; raise Unavailable if there is none."""


class KubernetesTransport:
    """Carries them over HTTP, with the account that the process has."""

    def __init__(self, account: Account, session: aiohttp.ClientSession) -> None:
        self._account = account
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, *, kubeconfig: Path | None = None, pool_size: int = 100
    ) -> "AsyncIterator[KubernetesTransport]":
        """Find the API server; the connections are closed at the end.

        Args:
            kubeconfig: The file that names it; without one the pod's own account is used, or
                outside of a cluster what kubectl would use.
            pool_size: How many connections there may be at once. Each watch and each followed log
                holds one for long.

        Raises:
            ClusterError: Nothing says where an API server is.
        """
        async with Account.find(kubeconfig) as account:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=pool_size, ssl=account.tls, keepalive_timeout=_KEPT
                ),
                # Nothing of the environment, nor of an answer, has a say in whom we ask and how.
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_LONGEST_LINE,
                # Compressed answers cost both sides more than they save inside a cluster.
                headers={"Accept-Encoding": "identity"},
            )
            async with session:
                yield cls(account, session)
            # A watch that was cut off closes its TLS connection a moment later: it needs the loop.
            await asyncio.sleep(_GOODBYE)

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        """Send a request and let its answer be read; raise Unavailable if there is none."""
        body = None
        if request.json is not None:
            # Half of a surrogate pair is for the API server to refuse.
            body = json_values.compact(request.json).encode(errors="surrogatepass")
        timeout = aiohttp.ClientTimeout(
            total=request.timeouts.total,
            sock_connect=request.timeouts.connect,
            sock_read=request.timeouts.silence,
        )
        with _translated(request):
            # Asked anew each time: a projected token is replaced while we run.
            authorization = await self._account.authorization()
            response = await self._session.request(
                request.method,
                yarl.URL(self._account.host + request.target, encoded=True),
                headers={**request.headers, **authorization},
                data=body,
                timeout=timeout,
                allow_redirects=False,
            )
        try:
            yield _HttpResponse(request, response)
        finally:
            # An answer that was read has given its connection back; of any other it is closed.
            response.close()


class _HttpResponse:
    def __init__(self, request: Request, response: aiohttp.ClientResponse) -> None:
        self._request = request
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.size = 0

    async def read(self) -> bytes:
        with _translated(self._request):
            body = await self._response.read()
        self.size = len(body)
        return body

    async def json(self) -> Any:
        return deep_json.loads(await self.read())

    async def lines(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            try:
                async for line in self._response.content:
                    yield line
            except ValueError as error:  # it is longer than any object may be
                raise errors.Unavailable(f"{self._request.path}: an endless line") from error

    async def chunks(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            async for chunk in self._response.content.iter_any():
                yield chunk


@contextlib.contextmanager
def _translated(request: Request) -> Iterator[None]:
    try:
        yield
    # An OSError may say, too, that the account's token cannot be read.
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        what = f"{request.method} {request.path}: {type(error).__name__}"
        _logger.debug("Could not reach the API server", extra={"cause": what}, exc_info=True)
        raise errors.Unavailable(what) from error

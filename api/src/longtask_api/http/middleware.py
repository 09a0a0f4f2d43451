"""What stands before every endpoint: size, headers, and a last resort for the unforeseen."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping

from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtask_api import errors, versions
from longtask_api.http import answers, openapi, problems

_logger = logging.getLogger(__name__)

BODY_LIMIT = 256 * 1024

#: So much is let go by of a body that is too large, or twice what would be taken.
_PATIENCE_BYTES = 4 * 1024 * 1024
_PATIENCE_SECONDS = 30.0

#: For answers that are no pages; `/docs` sets its own.
_NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"


def harden(app: FastAPI, *, limits: Mapping[str, int] | None = None) -> None:
    """Put before the application what every port needs; what is added last comes first.

    Args:
        app: The application.
        limits: How many bytes a body may have at paths where it may have more than elsewhere.
    """
    problems.install(app)
    app.add_middleware(LastResort)
    app.add_middleware(Retirement)
    app.add_middleware(BodyLimit, limits=limits or {})
    app.add_middleware(Validators)
    app.add_middleware(HeadAsGet)
    app.add_middleware(SecurityHeaders)


class Published:
    """Tells the application under which path it is, whether a proxy takes that off or not.

    uvicorn's own setting would put it before a path that has it already.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app({**scope, "root_path": self._prefix}, receive, send)


class KnownNames:
    """Answers to the names that the API is known by, and to probes, which come by an address.

    A page may let its own name lead here, and then read what it likes as if it were ours.
    """

    def __init__(
        self, app: ASGIApp, is_known: Callable[[str], bool], probes: Collection[str]
    ) -> None:
        self._app = app
        self._is_known = is_known
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it is for us."""
        if scope["type"] == "http" and get_route_path(scope) not in self._probes:
            host = Headers(scope=scope).get("Host", "")
            if not self._is_known(host):
                wrong = errors.Misdirected("Ask by the name that the administrator has set.")
                await problems.response(wrong, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Counts the body's bytes as they come, announced or chunked, before anything reads them."""

    def __init__(self, app: ASGIApp, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and stop it where it grows too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        limit = self._limits.get(get_route_path(scope), BODY_LIMIT)
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            # Who waits to be asked for the body sends none.
            if b"expect" not in headers:
                await _let_go_by(receive, most=2 * limit)
            await problems.response(_too_large(limit), path)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                if message.get("more_body", False):
                    await _let_go_by(receive, most=limit)
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


async def _let_go_by(receive: Receive, *, most: int) -> None:
    """Read what is too large to its end, if that is near.

    A client that still sends would find its connection reset, and not the answer that says why.
    """
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while seen <= max(most, _PATIENCE_BYTES):
                message = await receive()
                seen += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"The body may have {limit} bytes.")


class Validators:
    """Gives each JSON that is read an ETag, and leaves out what the client has already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at its answer."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("If-None-Match")
        start: Message | None = None

        async def looked_at(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_json(message):
                start = message  # its headers follow from the body
                return
            if start is not None:
                message, first = _with_etag(start, message, known), message
                start = None
                await send(message)
                if message["status"] == 304:
                    first = {"type": "http.response.body"}
                await send(first)
                return
            await send(message)

        await self._app(scope, receive, looked_at)


def _is_json(start: Message) -> bool:
    media_type = Headers(raw=start["headers"]).get("Content-Type", "")
    return start["status"] == 200 and media_type.partition(";")[0] == "application/json"


def _with_etag(start: Message, body: Message, known: str | None) -> Message:
    """Return the beginning of an answer whose body is that, or of the one that says it is known."""
    headers = MutableHeaders(raw=start["headers"])
    if "ETag" not in headers:
        if body.get("more_body", False):
            return start
        headers["ETag"] = f'"{answers.sum_of(body.get("body", b""))}"'
    if known is None or not answers.is_known(known, headers["ETag"]):
        return start
    kept = [(key, value) for key, value in headers.raw if not key.startswith(b"content-")]
    return {**start, "status": 304, "headers": kept}


class HeadAsGet:
    """Answers HEAD as GET is answered, wherever that is, and leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun = asyncio.Event()

        async def gone() -> Message:
            # A log that is followed would go on for as long as somebody is there.
            await begun.wait()
            return {"type": "http.disconnect"}

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                begun.set()

        # A GET may wait for a task: who asks for the head alone is answered now.
        headers = [(name, value) for name, value in scope["headers"] if name != b"prefer"]
        await self._app({**scope, "method": "GET", "headers": headers}, gone, without_body)


class SecurityHeaders:
    """Tells browsers to take nothing for what it is not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Content-Security-Policy", _NOTHING)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class Versions:
    """Tells by a header which state has what the request wrote; see `versions`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the header to its answer."""
        known = versions.begin()

        async def with_header(message: Message) -> None:
            if known and message["type"] == "http.response.start":
                MutableHeaders(scope=message)[versions.HEADER] = versions.text(known)
            await send(message)

        await self._app(scope, receive, with_header)


class Retirement:
    """Says with each answer of a deprecated route since when it is that, and when it goes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # By now it is known which route it was.
                MutableHeaders(scope=message).update(openapi.retirement(scope.get("route")))
            await send(message)

        await self._app(scope, receive, with_headers)


class LastResort:
    """Turns what nobody foresaw into a plain 500: logged here, not told to the client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            _logger.exception("Failed to answer")
            await problems.response(errors.ApiError(), scope["path"])(scope, receive, send)

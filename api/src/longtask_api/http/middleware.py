"""What stands before every endpoint: size, headers, and a last resort for the unforeseen."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtask_api import errors, versions
from longtask_api.http import problems

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
    app.add_middleware(BodyLimit, limits=limits or {})
    app.add_middleware(SecurityHeaders)


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
        limit = self._limits.get(path, BODY_LIMIT)
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

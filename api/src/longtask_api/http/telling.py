"""What is told of each request: one line of the log, and a span where traces are collected."""

import logging
import time

from prometheus_fastapi_instrumentator import routing
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtask_adapters import logs, tracing
from longtask_crds import traces

_logger = logging.getLogger(__name__)

#: What changes nothing is told of where somebody looks for everything.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Telling:
    """Tells who asked for what, and what became of it.

    What is found out inside, who asks and for which task, is said by `logs.add`. The header
    `traceparent` names our own span from here on, if there is one; `tracestate` stays as it came.
    """

    def __init__(
        self, app: ASGIApp, tracer: tracing.Tracer, level_of_changes: int = logging.INFO
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._level_of_changes = level_of_changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell of it when it is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        given = Headers(scope=scope)
        state = ",".join(given.getlist(traces.STATE_HEADER))
        trace = traces.read(given.get(traces.HEADER), state)
        span = self._tracer.begin(method, parent=None if trace is None else trace.parent)
        headers = MutableHeaders(scope=scope)
        # What cannot be used goes no further.
        del headers[traces.HEADER]
        del headers[traces.STATE_HEADER]
        if trace is not None and trace.state is not None:
            headers[traces.STATE_HEADER] = trace.state
        told: dict[str, object] = {}
        if span.traceparent is not None:
            headers[traces.HEADER] = span.traceparent
            told["trace_id"] = traces.trace_id(span.traceparent)
        status, began = 500, time.monotonic()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with logs.about(**told) as said:
            try:
                await self._app(scope, receive, noting)
            finally:
                # By the same words as in the metrics.
                route = routing.get_route_name(Request(scope), False) or ""
                request = {"method": method, "route": route, "status": status}
                took = {"milliseconds": round((time.monotonic() - began) * 1000, 1)}
                level = logging.DEBUG if method in _READING else self._level_of_changes
                _logger.log(level, "Answered", extra=request | took)
                attributes: dict[str, tracing.Value] = {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status,
                }
                for name, word in (("longtask.task", "task"), ("longtask.uid", "uid")):
                    if word in said:
                        attributes[name] = str(said[word])
                span.end(f"{method} {route}", attributes, failed=status >= 500)

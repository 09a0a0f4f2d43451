"""Spans of what we do, for whoever collects traces; without the extra `otel`, nothing.

A task belongs to the trace that it was handed over in. Nothing here is asked for by anything else:
what is lost is lost to those who look at traces alone.
"""

import dataclasses
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

_logger = logging.getLogger(__name__)

Value = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Span:
    """Something that is over."""

    name: str
    parent: str  #: a traceparent
    start: datetime
    end: datetime
    attributes: Mapping[str, Value]
    failed: bool = False


class Open(Protocol):
    """A span of something that goes on."""

    @property
    def traceparent(self) -> str | None:
        """Return what those who are called from here are told."""

    def end(self, name: str, attributes: Mapping[str, Value], *, failed: bool = False) -> None:
        """Say what it was, now that it is over."""


class Tracer(Protocol):
    """Takes spans."""

    def begin(self, name: str, *, parent: str | None) -> Open:
        """Begin a span, of a new trace if there is no parent."""

    def record(self, span: Span) -> None:
        """Take a span that is over."""

    def close(self) -> None:
        """Send what is left; it may take some seconds."""


@dataclasses.dataclass(frozen=True)
class _Passed:
    """No span: what came goes on as it is."""

    traceparent: str | None

    def end(self, name: str, attributes: Mapping[str, Value], *, failed: bool = False) -> None:
        """Say nothing."""


class NoTracer:
    """Takes spans, and drops them."""

    def begin(self, name: str, *, parent: str | None) -> Open:
        """Return what passes the parent on."""
        return _Passed(parent)

    def record(self, span: Span) -> None:
        """Drop it."""

    def close(self) -> None:
        """Send nothing."""


def tracer_of(service: str, endpoint: str) -> Tracer:
    """Return what sends spans over OTLP/HTTP if there is an endpoint, as the SDK's variables say.

    Args:
        service: The name that the spans are from.
        endpoint: Where they go, as in OTEL_EXPORTER_OTLP_ENDPOINT; nowhere if it is empty.
    """
    if not endpoint:
        return NoTracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _logger.warning("Sending no traces: the extra `otel` is not installed")
        return NoTracer()
    # The exporter reads the endpoint by itself, with all that goes with it: headers, certificates.
    return OpenTelemetry(service, BatchSpanProcessor(OTLPSpanExporter()))


class OpenTelemetry:
    """Hands spans to OpenTelemetry's SDK, which is loaded here and nowhere else."""

    def __init__(self, service: str, processor: Any) -> None:
        """Send what the processor, one of the SDK's, is handed."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        # Its own end at the process's would come after ours, and wait again.
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("longtask")

    def begin(self, name: str, *, parent: str | None) -> Open:
        """Begin a span."""
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(name, context=_context(parent), kind=SpanKind.SERVER)
        return _Begun(span)

    def record(self, span: Span) -> None:
        """Take a span that is over."""
        begun = self._tracer.start_span(
            span.name,
            context=_context(span.parent),
            attributes=span.attributes,
            start_time=_nanoseconds(span.start),
        )
        _end(begun, failed=span.failed, at=_nanoseconds(span.end))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class _Begun:
    def __init__(self, span: Any) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """Return what names the span."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, name: str, attributes: Mapping[str, Value], *, failed: bool = False) -> None:
        """End the span."""
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        _end(self._span, failed=failed, at=None)


def _end(span: Any, *, failed: bool, at: int | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(at)


def _context(parent: str | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(
        {"traceparent": parent} if parent else {}, context=Context()
    )


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000

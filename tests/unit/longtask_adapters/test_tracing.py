"""Spans by OpenTelemetry's SDK: in memory, and over HTTP to a collector of our own."""

import http.server
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from longtask_adapters import tracing
from longtask_crds import traces
from longtask_crds.testing import NOW

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def collected() -> Iterator[tuple[tracing.Tracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    tracer = tracing.OpenTelemetry("test", SimpleSpanProcessor(exporter))
    yield tracer, exporter
    tracer.close()


def test_a_span_that_is_over(collected: tuple[tracing.Tracer, InMemorySpanExporter]) -> None:
    tracer, exporter = collected
    end = NOW + timedelta(seconds=7)
    tracer.record(tracing.Span("attempt", PARENT, NOW, end, {"longtask.uid": "u"}, failed=True))
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert (span.name, f"{span.context.trace_id:032x}") == ("attempt", TRACE)
    assert span.end_time is not None
    assert span.start_time == int(NOW.timestamp()) * 10**9
    assert span.end_time - span.start_time == 7 * 10**9
    assert not span.status.is_ok
    assert dict(span.attributes or {}) == {"longtask.uid": "u"}


def test_what_is_called_from_a_span_gets_its_name(
    collected: tuple[tracing.Tracer, InMemorySpanExporter],
) -> None:
    tracer, exporter = collected
    begun = tracer.begin("POST", parent=PARENT)
    assert begun.traceparent is not None
    tracer.record(tracing.Span("attempt", begun.traceparent, NOW, NOW, {}))
    begun.end("POST /tasks", {"http.response.status_code": 202})
    inner, outer = exporter.get_finished_spans()
    assert inner.parent is not None
    assert outer.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.parent.span_id == 0x00F067AA0BA902B7
    assert (outer.name, outer.status.is_ok) == ("POST /tasks", True)


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [
        pytest.param(None, True, id="a-trace-begins-here"),
        pytest.param(PARENT, True, id="one-that-is-collected"),
        pytest.param(PARENT[:-1] + "0", False, id="one-that-is-not"),
    ],
)
def test_who_is_asked_to_collect_decides(
    collected: tuple[tracing.Tracer, InMemorySpanExporter], parent: str | None, sampled: bool
) -> None:
    tracer, exporter = collected
    begun = tracer.begin("GET", parent=parent)
    assert traces.parse(begun.traceparent) == begun.traceparent
    begun.end("GET", {})
    assert len(exporter.get_finished_spans()) == sampled


def test_without_an_endpoint_what_came_is_passed_on() -> None:
    tracer = tracing.tracer_of("test", "")
    begun = tracer.begin("POST", parent=PARENT)
    begun.end("POST", {})
    tracer.record(tracing.Span("attempt", PARENT, NOW, NOW, {}))
    tracer.close()
    assert begun.traceparent == PARENT
    assert tracer.begin("POST", parent=None).traceparent is None


def test_spans_are_sent_over_otlp(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(body if self.path == "/v1/traces" else b"")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracer = tracing.tracer_of("longtask-test", endpoint)
        tracer.record(tracing.Span("attempt", PARENT, NOW, NOW, {"longtask.uid": "u"}))
        tracer.close()
        server.shutdown()
    (of_resource,) = ExportTraceServiceRequest.FromString(got[0]).resource_spans
    (scope,) = of_resource.scope_spans
    (span,) = scope.spans
    assert (span.name, span.trace_id.hex()) == ("attempt", TRACE)
    services = [a for a in of_resource.resource.attributes if a.key == "service.name"]
    assert [one.value.string_value for one in services] == ["longtask-test"]

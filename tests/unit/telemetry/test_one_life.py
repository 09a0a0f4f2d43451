"""One task's life from its request to its callback: in the logs of both, by uid, and as a trace."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api_support import UNLIMITED, eventually
from longtask_adapters import logs, tracing
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.__main__ import add_request_id
from longtask_crds import names, signing_keys, traces
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, NOW, a_queue
from longtask_operator.testing import KEY, URL, Operator
from longtask_operator.work_queue import WorkQueue

TOKEN = "correct-horse"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
ORDER = {"name": "report", "container": {"image": "x"}, "callback": {"url": URL}}

Line = dict[str, Any]


@pytest.fixture(autouse=True)
def _root_logger_is_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.add(a_queue(maxRunning=1))
    keys = {signing_keys.DEFAULT_OWNER: KEY}
    made.add_secret(signing_keys.KEYS_SECRET, keys, namespace="longtask")
    return made


@pytest.fixture
def collected() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(collected: InMemorySpanExporter) -> Iterator[tracing.Tracer]:
    made = tracing.OpenTelemetry("test", SimpleSpanProcessor(collected))
    yield made
    made.close()


@pytest.fixture
async def client(
    kubernetes: MemoryKubernetes, tmp_path: Path, tracer: tracing.Tracer
) -> AsyncIterator[httpx.AsyncClient]:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    configured = settings.Settings(token_file=token_file, data_directory=tmp_path, **UNLIMITED)
    async with wiring.running(kubernetes, configured, clock=lambda: NOW, tracer=tracer) as services:
        await services.health.synced()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as made:
            yield made


async def run_to_the_end(operator: Operator) -> None:
    """Work on the task as the work queue does, until its callback was taken."""
    key = ObjectKey(NAMESPACE, "report")

    async def look(_: ObjectKey) -> None:
        await operator.look()

    async def work() -> None:
        queue = WorkQueue(look, told=operator.mirror.told)
        queue.add(key)
        while queue.depth():  # noqa: ASYNC110 - nobody tells when it is empty
            await asyncio.sleep(0)
        await queue.close()

    await operator.hear()
    await work()
    pod = operator.kubernetes.make_pod(operator.job)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod, 0, "7")
    await operator.hear()
    await work()


def told(capsys: pytest.CaptureFixture[str]) -> list[Line]:
    logging.getLogger().handlers[0].flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_tasks_life_is_found_by_its_uid(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", add_request_id, quiet=["httpx"])
    answer = await client.post("/api/v1/tasks", json=ORDER, headers={"traceparent": PARENT})
    assert answer.status_code == 202
    uid = kubernetes.stored(names.LONGTASKS, "report")["metadata"]["uid"]
    await run_to_the_end(Operator(kubernetes=kubernetes))

    async def is_known() -> bool:
        log = await client.get("/api/v1/tasks/report/callbacks")
        return log.json().get("state") == "Delivered"

    await eventually(is_known)
    await client.post("/api/v1/tasks/report/callbacks:redeliver")
    await client.delete("/api/v1/tasks/report")
    lines = told(capsys)
    life = [line for line in lines if line.get("uid") == uid]
    assert [line["message"] for line in life if line["message"] != "Answered"] == [
        "Created task",
        "Audit",
        "Queued",
        "Claimed",
        "Started",
        "Ended attempt",
        "Finished",
        "Called back",
        "Asked for another delivery",
        "Audit",
        "Deleted task",
        "Audit",
    ]
    # Each line about the task says so in full, and those of the API by which request they are.
    about = [line for line in lines if "report" in str(line.get("task"))]
    assert about == life
    assert {line["task"] for line in life} == {f"{NAMESPACE}/report"}
    assert {line["trace_id"] for line in life} == {TRACE}
    of_api = [line for line in life if line["logger"].startswith("longtask_api")]
    assert all(line["request_id"] for line in of_api)
    answered = [line for line in of_api if line["message"] == "Answered"]
    assert [(line["method"], line["route"], line["status"]) for line in answered] == [
        ("POST", "/api/v1/tasks", 202),
        ("POST", "/api/v1/tasks/{task_id}/callbacks:redeliver", 202),
        ("DELETE", "/api/v1/tasks/{task_id}", 204),
    ]
    assert {line["caller"] for line in answered} == {"installation"}
    assert all(line["milliseconds"] >= 0 for line in answered)


async def test_a_tasks_life_is_a_trace(
    kubernetes: MemoryKubernetes,
    client: httpx.AsyncClient,
    tracer: tracing.Tracer,
    collected: InMemorySpanExporter,
) -> None:
    await client.post("/api/v1/tasks", json=ORDER, headers={"traceparent": PARENT})
    operator = Operator(kubernetes=kubernetes, tracer=tracer)
    await run_to_the_end(operator)
    spans = {span.name: span for span in collected.get_finished_spans()}
    request = spans["POST /api/v1/tasks"]
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    for name in ("attempt", "callback"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == request.context.span_id
        assert spans[name].status.is_ok
    # What the program and the receiver get is what the task has.
    stored = kubernetes.stored(names.LONGTASKS, "report")
    annotation = stored["metadata"]["annotations"][names.TRACEPARENT_ANNOTATION]
    assert annotation == f"00-{TRACE}-{request.context.span_id:016x}-01"
    (job,) = kubernetes.objects("jobs").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "TRACEPARENT", "value": annotation} in container["env"]
    (sent,) = operator.sender.sent
    assert sent.headers[traces.HEADER] == annotation


async def test_a_task_without_a_trace_begins_none(
    kubernetes: MemoryKubernetes, tracer: tracing.Tracer, collected: InMemorySpanExporter
) -> None:
    operator = Operator(kubernetes=kubernetes, tracer=tracer)
    await operator.submit()
    await operator.run_to_the_end(1, "no")
    (job,) = kubernetes.objects("jobs").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert "TRACEPARENT" not in {variable["name"] for variable in container["env"]}
    assert traces.HEADER not in operator.sender.sent[0].headers
    assert collected.get_finished_spans() == ()

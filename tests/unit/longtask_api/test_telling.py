"""What is told of a request, and which trace a task gets."""

import logging
from typing import Any

import httpx
import pytest

from api_support import eventually, put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_crds import names

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
ORDER = {"name": "report", "type": "fibonacci", "input": {"n": 1}}


def answered(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, int]]:
    return [
        (record.levelname, *(getattr(record, word) for word in ("method", "route", "status")))
        for record in caplog.records
        if record.message == "Answered"
    ]


def annotation(
    kubernetes: MemoryKubernetes, name: str, which: str = names.TRACEPARENT_ANNOTATION
) -> Any:
    meta = kubernetes.stored(names.LONGTASKS, name)["metadata"]
    return meta.get("annotations", {}).get(which)


async def test_changes_are_told_and_reads_to_who_looks_for_everything(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "longtask_api")
    await client.post("/api/v1/tasks", json=ORDER)
    await client.get("/api/v1/tasks/report")
    await client.delete("/api/v1/tasks/nobody")
    await client.post("/api/v1/nothing")
    assert answered(caplog) == [
        ("INFO", "POST", "/api/v1/tasks", 202),
        ("DEBUG", "GET", "/api/v1/tasks/{task_id}", 200),
        ("INFO", "DELETE", "/api/v1/tasks/{task_id}", 404),
        ("INFO", "POST", "", 404),
    ]


async def test_what_nobody_foresaw_is_told_as_it_was_answered(
    services: wiring.Services, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    object.__setattr__(services, "keys", None)
    caplog.set_level(logging.DEBUG, "longtask_api")
    await client.post("/api/v1/me/callback-key:rotate")
    assert [status for *_, status in answered(caplog)] == [500]


async def test_reports_of_programs_are_no_news(
    runner: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "longtask_api")
    await runner.post("/runner/v1/progress", json={"percent": 1})
    assert answered(caplog) == [("DEBUG", "POST", "/runner/v1/progress", 401)]


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        pytest.param(PARENT, PARENT, id="as-it-came"),
        pytest.param(f"cc{PARENT[2:]}-more", PARENT, id="of-a-later-version"),
        pytest.param("nonsense", None, id="what-cannot-be-read-is-ignored"),
        pytest.param(None, None, id="none"),
    ],
)
async def test_a_task_gets_the_trace_of_its_request(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, header: str | None, kept: str | None
) -> None:
    headers = {"traceparent": header} if header else {}
    answer = await client.post("/api/v1/tasks", json=ORDER, headers=headers)
    assert answer.status_code == 202
    assert annotation(kubernetes, "report") == kept


async def test_what_others_say_of_the_trace_goes_with_it(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    given = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2,")]
    orders = {"items": [ORDER | {"name": name} for name in ("one", "two")]}
    assert (await client.post("/api/v1/tasks", json=ORDER, headers=given)).status_code == 202
    answer = await client.post("/api/v1/tasks:batch", json=orders, headers=given)
    assert answer.json()["accepted"] == 2
    for name in ("report", "one", "two"):
        assert annotation(kubernetes, name) == PARENT
        assert annotation(kubernetes, name, names.TRACESTATE_ANNOTATION) == "a=1,b=2"
    without = {"tracestate": "a=1"}
    other = ORDER | {"name": "other"}
    assert (await client.post("/api/v1/tasks", json=other, headers=without)).status_code == 202
    assert annotation(kubernetes, "other", names.TRACESTATE_ANNOTATION) is None


async def test_a_task_that_is_done_again_gets_the_trace_of_that_request(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_ended_task(kubernetes, "old")
    meta = {"annotations": {names.TRACEPARENT_ANNOTATION: PARENT.replace("4bf9", "aaaa")}}
    put_task(kubernetes, "old", metadata=meta)
    for headers, kept in (({"traceparent": PARENT}, PARENT), ({}, None)):
        answer = await client.post("/api/v1/tasks/old:retry", headers=headers)
        assert answer.status_code == 202, answer.text
        assert annotation(kubernetes, answer.json()["id"]) == kept


async def test_the_same_request_in_another_trace_is_the_same_request(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    for header, status in ((PARENT, 202), (PARENT.replace("4bf9", "aaaa"), 200)):
        answer = await client.post(
            "/api/v1/tasks", json=ORDER | {"idempotencyKey": "k"}, headers={"traceparent": header}
        )
        assert answer.status_code == status
    assert annotation(kubernetes, "report") == PARENT


async def test_transactions_of_the_database_are_measured(
    services: wiring.Services, client: httpx.AsyncClient
) -> None:
    def value(name: str, **labels: str) -> float:
        found = services.metrics.registry.get_sample_value(f"longtask_api_database_{name}", labels)
        assert found is not None
        return found

    before = value("transaction_seconds_count", kind="read")
    assert (await client.get("/api/v1/tasks", params={"archived": True})).status_code == 200
    assert value("transaction_seconds_count", kind="read") > before
    assert value("transaction_seconds_count", kind="write") >= 1  # the tables were made

    async def is_idle() -> bool:
        return value("connections", state="in_use") == 0 and value("connections", state="idle") >= 1

    # The loops of the services read as well, at any moment.
    await eventually(is_idle)

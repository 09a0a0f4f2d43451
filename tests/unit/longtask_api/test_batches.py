"""Many tasks in one request: handed over, or cancelled."""

import asyncio
from typing import Any

import httpx
import pytest

from api_support import put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import Refusal
from longtask_api import wiring
from longtask_api.services.tasks import taking
from longtask_crds import names

ORDER = {"type": "fibonacci", "input": {"n": 100}}
BATCH = "/api/v1/tasks:batch"
CANCEL = "/api/v1/tasks:cancel"


def stored(kubernetes: MemoryKubernetes) -> list[str]:
    return sorted(key.name for key in kubernetes.objects(names.LONGTASKS))


async def test_each_order_is_answered_for_itself(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    orders: list[Any] = [
        ORDER | {"name": "a"},
        ORDER | {"priority": "high"},
        ORDER | {"name": "a"},
        "no order",
        ORDER | {"name": "b", "labels": {"project": "alpha"}},
    ]
    answer = await client.post(BATCH, json={"items": orders})
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert answer.json()["accepted"] == 2
    # Which of the two that want one name gets it is not said.
    assert sorted((items[0]["status"], items[2]["status"])) == [202, 409]
    assert [item["status"] for item in items[1::2]] == [422, 422]
    assert [error["pointer"] for error in items[1]["problem"]["errors"]] == ["/priority"]
    assert (items[4]["task"]["id"], items[4]["problem"]) == ("b", None)
    assert stored(kubernetes) == ["a", "b"]


async def test_a_batch_waits_once_for_an_archive_that_hangs(
    client: httpx.AsyncClient, services: wiring.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def hang(*_: Any, **__: Any) -> None:
        asked.append(1)
        await asyncio.Event().wait()

    monkeypatch.setattr(services.resources.archive, "find", hang)
    monkeypatch.setattr(taking, "_ARCHIVE_SECONDS", 0.05)
    batch = {"items": [ORDER] * 40}
    answer = await client.post(BATCH, json=batch, headers={"Idempotency-Key": "k"})
    assert answer.json()["accepted"] == 40
    assert len(asked) <= 8  # as many as are looked up at once


async def test_a_batch_that_is_sent_again_makes_no_second_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    def lose(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "after") and len(stored(kubernetes)) == 2:
            raise Refusal(504, "Timeout", "the answer is lost")

    kubernetes.interrupt = lose
    keyed = {"Idempotency-Key": "k"}
    batch = {"items": [ORDER, ORDER, ORDER | {"idempotencyKey": "its own"}]}
    first = (await client.post(BATCH, json=batch, headers=keyed)).json()
    assert sorted(item["status"] for item in first["items"]) == [202, 202, 503]
    kubernetes.interrupt = lambda _write, _moment: None
    again = (await client.post(BATCH, json=batch, headers=keyed)).json()
    assert [item["status"] for item in again["items"]] == [200, 200, 200]
    assert sorted(item["task"]["id"] for item in again["items"]) == stored(kubernetes)
    alone = await client.post("/api/v1/tasks", json=batch["items"][2])
    assert alone.json()["id"] == again["items"][2]["task"]["id"]
    changed = {"items": [ORDER | {"priority": 1}, ORDER]}
    clash = (await client.post(BATCH, json=changed, headers=keyed)).json()
    assert [item["status"] for item in clash["items"]] == [409, 200]


async def test_what_nobody_foresaw_of_one_order_costs_the_others_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    def break_one(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "before") and not stored(kubernetes):
            kubernetes.interrupt = lambda _write, _moment: None
            raise ZeroDivisionError

    kubernetes.interrupt = break_one
    answer = (await client.post(BATCH, json={"items": [ORDER, ORDER]})).json()
    assert [item["status"] for item in answer["items"]] == [500, 202]
    assert answer["items"][0]["problem"]["detail"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param([], "", id="a-list"),
        pytest.param({}, "", id="nothing"),
        pytest.param({"items": [ORDER], "more": 1}, "", id="more-than-items"),
        pytest.param({"items": []}, "/items", id="no-order"),
        pytest.param({"items": [ORDER] * 501}, "/items", id="too-many"),
    ],
)
async def test_what_is_no_batch_makes_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, body: Any, pointer: str
) -> None:
    answer = await client.post(BATCH, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert stored(kubernetes) == []


async def test_a_batch_may_be_larger_than_other_bodies_and_has_its_end(
    client: httpx.AsyncClient,
) -> None:
    large = {"items": [{"name": "x" * 50_000}] * 20}
    assert (await client.post(BATCH, json=large)).json()["accepted"] == 0
    assert (await client.post(BATCH, json={"items": ["x" * 4_200_000]})).status_code == 413
    assert (await client.post(CANCEL, json=large)).status_code == 413


# --- cancel by filter


@pytest.fixture
async def _tasks(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    put_task(kubernetes, "queued", status={"phase": "Queued"}, metadata={"labels": {"p": "x"}})
    put_task(kubernetes, "running", status={"phase": "Running"}, metadata={"labels": {"p": "x"}})
    put_task(kubernetes, "another", status={"phase": "Running"})
    put_task(kubernetes, "asked", status={"phase": "Running"}, spec={"cancel": True})
    put_ended_task(kubernetes, "ended", labels={"p": "x"})
    for name in stored(kubernetes):
        await client.get(f"/api/v1/tasks/{name}")


@pytest.mark.parametrize(
    ("order", "ended"),
    [
        pytest.param({"labels": {"p": "x"}}, ["queued", "running"], id="by-label"),
        pytest.param({"phases": ["running"]}, ["another", "running"], id="by-phase"),
        pytest.param({"search": "anoth"}, ["another"], id="by-text"),
        pytest.param({"queue": "nowhere"}, [], id="none-of-them"),
        pytest.param({"phases": ["Succeeded"]}, [], id="those-that-have-ended"),
        pytest.param({"archived": True, "type": "fibonacci"}, [], id="those-of-the-archive"),
        pytest.param({"all": True}, ["another", "queued", "running"], id="all"),
    ],
)
@pytest.mark.usefixtures("_tasks")
async def test_those_that_fit_are_asked_to_end(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    order: dict[str, Any],
    ended: list[str],
) -> None:
    answer = await client.post(CANCEL, json=order)
    assert answer.status_code == 200
    assert sorted(answer.json()["items"]) == ended
    assert (answer.json()["count"], answer.json()["more"]) == (len(ended), False)
    asked = [name for name in stored(kubernetes) if is_asked(kubernetes, name)]
    assert asked == sorted([*ended, "asked"])


def is_asked(kubernetes: MemoryKubernetes, name: str) -> bool:
    return kubernetes.stored(names.LONGTASKS, name)["spec"].get("cancel", False)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({}, id="nothing-said"),
        pytest.param({"labels": {}, "phases": []}, id="nothing-said-at-length"),
        pytest.param({"archived": False}, id="nothing-but-what-goes-without-saying"),
        pytest.param({"all": False}, id="not-all"),
        pytest.param({"all": True, "queue": "default"}, id="all-and-some"),
        pytest.param({"phase": "Running"}, id="an-unknown-field"),
        pytest.param([], id="no-object"),
    ],
)
@pytest.mark.usefixtures("_tasks")
async def test_nobody_cancels_all_by_a_slip(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, order: Any
) -> None:
    assert (await client.post(CANCEL, json=order)).status_code == 422
    assert not any(is_asked(kubernetes, name) for name in ("queued", "running", "another"))


async def test_many_are_cancelled_page_by_page(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    for n in range(0, 450, 50):
        items = [ORDER | {"name": f"t{n + m}"} for m in range(50)]
        assert (await client.post(BATCH, json={"items": items})).json()["accepted"] == 50
    counts, order = [], {"all": True}
    while True:
        answer = (await client.post(CANCEL, json=order)).json()
        counts.append(answer["count"])
        assert answer["more"] == (answer["nextCursor"] is not None)
        if not answer["more"]:
            break
        order["cursor"] = answer["nextCursor"]
    assert counts == [200, 200, 50]
    assert all(is_asked(kubernetes, name) for name in stored(kubernetes))


async def test_what_goes_meanwhile_was_not_cancelled(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, "a")
    await client.get("/api/v1/tasks/a")

    def take_away(write: str, moment: str) -> None:
        if moment == "before":
            kubernetes.interrupt = lambda _write, _moment: None
            kubernetes.remove_task("a")

    kubernetes.interrupt = take_away
    answer = await client.post(CANCEL, json={"all": True})
    assert (answer.json()["count"], answer.json()["items"]) == (0, [])

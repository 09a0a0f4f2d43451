"""A new task from one that has ended: its whole order, but for what is changed."""

from typing import Any

import httpx
import pytest

from api_support import key, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_client import models
from longtask_crds import names
from longtask_crds.testing import FINISHED, NOW

SPEC = {"type": "fibonacci", "input": {"n": 10}, "priority": 60}
ENDED = {"phase": "Failed", "conditions": [FINISHED.to_json()]}


@pytest.fixture
def _ended(kubernetes: MemoryKubernetes) -> None:
    labels = {"team": "a", names.OWNER_LABEL: "ada"}
    put_task(kubernetes, "old", spec=SPEC, status=ENDED, metadata={"labels": labels})


async def retry(
    client: httpx.AsyncClient, changes: Any = None, *, task: str = "old", **headers: str
) -> httpx.Response:
    body = {} if changes is None else {"json": changes}
    return await client.post(f"/api/v1/tasks/{task}:retry", headers=headers, **body)


@pytest.mark.usefixtures("_ended")
async def test_the_whole_order_is_handed_over_again(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    # The cache, which keeps no inputs, knows it.
    assert (await client.get("/api/v1/tasks/old")).status_code == 200

    answer = await retry(client)

    assert answer.status_code == 202
    view = models.TaskView.model_validate(answer.json())
    assert view.id.startswith("old-")
    assert (view.phase, view.retry_of, view.attempt) == ("Pending", "old", 0)
    assert (answer.headers["Location"], answer.headers["Retry-After"]) == (view.links["self"], "1")
    assert view.links["retryOf"] == "/api/v1/tasks/old"
    stored = kubernetes.stored(names.LONGTASKS, view.id)
    assert stored["spec"] == SPEC
    assert stored["metadata"]["annotations"] == {names.RETRY_OF_ANNOTATION: "old"}
    # Whose it is, is said by who asks.
    assert stored["metadata"]["labels"] == {"team": "a"}
    assert kubernetes.stored(names.LONGTASKS, "old")["spec"] == SPEC


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        pytest.param({}, SPEC, id="nothing"),
        pytest.param(
            {"input": {"n": 5}}, SPEC | {"input": {"n": 5}}, id="a-field-is-replaced-whole"
        ),
        pytest.param(
            {"priority": None}, {k: SPEC[k] for k in ("type", "input")}, id="null-takes-it-away"
        ),
        pytest.param(
            {"type": None, "container": {"image": "a"}, "input": {"a": None}, "priority": None},
            {"container": {"image": "a"}, "input": {"a": None}},
            id="another-program",
        ),
    ],
)
@pytest.mark.usefixtures("_ended")
async def test_fields_may_be_changed(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    changes: dict[str, Any],
    spec: dict[str, Any],
) -> None:
    answer = await retry(client, changes | {"name": "new", "labels": {"team": "b"}})
    assert answer.status_code == 202, answer.text
    stored = kubernetes.stored(names.LONGTASKS, "new")
    assert (stored["spec"], stored["metadata"]["labels"]) == (spec, {"team": "b"})


async def test_wishes_for_that_run_do_not_count_for_the_next(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    spec = {"type": "fibonacci", "input": {"n": 1}}
    once = {"cancel": True, "notBefore": "2026-01-02T05:00:00Z"}
    put_task(kubernetes, "old", spec=spec | once, status=ENDED | {"phase": "Cancelled"})
    view = (await retry(client)).json()
    assert kubernetes.stored(names.LONGTASKS, view["id"])["spec"] == spec


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        pytest.param({"inptu": {}}, "/inptu", id="an-unknown-field"),
        pytest.param({"priority": 101}, "/priority", id="a-wrong-value"),
        pytest.param({"queue": "none"}, "/queue", id="a-queue-that-is-not-there"),
        pytest.param({"container": {"image": "a"}}, "", id="two-programs"),
        pytest.param({"input": {"n": "x"}}, "/input/n", id="against-the-schema"),
        pytest.param({"labels": {"longtask.dev/owner": "eve"}}, None, id="a-reserved-label"),
        pytest.param([], "", id="no-object"),
    ],
)
@pytest.mark.usefixtures("_ended")
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, changes: Any, pointer: str | None
) -> None:
    answer = await retry(client, changes)
    assert answer.status_code == 422
    where = "/labels/longtask.dev~1owner" if pointer is None else pointer
    assert [error["pointer"] for error in answer.json()["errors"]] == [where]
    assert list(kubernetes.objects(names.LONGTASKS)) == [("longtasks", "old")]


@pytest.mark.parametrize("phase", ["Pending", "Running", "Retrying"])
async def test_one_that_has_not_ended_is_left_alone(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, phase: str
) -> None:
    put_task(kubernetes, "old", status={"phase": phase})
    answer = await retry(client)
    assert (answer.status_code, phase in answer.json()["detail"]) == (409, True)
    assert (await retry(client, task="nobody")).status_code == 404


@pytest.mark.usefixtures("_ended")
async def test_what_is_wrong_with_the_body_itself(client: httpx.AsyncClient) -> None:
    path = "/api/v1/tasks/old:retry"
    assert (
        await client.post(path, content=b"{", headers={"Content-Type": "text/plain"})
    ).status_code == 415
    json = {"Content-Type": "application/json"}
    assert (await client.post(path, content=b"{", headers=json)).status_code == 400
    assert (await client.post(path, content=b"", headers=json)).status_code == 202


@pytest.mark.parametrize(
    ("again", "key", "status"),
    [
        pytest.param({"priority": 1}, "k", 200, id="the-same-key-and-changes-give-the-same-task"),
        pytest.param({"priority": 1, "idempotencyKey": "k"}, "k", 200, id="the-body-may-say-it"),
        pytest.param({}, "k", 409, id="other-changes-are-a-clash"),
        pytest.param({"priority": 1, "queue": None}, "k", 409, id="taking-away-is-a-change"),
        pytest.param({"priority": 1}, "other", 202, id="another-key-is-another-task"),
    ],
)
@pytest.mark.usefixtures("_ended")
async def test_idempotency_keys(
    client: httpx.AsyncClient, again: dict[str, Any], key: str, status: int
) -> None:
    first = await retry(client, {"priority": 1}, **{"Idempotency-Key": "k"})
    assert first.status_code == 202
    second = await retry(client, again, **{"Idempotency-Key": key})
    assert second.status_code == status
    assert (second.json().get("id") == first.json()["id"]) is (status == 200)


@pytest.mark.usefixtures("_ended")
async def test_a_key_stands_for_one_origin_and_outlives_it(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    same = {"Idempotency-Key": "k"}
    first = await retry(client, **same)
    put_task(kubernetes, "other", spec=SPEC, status=ENDED)
    assert (await retry(client, task="other", **same)).status_code == 409
    assert (await client.post("/api/v1/tasks", json=SPEC, headers=same)).status_code == 409
    kubernetes.remove_task("old")
    again = await retry(client, **same)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert (await retry(client, **{"Idempotency-Key": "new"})).status_code == 404


@pytest.mark.usefixtures("_ended")
async def test_one_that_is_archived_is_done_again(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    original = await services.resources.look(key("old"))
    assert original is not None
    await services.resources.archive.put(original, queue="default", at=NOW)
    kubernetes.remove_task("old")
    view = (await retry(client)).json()
    assert view["retryOf"] == "old"
    assert kubernetes.stored(names.LONGTASKS, view["id"])["spec"] == SPEC


async def test_a_chain_of_retries_keeps_its_names_short(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, "fibonacci-abcdefgh", spec=SPEC, status=ENDED)
    view = (await retry(client, task="fibonacci-abcdefgh")).json()
    assert len(view["id"]) == len("fibonacci-abcdefgh")
    assert view["id"].startswith("fibonacci-")
    assert view["retryOf"] == "fibonacci-abcdefgh"

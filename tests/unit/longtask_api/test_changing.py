"""What may be changed of a task that is there: its priority, while it waits."""

from typing import Any

import httpx
import pytest

from api_support import put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_crds import names
from longtask_crds.testing import FINISHED

MERGE_PATCH = "application/merge-patch+json"
ATTEMPT = {"number": 1, "jobName": "a-job"}


@pytest.fixture
async def _waiting(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    for name in ("a", "b"):
        put_task(kubernetes, name)
        assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 200


@pytest.mark.parametrize("media_type", [MERGE_PATCH, "application/json; charset=utf-8"])
@pytest.mark.usefixtures("_waiting")
async def test_one_that_waits_gets_another_place_at_once(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, media_type: str
) -> None:
    headers = {"Content-Type": media_type}
    answer = await client.patch("/api/v1/tasks/b", content=b'{"priority": 90}', headers=headers)
    assert answer.status_code == 200
    assert (answer.json()["priority"], answer.json()["queuePosition"]) == (90, 1)
    assert (await client.get("/api/v1/tasks/a")).json()["queuePosition"] == 2
    stored = kubernetes.stored(names.LONGTASKS, "b")["spec"]
    assert stored == {"type": "fibonacci", "priority": 90}


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        pytest.param({"priority": 101}, 422, "/priority", id="too-much"),
        pytest.param({"priority": -1}, 422, "/priority", id="too-little"),
        pytest.param({"priority": "50"}, 422, "/priority", id="text"),
        pytest.param({"priority": True}, 422, "/priority", id="no-number"),
        pytest.param({"priority": None}, 422, "/priority", id="nothing"),
        pytest.param({}, 422, "/priority", id="no-change"),
        pytest.param({"priority": 1, "queue": "q"}, 422, "/queue", id="another-field"),
        pytest.param({"priority": 1, "spec": {}}, 422, "/spec", id="an-unknown-field"),
        pytest.param([], 422, "", id="no-object"),
    ],
)
@pytest.mark.usefixtures("_waiting")
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, body: Any, status: int, pointer: str
) -> None:
    answer = await client.patch("/api/v1/tasks/a", json=body)
    assert answer.status_code == status
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert kubernetes.stored(names.LONGTASKS, "a")["spec"] == {"type": "fibonacci"}


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        pytest.param(
            {"status": {"phase": "Running", "attempt": 1, "attempts": [ATTEMPT]}},
            "Running",
            id="runs",
        ),
        pytest.param(
            {"status": {"phase": "Failed", "conditions": [FINISHED.to_json()]}}, "Failed", id="over"
        ),
        pytest.param({"spec": {"type": "fibonacci", "cancel": True}}, "Pending", id="cancelled"),
    ],
)
@pytest.mark.usefixtures("_waiting")
async def test_one_that_waits_no_longer_stays_as_it_is(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, parts: dict[str, Any], word: str
) -> None:
    put_task(kubernetes, "c", **parts)
    answer = await client.patch("/api/v1/tasks/c", json={"priority": 1})
    assert answer.status_code == 409
    assert word in answer.json()["detail"]
    assert "waits no longer" in answer.json()["detail"]
    assert "priority" not in kubernetes.stored(names.LONGTASKS, "c")["spec"]


async def test_what_is_not_there_or_not_json(client: httpx.AsyncClient) -> None:
    assert (await client.patch("/api/v1/tasks/no", json={"priority": 1})).status_code == 404
    answer = await client.patch(
        "/api/v1/tasks/no", content=b"priority: 1", headers={"Content-Type": "text/yaml"}
    )
    assert (answer.status_code, answer.json()["detail"]) == (
        415,
        f"Send it as {MERGE_PATCH} or application/json.",
    )

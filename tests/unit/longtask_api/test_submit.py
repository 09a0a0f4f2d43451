import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from api_support import put_task
from longtask_adapters.testing import MemoryKubernetes, Refusal
from longtask_api import app, settings, wiring
from longtask_client import models
from longtask_crds import names

ORDER = {"type": "fibonacci", "input": {"n": 10}}


async def post(client: httpx.AsyncClient, order: Any, **headers: str) -> httpx.Response:
    return await client.post("/api/v1/tasks", json=order, headers=headers)


def pointers(answer: httpx.Response) -> set[str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return {error["pointer"] for error in answer.json()["errors"]}


async def test_a_task_is_stored_before_it_is_accepted(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    answer = await post(client, ORDER | {"labels": {"team": "a"}, "name": "first"})

    assert answer.status_code == 202
    assert answer.headers["Location"] == "/api/v1/tasks/first"
    assert answer.headers["Retry-After"]
    view = models.TaskView.model_validate(answer.json())
    assert (view.id, view.phase, view.queue, view.queue_position) == (
        "first",
        "Pending",
        "default",
        1,
    )
    stored = kubernetes.stored(names.LONGTASKS, "first")
    assert stored["spec"] == ORDER
    assert stored["metadata"]["labels"] == {"team": "a"}
    assert names.REQUEST_HASH_ANNOTATION not in stored["metadata"].get("annotations", {})


async def test_a_task_may_join_its_queue_later(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    late = ORDER | {"name": "late", "notBefore": "2026-01-02T05:04:05.9+01:00"}
    answer = await post(client, late)
    assert answer.status_code == 202
    view = models.TaskView.model_validate(answer.json())
    assert (view.phase, view.queue, view.queue_position, view.waiting) == (
        *("Pending", "default", None, "joins queue default at 2026-01-02T04:04:05Z"),
    )
    assert kubernetes.stored(names.LONGTASKS, "late")["spec"]["notBefore"] == "2026-01-02T04:04:05Z"


async def test_a_submission_costs_one_request(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.requests.clear()
    await post(client, ORDER | {"name": "first"})
    assert kubernetes.calls == ["create longtasks"]


async def test_a_name_is_made_up_from_the_type(client: httpx.AsyncClient) -> None:
    answer = await post(client, ORDER)
    name = answer.json()["id"]
    assert name.startswith("fibonacci-")
    assert len(name) == len("fibonacci-") + 8


@pytest.mark.parametrize(
    ("again", "key", "status"),
    [
        pytest.param(ORDER, "k", 200, id="the-same-key-and-order-give-the-same-task"),
        pytest.param({"input": {"n": 10}, "type": "fibonacci"}, "k", 200, id="order-is-no-order"),
        pytest.param(ORDER | {"idempotencyKey": "k"}, "k", 200, id="the-body-may-say-it-as-well"),
        pytest.param(ORDER | {"priority": 1}, "k", 409, id="another-order-is-a-clash"),
        pytest.param(ORDER, "other", 202, id="another-key-is-another-task"),
        pytest.param(ORDER | {"idempotencyKey": "x"}, "k", 422, id="two-keys-are-one-too-many"),
        pytest.param(ORDER, "", 422, id="an-empty-key-is-none"),
    ],
)
async def test_idempotency_keys(
    client: httpx.AsyncClient, again: dict[str, Any], key: str, status: int
) -> None:
    first = await post(client, ORDER, **{"Idempotency-Key": "k"})
    assert first.status_code == 202
    second = await post(client, again, **{"Idempotency-Key": key})
    assert second.status_code == status
    if status == 200:
        assert second.json()["id"] == first.json()["id"]
        assert second.headers["Location"] == first.headers["Location"]


def forbid(kubernetes: MemoryKubernetes) -> None:
    kubernetes.interrupt = refuse


def refuse(write: str, moment: str) -> None:
    if (write, moment) == ("create_task", "before"):
        raise Refusal(403, "Forbidden", "exceeded quota: tasks")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda kubernetes: kubernetes.put(
                names.LONGTASKTYPES, "fibonacci", spec={"inputSchema": {"not": {}}}
            ),
            id="the-types-schema",
        ),
        pytest.param(
            lambda kubernetes: kubernetes.remove(names.LONGTASKTYPES, "fibonacci"), id="the-type"
        ),
        pytest.param(
            lambda kubernetes: kubernetes.remove(names.LONGTASKQUEUES, "default"), id="the-queue"
        ),
        pytest.param(forbid, id="the-quota"),
    ],
)
async def test_what_was_accepted_stays_accepted_whatever_changes(
    kubernetes: MemoryKubernetes,
    configured: settings.Settings,
    client: httpx.AsyncClient,
    change: Callable[[MemoryKubernetes], object],
) -> None:
    key = {"Idempotency-Key": "k"}
    first = await post(client, ORDER, **key)
    change(kubernetes)
    # Another replica, which has seen the change.
    async with (
        wiring.running(kubernetes, configured) as services,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers=client.headers,
        ) as other,
    ):
        await services.health.synced()
        again = await post(other, ORDER, **key)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        assert (await post(other, ORDER | {"priority": 1}, **key)).status_code == 409
        refused = await post(other, ORDER, **{"Idempotency-Key": "another"})
        assert refused.status_code in (403, 422)


async def test_a_name_that_is_just_given_up_is_no_404(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes)

    def give_up(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "before"):
            kubernetes.remove_task("a")
            raise Refusal(409, "AlreadyExists", "it was there")

    kubernetes.interrupt = give_up
    answer = await post(client, ORDER | {"name": "a"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("first_key", "second_key", "status"),
    [
        pytest.param("k", "k", 200, id="the-same-name-key-and-order-give-the-same-task"),
        pytest.param("k", "other", 409, id="another-key-wants-another-task"),
        pytest.param(None, None, 409, id="without-a-key-a-name-is-taken-once"),
        pytest.param(None, "k", 409, id="a-key-does-not-claim-what-was-made-without-it"),
    ],
)
async def test_a_given_name_is_the_lock(
    client: httpx.AsyncClient, first_key: Any, second_key: Any, status: int
) -> None:
    named = ORDER | {"name": "mine"}
    for key, expected in ((first_key, 202), (second_key, status)):
        answer = await post(client, named | ({"idempotencyKey": key} if key else {}))
        assert answer.status_code == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param({}, {""}, id="something-must-be-ordered"),
        pytest.param(ORDER | {"container": {"image": "a"}}, {""}, id="but-not-two-things"),
        pytest.param(
            {
                "steps": [
                    {"name": "a", "type": "fibonacci", "input": {"n": "many"}},
                    {"name": "b", "type": "nothing", "needs": ["z"]},
                    {"name": "c", "type": "fibonacci", "input": {"$from": "steps.d"}},
                ],
                "output": {"$from": "steps.e"},
            },
            {"/steps/0/input/n", "/steps/1/type", "/steps/1/needs/0", "/steps/2/input", "/output"},
            id="steps-with-their-places",
        ),
        pytest.param(
            ORDER | {"notBefore": "2027-02-02T03:04:05Z"},
            {"/notBefore"},
            id="more-than-a-year-ahead",
        ),
        pytest.param(ORDER | {"notBefore": 1767323045}, {"/notBefore"}, id="a-time-as-a-number"),
        pytest.param(ORDER | {"typo": 1}, {"/typo"}, id="unknown-fields-are-refused"),
        pytest.param(
            ORDER | {"callback": {"url": "https://a.test/", "uri": "x"}},
            {"/callback/uri"},
            id="unknown-fields-are-refused-inside-as-well",
        ),
        pytest.param(ORDER | {"type": "nothing"}, {"/type"}, id="an-unknown-type"),
        pytest.param(ORDER | {"queue": "nothing"}, {"/queue"}, id="an-unknown-queue"),
        pytest.param({"type": "fibonacci"}, {"/input/n"}, id="a-missing-input-is-named"),
        pytest.param(
            ORDER | {"input": {"n": -1, "m/x": 1}}, {"/input/n", "/input/m~1x"}, id="every-error"
        ),
        pytest.param(ORDER | {"input": {"n": 2**63}}, {"/input/n"}, id="no-digit-is-lost"),
        pytest.param(ORDER | {"name": "Not a label"}, {"/name"}, id="a-bad-name"),
        pytest.param(ORDER | {"priority": 101}, {"/priority"}, id="a-bad-priority"),
        pytest.param(
            ORDER | {"callback": {"url": "http://a.test/"}}, {"/callback/url"}, id="plain-http"
        ),
        pytest.param(
            ORDER | {"callback": {"url": "https://10.0.0.1/"}},
            {"/callback/url"},
            id="a-private-address",
        ),
        pytest.param(
            ORDER | {"callback": {"url": "https://34.1.2.3/"}},
            {"/callback/url"},
            id="an-address-that-the-administrator-denies",
        ),
        pytest.param(
            ORDER | {"callback": {"url": "https://a.test/", "headers": {"Host": "b", "X-A": "c"}}},
            {"/callback/headers/Host"},
            id="headers-of-the-delivery-itself",
        ),
        pytest.param(
            {
                "container": {
                    "image": "a",
                    "env": [{"name": "LONGTASK_NAME", "value": "a"}, {"name": "A"}],
                }
            },
            {"/container/env/0/name", "/container/env/1"},
            id="reserved-and-empty-variables",
        ),
        pytest.param({"container": {"image": "a b"}}, {"/container/image"}, id="no-image"),
        pytest.param(
            ORDER | {"resources": {"limits": {"memory": 64, "cpu": 1}, "requests": {"cpu": "2"}}},
            {"/resources/limits/memory", "/resources/requests/cpu"},
            id="too-little-and-more-than-its-own-limit",
        ),
        pytest.param(
            ORDER | {"resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": 3}}},
            {"/resources/limits/memory", "/resources/requests/cpu"},
            id="more-than-one-task-may-have",
        ),
        pytest.param(
            ORDER | {"resources": {"limits": {"nvidia.com/gpu": 1, "colour": 1}}},
            {"/resources/limits/nvidia.com~1gpu", "/resources/limits/colour"},
            id="a-device-that-no-task-may-have-and-what-is-no-resource",
        ),
        pytest.param(
            ORDER | {"labels": {"longtask.dev/owner": "me", "a b": "c", "d": "e f"}},
            {"/labels/longtask.dev~1owner", "/labels/a b", "/labels/d"},
            id="labels-that-are-ours-or-none",
        ),
    ],
)
async def test_what_can_never_run_is_refused_with_the_fields_name(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, order: Any, expected: Any
) -> None:
    answer = await post(client, order)
    assert answer.status_code == 422
    assert pointers(answer) == expected
    assert not [call for call in kubernetes.calls if call.startswith("create")]


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        pytest.param(b"{", "application/json", 400, id="no-json"),
        pytest.param(b'{"a": NaN}', "application/json", 400, id="nan-is-no-json"),
        pytest.param(b"\xff", "application/json", 400, id="no-utf-8"),
        pytest.param(b"[" * 100_000, "application/json", 400, id="a-deep-hole"),
        pytest.param(b"[" * 70 + b"]" * 70, "application/json", 400, id="too-many-levels"),
        pytest.param(b"9" * 5000, "application/json", 400, id="more-digits-than-python-reads"),
        pytest.param(b'{"input": 1e999}', "application/json", 422, id="an-infinite-number"),
        pytest.param(b"[]", "application/json", 422, id="no-object"),
        pytest.param(b"{}", "text/plain", 415, id="not-called-json"),
        pytest.param(b" " * 262_145, "application/json", 413, id="a-large-body"),
        pytest.param(
            json.dumps({"type": "fibonacci", "input": "ä" * 40_000}).encode(),
            "application/json",
            413,
            id="a-large-input-counted-in-bytes",
        ),
    ],
)
async def test_bodies_that_are_not_taken(
    client: httpx.AsyncClient, body: bytes, media_type: str, status: int
) -> None:
    answer = await client.post("/api/v1/tasks", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param(rb'{"type": "a", "input": ["\ud800"]}', "/input/0", id="as-a-value"),
        pytest.param(rb'{"labels": {"\ud800": "x"}}', r"/labels/\ud800", id="as-a-labels-name"),
        pytest.param(
            rb'{"callback": {"url": "https://a.example", "headers": {"\udfff": "x"}}}',
            r"/callback/headers/\udfff",
            id="as-a-headers-name",
        ),
        pytest.param(rb'{"\ud800": {"a": 18446744073709551616}}', r"/\ud800", id="as-a-field"),
    ],
)
async def test_half_a_character_is_refused_wherever_it_stands(
    client: httpx.AsyncClient, body: bytes, pointer: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/v1/tasks", content=body, headers=headers)
    assert answer.status_code == 422
    assert pointer in pointers(answer)


async def test_a_body_without_an_announced_size_is_counted_as_it_comes(
    client: httpx.AsyncClient,
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    answer = await client.post(
        "/api/v1/tasks", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


async def test_an_input_of_just_the_size_is_taken(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.put(names.LONGTASKTYPES, "any", spec={})
    text = "a" * (names.INPUT_MAX_BYTES - 2)
    assert (await post(client, {"type": "any", "input": text})).status_code == 202
    assert (await post(client, {"type": "any", "input": text + "a"})).status_code == 413


async def test_an_allowed_host_may_be_called_back_over_http(client: httpx.AsyncClient) -> None:
    order = ORDER | {"callback": {"url": "http://hooks.test:9000/x"}}
    assert (await post(client, order)).status_code == 202


async def test_a_schema_that_points_elsewhere_is_never_fetched(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    elsewhere = {"$ref": "https://elsewhere.test/schema.json"}
    kubernetes.put(names.LONGTASKTYPES, "remote", spec={"inputSchema": elsewhere})
    answer = await post(client, {"type": "remote"})
    assert answer.status_code == 422
    assert pointers(answer) == {"/input"}


@pytest.mark.parametrize(
    ("failure", "status", "expected"),
    [
        pytest.param(None, 503, set(), id="away"),
        pytest.param(Refusal(429, "TooManyRequests", "wait"), 429, set(), id="busy"),
        pytest.param(Refusal(403, "Forbidden", "exceeded quota"), 403, set(), id="over-the-quota"),
        pytest.param(
            Refusal(422, "Invalid", "no", field="spec.callback.headers"),
            422,
            {"/callback/headers"},
            id="refused-by-cel",
        ),
        pytest.param(Refusal(404, "NotFound", "no namespace"), 503, set(), id="no-namespace"),
    ],
)
async def test_nothing_is_accepted_that_kubernetes_did_not_store(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    failure: Refusal | None,
    status: int,
    expected: set[str],
) -> None:
    kubernetes.go_away(failure)
    answer = await post(client, ORDER)
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert pointers(answer) == expected


async def test_what_was_just_made_is_seen_at_once(client: httpx.AsyncClient) -> None:
    name = (await post(client, ORDER)).json()["id"]
    assert (await client.get(f"/api/v1/tasks/{name}")).status_code == 200
    assert [t["id"] for t in (await client.get("/api/v1/tasks")).json()["items"]] == [name]


async def test_the_order_is_checked_against_what_was_just_installed(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.put(names.LONGTASKQUEUES, "new", spec={})
    assert (await post(client, ORDER | {"queue": "new"})).status_code == 202

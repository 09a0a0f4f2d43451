"""What HTTP has words for, the API says in them: to whatever path, whoever asks."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_support import TOKEN, eventually, put_ended_task, put_schedule, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_crds import names, signing_keys
from longtask_crds.testing import NOW

ORDER = {"type": "fibonacci", "input": {"n": 100}}
TASKS = "/api/v1/tasks"
#: All that is read as JSON, of a task `a` and a schedule `s`.
READ = (
    TASKS,
    f"{TASKS}/a",
    f"{TASKS}/a/state",
    f"{TASKS}/a/result",
    f"{TASKS}/a/callbacks",
    "/api/v1/queues",
    "/api/v1/queues/default",
    "/api/v1/types",
    "/api/v1/types/fibonacci",
    "/api/v1/schedules",
    "/api/v1/schedules/s",
    "/api/v1/schedules/s/runs",
    "/api/v1/schedules/s/status",
    "/api/v1/schedules/s/data",
    "/api/v1/me/callback-key",
    "/version",
    "/openapi.json",
)


@contextlib.asynccontextmanager
async def another_replica(
    kubernetes: MemoryKubernetes, configured: settings.Settings, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    async with wiring.running(kubernetes, configured, clock=lambda: NOW) as services:
        await services.health.synced()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services, **options)),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client:
            yield client


# --- 202, and the same request again


async def test_who_hands_a_task_over_is_told_where_it_is_and_when_to_look(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(TASKS, json=ORDER)
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    assert answer.headers["Retry-After"] == "1"
    assert (await client.get(answer.headers["Location"])).json()["id"] == answer.json()["id"]


async def test_fifty_equal_requests_through_two_replicas_make_one_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with another_replica(kubernetes, configured) as other:
        answers = await asyncio.gather(
            *(
                way.post(TASKS, json=ORDER, headers={"Idempotency-Key": "k"})
                for way in (client, other) * 25
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(kubernetes.objects(names.LONGTASKS)) == 1


class Killed(BaseException):
    """The end of a process."""


async def test_an_api_that_dies_before_it_answers_has_made_one_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    def kill(write: str, moment: str) -> None:
        if (write, moment) == ("create_task", "after"):
            raise Killed

    kubernetes.interrupt = kill
    keyed = {"Idempotency-Key": "k"}
    with pytest.raises(Killed):
        await client.post(TASKS, json=ORDER, headers=keyed)
    kubernetes.interrupt = lambda _write, _moment: None
    async with another_replica(kubernetes, configured) as restarted:
        again = await restarted.post(TASKS, json=ORDER, headers=keyed)
    assert again.status_code == 200
    assert [key.name for key in kubernetes.objects(names.LONGTASKS)] == [again.json()["id"]]


async def is_there(kubernetes: MemoryKubernetes) -> bool:
    return bool(kubernetes.objects(names.LONGTASKS))


async def test_who_hands_a_task_over_may_wait_for_its_end(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    asked = asyncio.create_task(
        client.post(TASKS, json=ORDER | {"name": "a"}, headers={"Prefer": "wait=30"})
    )
    await eventually(lambda: is_there(kubernetes))
    put_ended_task(kubernetes, "a")
    answer = await asked
    assert (answer.status_code, answer.json()["phase"]) == (202, "Succeeded")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert "Retry-After" not in answer.headers


# --- what is known, and what has changed


@pytest.mark.parametrize("path", READ)
async def test_whatever_is_read_is_read_once(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, path: str
) -> None:
    put_ended_task(kubernetes, "a")
    put_schedule(kubernetes, "s")
    kubernetes.add_secret(signing_keys.KEYS_SECRET, namespace="longtask")
    await client.get(f"{TASKS}/a")
    await client.get("/api/v1/schedules/s")
    first = await client.get(path)
    assert first.status_code == 200
    again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Type" not in again.headers
    other = await client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("PATCH", f"{TASKS}/a", {"priority": 1}, 200, id="change"),
        pytest.param("POST", f"{TASKS}/a:cancel", None, 202, id="cancel"),
        pytest.param("DELETE", f"{TASKS}/a", None, 204, id="delete"),
    ],
)
async def test_what_has_changed_since_it_was_seen_stays_as_it_is(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    put_task(kubernetes)
    seen = (await client.get(f"{TASKS}/a")).headers["ETag"]
    put_task(kubernetes, spec={"priority": 7})  # the replica may not know yet
    stale = await client.request(method, path, json=body, headers={"If-Match": seen})
    assert stale.status_code == 412
    assert stale.json()["type"] == "urn:longtask:problem:precondition-failed"
    stored = kubernetes.objects(names.LONGTASKS)[names.ObjectKey("longtasks", "a")]
    assert stored["spec"] == {"type": "fibonacci", "priority": 7}
    fresh = (await client.get(f"{TASKS}/a")).headers["ETag"]
    done = await client.request(method, path, json=body, headers={"If-Match": fresh})
    assert done.status_code == status


async def test_a_neighbour_in_the_queue_changes_what_is_shown_and_not_the_version(
    client: httpx.AsyncClient,
) -> None:
    await client.post(TASKS, json=ORDER | {"name": "a"})
    seen = (await client.get(f"{TASKS}/a")).headers["ETag"]
    await client.post(TASKS, json=ORDER | {"name": "b", "priority": 90})
    again = await client.get(f"{TASKS}/a", headers={"If-None-Match": seen})
    assert again.status_code == 200
    done = await client.post(f"{TASKS}/a:cancel", headers={"If-Match": seen})
    assert done.status_code == 202


# --- parts of lists


async def test_a_link_leads_to_the_next_page(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    for name in "abc":
        put_task(kubernetes, name)
    async with another_replica(kubernetes, configured, path_prefix="/longtask") as client:
        found, path = [], f"{TASKS}?limit=1&phase=Pending&phase=Queued&fields=id"
        while path:
            answer = await client.get(path)
            assert answer.status_code == 200
            found += answer.json()["items"]
            link = answer.headers.get("Link", "")
            match = re.fullmatch(r'</longtask(/.*)>; rel="next"', link)
            assert (match is None) == (answer.json()["nextCursor"] is None) == (not link)
            path = match[1] if match else ""
    assert sorted(item["id"] for item in found) == ["a", "b", "c"]


async def test_the_content_of_a_queue_has_pages_too(client: httpx.AsyncClient) -> None:
    for name in "ab":
        await client.post(TASKS, json=ORDER | {"name": name})
    answer = await client.get("/api/v1/queues/default?limit=1")
    link = re.fullmatch('<(.*)>; rel="next"', answer.headers["Link"])
    assert link is not None
    following = await client.get(link[1])
    assert [task["id"] for task in following.json()["content"]] == ["b"]
    assert "Link" not in following.headers


async def test_only_the_fields_that_are_asked_for(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes)
    await client.get(f"{TASKS}/a")
    page = (await client.get(f"{TASKS}?fields=id, queuePosition")).json()
    assert page == {
        "items": [{"id": "a", "queuePosition": 1}],
        "nextCursor": None,
        "incomplete": None,
    }
    assert (await client.get(f"{TASKS}/a?fields=phase")).json() == {"phase": "Pending"}
    refused = await client.get(f"{TASKS}/a?fields=phase,queue_position")
    assert refused.status_code == 422
    (wrong,) = refused.json()["errors"]
    assert (wrong["in"], wrong["name"]) == ("query", "fields")
    assert "no field 'queue_position'" in wrong["detail"]


async def test_phases_are_taken_in_capitals_or_not(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes)
    await client.get(f"{TASKS}/a")
    for phase in ("pending", "Pending", "PENDING"):
        page = await client.get(TASKS, params={"phase": phase})
        assert [item["id"] for item in page.json()["items"]] == ["a"]


# --- methods


@pytest.mark.parametrize("path", [*READ, "/healthz", "/readyz", "/docs", f"{TASKS}/nothing"])
async def test_head_is_get_without_its_body(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, path: str
) -> None:
    put_ended_task(kubernetes, "a")
    await client.get(f"{TASKS}/a")
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    own = {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in get.headers.items() if k not in own
    }


async def test_head_waits_for_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, "a")
    async with asyncio.timeout(60):
        answer = await client.head(f"{TASKS}/a", headers={"Prefer": "wait=60"})
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


async def test_head_of_a_log_that_is_followed_ends(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_ended_task(kubernetes, "a")
    answer = await client.head(f"{TASKS}/a/logs?follow=true")
    assert answer.content == b""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        pytest.param(TASKS, "GET, HEAD, OPTIONS, POST", id="two-routes"),
        pytest.param(f"{TASKS}/a", "DELETE, GET, HEAD, OPTIONS, PATCH", id="three-routes"),
        pytest.param(f"{TASKS}/a:retry", "OPTIONS, POST", id="one-route-and-no-get"),
        pytest.param("/healthz", "GET, HEAD, OPTIONS", id="a-public-one"),
    ],
)
async def test_allow_names_every_method(client: httpx.AsyncClient, path: str, allowed: str) -> None:
    refused = await client.put(path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, allowed)
    assert refused.headers["Content-Type"] == "application/problem+json"
    asked = await client.options(path)
    assert (asked.status_code, asked.headers["Allow"]) == (204, allowed)


async def test_there_are_no_options_of_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.options("/nothing")).status_code == 404


# --- bodies


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        pytest.param({"priority": True}, "/priority", id="a-truth-is-no-number"),
        pytest.param({"priority": "50"}, "/priority", id="a-text-is-no-number"),
        pytest.param({"timeouts": {"runSeconds": "5"}}, "/timeouts/runSeconds", id="nor-inside"),
        pytest.param({"cancel": 0}, "/cancel", id="a-number-is-no-truth"),
        pytest.param({"labels": {"a": 1}}, "/labels/a", id="a-number-is-no-text"),
        pytest.param({"notBefore": 1}, "/notBefore", id="a-number-is-no-time"),
    ],
)
async def test_nothing_is_taken_for_what_it_is_not(
    client: httpx.AsyncClient, part: dict[str, Any], pointer: str
) -> None:
    answer = await client.post(TASKS, json=ORDER | part)
    assert answer.status_code == 422
    assert pointer in [wrong["pointer"] for wrong in answer.json()["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"type": "fibonacci", "input": {"n": 1, "n": 2}}', id="inside"),
        pytest.param('{"type": "a", "type": "fibonacci", "input": {"n": 1}}', id="outside"),
    ],
)
async def test_a_key_stands_once(client: httpx.AsyncClient, body: str) -> None:
    answer = await client.post(TASKS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "is there twice" in answer.json()["errors"][0]["detail"]


async def test_all_that_is_wrong_is_told_at_once(client: httpx.AsyncClient) -> None:
    order = ORDER | {
        "priority": "high",
        "input": {"n": -1},
        "callback": {"url": "http://10.0.0.1/done"},
        "labels": {"longtask.dev/owner": "me"},
    }
    answer = await client.post(TASKS, json=order)
    assert answer.status_code == 422
    assert {wrong["pointer"] for wrong in answer.json()["errors"]} == {
        "/priority",
        "/input/n",
        "/callback/url",
        "/labels/longtask.dev~1owner",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"type": 1, "input": {"n": -1}}, id="without-a-type-the-input-means-nothing"),
        pytest.param([], id="no-order-at-all"),
        pytest.param({"type": "fibonacci", "priority": "high", "input": {"n": 1}}, id="one-thing"),
    ],
)
async def test_nothing_is_told_that_only_follows_from_another_fault(
    client: httpx.AsyncClient, wrong: Any
) -> None:
    answer = await client.post(TASKS, json=wrong)
    assert len(answer.json()["errors"]) == 1


async def test_many_faults_are_told_in_part(client: httpx.AsyncClient) -> None:
    labels, env = {f"-{n}": "a" for n in range(20)}, [{"name": "LONGTASK_A"}] * 60
    order = {"container": {"image": "a", "env": env}, "labels": labels, "priority": "high"}
    answer = await client.post(TASKS, json=order)
    assert len(answer.json()["errors"]) > 20
    assert len(answer.json()["errors"]) <= 50


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_packed_bodies_are_not_taken(client: httpx.AsyncClient, coding: str) -> None:
    answer = await client.post(TASKS, json=ORDER, headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")


async def test_large_bodies_are_not_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post(TASKS, json=ORDER | {"input": "x" * 300_000})
    assert answer.status_code == 413


# --- pages of other origins


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        pytest.param([], None, id="none-by-default"),
        pytest.param(["https://app.test"], "https://app.test", id="the-listed-one"),
        pytest.param(["https://other.test"], None, id="no-other"),
    ],
)
async def test_pages_of_other_origins(
    kubernetes: MemoryKubernetes,
    configured: settings.Settings,
    origins: list[str],
    allowed: str | None,
) -> None:
    page = {"Origin": "https://app.test"}
    async with another_replica(kubernetes, configured, cors_origins=origins) as client:
        answer = await client.get(TASKS, headers=page)
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Access-Control-Allow-Credentials" not in answer.headers
        before = {
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,if-match",
        }
        asked = await client.options(f"{TASKS}/a", headers=page | before)
        assert asked.headers.get("Access-Control-Allow-Origin") == allowed


# --- behind a proxy that publishes it under a path


@pytest.mark.parametrize(
    "before", [pytest.param("", id="taken-off"), pytest.param("/longtask", id="left")]
)
async def test_under_a_prefix_all_links_have_it(
    kubernetes: MemoryKubernetes, configured: settings.Settings, before: str
) -> None:
    prefixed = configured.model_copy(update={"public_url": "https://a.test/longtask/"})
    options = {"path_prefix": prefixed.path_prefix}
    async with another_replica(kubernetes, prefixed, **options) as client:
        made = await client.post(f"{before}{TASKS}", json=ORDER | {"name": "a"})
        assert made.headers["Location"] == "/longtask/api/v1/tasks/a"
        described = (await client.get(f"{before}/openapi.json")).json()
        assert described["servers"] == [{"url": "/longtask"}]
        page = await client.get(f"{before}/docs")
        for reference in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert not reference.startswith("/"), "it is relative to the page"
        too_large = await client.post(f"{before}{TASKS}", json={"input": "x" * 300_000})
        assert too_large.status_code == 413


# --- request ids


async def test_a_request_id_goes_through(client: httpx.AsyncClient) -> None:
    given = "0d9a1b0e8f4c4b7e9d6a5c3b2a190807"
    answer = await client.get("/nothing", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    forged = await client.get("/nothing", headers={"X-Request-ID": "a\tb" * 99})
    assert re.fullmatch("[0-9a-f]{32}", forged.headers["X-Request-ID"])
    assert json.loads(forged.content)["status"] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{TASKS}/a%00b", 404),
        (f"{TASKS}/a%00b/callbacks", 404),
        ("/api/v1/schedules/a%00b/runs", 404),
        ("/api/v1/notices?task=a%00b", 200),
        (f"{TASKS}?owner=%00", 200),
    ],
)
async def test_what_nothing_can_be_called_is_not_there(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    assert (await client.get(path)).status_code == status

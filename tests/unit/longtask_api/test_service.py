import asyncio
import dataclasses
import hashlib
import json
import re
from importlib import resources

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from api_support import CALLER, TOKEN, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.http import connections
from longtask_client import models
from longtask_crds import names, signing_keys

PUBLIC = {"/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/docs/{name}"}
#: Where one gets a token in the first place.
ENTRANCES = {"/api/v1/register", "/api/v1/login", "/api/v1/unsubscribe/{token}"}


def a_client(application: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application),
        base_url="http://api.test",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )


def routes(application: FastAPI) -> set[tuple[str, str]]:
    """Return method and path of every route, as users reach them."""
    return {
        (method, path)
        for path, item in application.openapi()["paths"].items()
        for method in item
        if not path.startswith("{")
    }


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Bearer wrong"}, id="a-wrong-one"),
        pytest.param({"Authorization": "Bearer correct-hors"}, id="a-part-of-it"),
        pytest.param({"Authorization": "Bearer"}, id="an-empty-one"),
        pytest.param({"Authorization": "Basic Y29ycmVjdC1ob3JzZQ=="}, id="a-password"),
        pytest.param({"Authorization": "correct-horse"}, id="without-its-scheme"),
    ],
)
async def test_every_route_but_the_public_ones_asks_for_the_token(
    services: wiring.Services, client: httpx.AsyncClient, given: dict[str, str]
) -> None:
    application = app.for_users(services)
    guarded = {r for r in routes(application) if r[1] not in PUBLIC | ENTRANCES}
    assert len(guarded) >= 11
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://api.test", headers=given
    ) as stranger:
        for method, path in guarded:
            answer = await stranger.request(method, path.replace("{task_id}", "a"))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_public_routes(client: httpx.AsyncClient) -> None:
    client.headers.clear()
    for path in sorted(PUBLIC - {"/docs/{name}"}):
        assert (await client.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/nothing", 404, id="no-such-route"),
        pytest.param("PUT", "/api/v1/tasks", 405, id="not-with-this-method"),
        pytest.param("GET", "/docs/../settings.py", 404, id="no-file-but-the-page's"),
        pytest.param("GET", "/docs/LICENSE", 404, id="not-even-a-neighbour"),
    ],
)
async def test_the_routers_own_errors_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status


async def test_what_nobody_foresaw_tells_nothing(services: wiring.Services) -> None:
    broken = dataclasses.replace(services, keys=None)  # type: ignore[arg-type]
    async with a_client(app.for_users(broken)) as client:
        answer = await client.get("/api/v1/me/callback-key")
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "urn:longtask:problem:internal-error",
        "title": "Something went wrong here",
        "status": 500,
        "instance": "/api/v1/me/callback-key",
        "errors": [],
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_replica_is_not_ready_before_it_has_read_everything(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    kubernetes.go_away()
    async with (
        wiring.running(kubernetes, configured) as services,
        a_client(app.for_users(services)) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        answer = await client.get("/api/v1/tasks")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_a_replica_without_all_its_loops_is_not_alive(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    # No error ends a watch; but somebody may take its loop's cancellation for another's.
    kubernetes.go_away(asyncio.CancelledError())
    async with asyncio.timeout(60):
        while (await client.get("/healthz")).status_code == 200:  # noqa: ASYNC110 - as a probe does
            await asyncio.sleep(0)
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert answer.status_code == 503
        assert re.search("the watch of longtask[a-z]+ has ended", answer.json()["detail"])


async def test_the_callback_key_is_made_once(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    assert (await client.get("/api/v1/me/callback-key")).status_code == 503  # no Secret
    kubernetes.add_secret(signing_keys.KEYS_SECRET, namespace="longtask")
    key = (await client.get("/api/v1/me/callback-key")).json()["key"]
    assert signing_keys.check_key(key) == key
    assert (await client.get("/api/v1/me/callback-key")).json()["key"] == key
    assert kubernetes.calls.count(f"patch secrets {signing_keys.KEYS_SECRET}") == 1


async def test_a_spoilt_callback_key_is_told_and_left_to_be_mended(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    spoilt = {signing_keys.DEFAULT_OWNER: "whsec_abc"}
    kubernetes.add_secret(signing_keys.KEYS_SECRET, spoilt, namespace="longtask")
    secret = names.ObjectKey("longtask", signing_keys.KEYS_SECRET)
    before = kubernetes.stored("secrets", secret)
    answer = await client.get("/api/v1/me/callback-key")
    assert answer.status_code == 503
    assert "line 1: " in answer.json()["detail"]
    assert kubernetes.stored("secrets", secret) == before


async def test_request_ids_come_back(client: httpx.AsyncClient) -> None:
    given = "0123456789abcdef0123456789abcdef"
    answer = await client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given


async def test_metrics_name_routes_and_never_tasks(
    services: wiring.Services, client: httpx.AsyncClient
) -> None:
    await client.get("/api/v1/tasks/secret-name")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(services.metrics.app()), base_url="http://metrics.test"
    ) as scraper:
        text = (await scraper.get("/metrics")).text
    assert 'handler="/api/v1/tasks/{task_id}"' in text
    assert 'longtask_api_cache_objects{kind="longtasktypes"} 1.0' in text
    assert "secret-name" not in text


async def test_the_description(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    post = document["paths"]["/api/v1/tasks"]["post"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert {link["operationId"] for link in post["responses"]["202"]["links"].values()} <= set(ids)
    assert "{$request.body#/callback/url}" in next(iter(post["callbacks"].values()))
    assert post["security"] == [{"bearer": []}]
    for operation in operations:
        for code, response in operation["responses"].items():
            if code >= "400":
                assert list(response["content"]) == ["application/problem+json"]
    text = str(document)
    assert "HTTPValidationError" not in text
    known = document["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/([A-Za-z]+)", text)) <= set(known)


async def test_the_docs_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert not re.search(r"https?://|<script>|\son\w+=", page.text)
    for link in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        asset = await client.get(f"/{link}")
        assert asset.status_code == 200
        assert asset.headers["Content-Type"].startswith("text/")


def test_vendored_files_are_the_listed_ones() -> None:
    vendor = resources.files("longtask_api") / "ui" / "vendor"
    listed = re.findall(r"`(\S+)` \| `([0-9a-f]{64})`", (vendor / "VENDORED.md").read_text())
    assert listed
    for name, digest in listed:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest


async def test_links_carry_the_prefix_of_the_public_url(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    put_task(kubernetes)
    prefixed = configured.model_copy(update={"public_url": "https://a.test/longtask/"})
    async with wiring.running(kubernetes, prefixed) as services:
        task = await services.tasks.get(CALLER, "a")
        assert services.tasks.view(task).links["self"] == "/longtask/api/v1/tasks/a"


async def test_the_description_is_valid_and_each_operation_has_its_name(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert [*OpenAPIV31SpecValidator(document).iter_errors()] == []
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        for code, answer in operation["responses"].items():
            if code >= "400":
                assert list(answer["content"]) == ["application/problem+json"]
        linked = [
            link["operationId"]
            for answer in operation["responses"].values()
            for link in answer.get("links", {}).values()
        ]
        assert set(linked) <= set(ids)


async def test_the_main_answers_are_shown_as_they_are(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    tasks, queues = paths["/api/v1/tasks"], paths["/api/v1/queues"]
    shown = {
        models.TaskView: tasks["post"]["responses"]["202"]["content"]["application/json"],
        models.TaskPage: tasks["get"]["responses"]["200"]["content"]["application/json"],
        models.QueueList: queues["get"]["responses"]["200"]["content"]["application/json"],
        models.Problem: tasks["post"]["responses"]["422"]["content"]["application/problem+json"],
    }
    for model, content in shown.items():
        read = model.model_validate(content["example"], extra="forbid")
        is_short = model is models.Problem
        shown_as = read.model_dump(mode="json", by_alias=True, exclude_none=is_short)
        assert content["example"] == shown_as


async def test_a_stream_is_described_by_each_of_its_events(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answer = document["paths"]["/api/v1/tasks/{task_id}/events"]["get"]["responses"]["200"]
    schema = answer["content"]["text/event-stream"]["schema"]
    kinds = {
        one["properties"]["event"]["const"]: one["properties"]["data"]["contentSchema"]["$ref"]
        for one in schema["oneOf"]
    }
    assert set(kinds) == set(schema["properties"]["event"]["enum"])
    assert {ref.rpartition("/")[2] for ref in kinds.values()} <= set(
        document["components"]["schemas"]
    )


async def test_whatever_takes_a_body_may_say_that_it_is_too_large(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method == "get" or "413" in operation["responses"], path


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"what is this\r\n\r\n", id="no-http"),
        pytest.param(b"BREW /coffee HTTP/1.1\r\n\r\n", id="an-unknown-method"),
    ],
)
def test_what_is_no_request_is_told_as_a_problem(said: bytes) -> None:
    wire = Wire()
    config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.load()
    loop = asyncio.new_event_loop()
    protocol = connections.bounded(connections.Bounds())(
        config, uvicorn.server.ServerState(), {}, loop
    )
    protocol.connection_made(wire)  # type: ignore[arg-type]
    protocol.data_received(said)
    for begun in asyncio.all_tasks(loop):
        begun.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    head, _, body = bytes(wire.said).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body)["status"] == 400
    assert wire.is_closing()


class Wire:
    """A connection's other end."""

    def __init__(self) -> None:
        self.said = bytearray()
        self._closed = False

    def write(self, data: bytes) -> None:
        self.said += data

    def close(self) -> None:
        self._closed = True

    def is_closing(self) -> bool:
        return self._closed

    def get_extra_info(self, _name: str) -> None:
        return None

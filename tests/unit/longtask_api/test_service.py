import hashlib
import re
from importlib import resources

import httpx
import pytest
from pydantic import ValidationError

from longtask_api import app, errors, ports, settings, testing
from longtask_crds import signing_keys

PUBLIC = {"/healthz", "/readyz", "/version", "/openapi.json", "/docs", "/docs/{name}"}


def routes(application):
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
async def test_every_route_but_the_public_ones_asks_for_the_token(behind, client, given):
    application = app.create_app(behind)
    guarded = {r for r in routes(application) if r[1] not in PUBLIC}
    assert len(guarded) >= 11
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://api.test", headers=given
    ) as stranger:
        for method, path in guarded:
            answer = await stranger.request(method, path.replace("{task_id}", "a"))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_public_routes(client):
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
async def test_the_routers_own_errors_are_problems_too(client, method, path, status):
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status


async def test_what_nobody_foresaw_tells_nothing(client, behind):
    behind.keys = None  # breaks one endpoint
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


async def test_a_replica_is_not_ready_before_it_has_read_everything(behind, cluster):
    cluster.failure = errors.Unavailable()
    application = app.create_app(behind)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application),
            base_url="http://api.test",
            headers={"Authorization": "Bearer correct-horse"},
        ) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        answer = await client.get("/api/v1/tasks")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_the_callback_key_is_made_once(client, cluster):
    assert (await client.get("/api/v1/me/callback-key")).status_code == 503  # no Secret
    cluster.secrets[signing_keys.KEYS_SECRET] = testing.ports.SecretData({}, "1")
    key = (await client.get("/api/v1/me/callback-key")).json()["key"]
    assert signing_keys.check_key(key) == key
    assert (await client.get("/api/v1/me/callback-key")).json()["key"] == key
    assert cluster.calls.count(f"patch secrets {signing_keys.KEYS_SECRET}") == 1


async def test_a_spoilt_callback_key_is_told_and_left_to_be_mended(client, cluster):
    spoilt = {signing_keys.DEFAULT_OWNER: "whsec_abc"}
    cluster.secrets[signing_keys.KEYS_SECRET] = testing.ports.SecretData(spoilt, "1")
    answer = await client.get("/api/v1/me/callback-key")
    assert answer.status_code == 503
    assert "line 1: " in answer.json()["detail"]
    assert cluster.secrets[signing_keys.KEYS_SECRET].values == spoilt


async def test_request_ids_come_back(client):
    given = "0123456789abcdef0123456789abcdef"
    answer = await client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given


async def test_metrics_name_routes_and_never_tasks(behind, client):
    await client.get("/api/v1/tasks/secret-name")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(behind.metrics.app()), base_url="http://metrics.test"
    ) as scraper:
        text = (await scraper.get("/metrics")).text
    assert 'handler="/api/v1/tasks/{task_id}"' in text
    assert 'longtask_api_cache_objects{kind="longtasktypes"} 1.0' in text
    assert "secret-name" not in text


async def test_the_description(client):
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


async def test_the_docs_need_nothing_from_elsewhere(client):
    page = await client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert not re.search(r"https?://|<script>|\son\w+=", page.text)
    for link in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        asset = await client.get(f"/{link}")
        assert asset.status_code == 200
        assert asset.headers["Content-Type"].startswith("text/")


def test_vendored_files_are_the_listed_ones():
    vendor = resources.files("longtask_api") / "ui" / "vendor"
    listed = re.findall(r"`(\S+)` \| `([0-9a-f]{64})`", (vendor / "VENDORED.md").read_text())
    assert listed
    for name, digest in listed:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest


async def test_links_carry_the_prefix_of_the_public_url(cluster, configured):
    prefixed = configured.model_copy(update={"public_url": "https://a.test/longtask/"})
    behind = app.backend.Backend(cluster, prefixed)
    await cluster.put(ports.TASKS, "a", spec={"type": "fibonacci"})
    task = await cluster.get(ports.TASKS, "a")
    assert behind.tasks.view(task).links["self"] == "/longtask/api/v1/tasks/a"


@pytest.mark.parametrize(
    ("environment", "allowed"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("a.test:80, 10.0.0.0/8", ("a.test:80", "10.0.0.0/8"), id="commas"),
        pytest.param('["a.test:80", "fd00::/8"]', ("a.test:80", "fd00::/8"), id="json"),
    ],
)
def test_the_allow_list(environment, allowed):
    assert settings.Settings(insecure=True, callback_allow=environment).callback_allow == allowed


def test_there_is_no_way_in_without_a_token_but_an_explicit_one(tmp_path):
    with pytest.raises(ValidationError, match="LONGTASK_INSECURE"):
        settings.Settings()
    empty = tmp_path / "token"
    empty.touch()
    with pytest.raises(ValueError, match="holds no token"):
        settings.Settings(token_file=empty).token()

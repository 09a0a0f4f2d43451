"""Large results: from a pod into the database, and out again."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_support import TOKEN, an_identity, key, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, errors, settings, wiring
from longtask_api.stores import blobs
from longtask_crds import names
from longtask_crds.testing import FINISHED, NOW

ATTEMPT = {"number": 1, "jobName": "a-job", "podName": "a-pod", "podUid": "uid-of-a-pod"}
RUNNING = {"phase": "Running", "attempt": 1, "attempts": [ATTEMPT]}
OPERATOR = an_identity(
    username="system:serviceaccount:longtask:longtask-operator",
    audiences=("longtask-operator",),
    bound=False,
)
LARGE = b'["' + b"5" * 2_000_000 + b'"]'


@pytest.fixture
async def running(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    put_task(kubernetes, status=RUNNING)
    await client.get("/api/v1/tasks/a")
    kubernetes.tokens["pod-token"] = an_identity()
    kubernetes.tokens["operator-token"] = OPERATOR


async def put(runner: httpx.AsyncClient, content: Any, media_type: str = "") -> httpx.Response:
    headers = {"Content-Type": media_type} if media_type else {}
    return await runner.put("/runner/v1/result", content=content, headers=headers)


async def in_pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def finish(services: wiring.Services, kubernetes: MemoryKubernetes) -> None:
    status = kubernetes.stored(names.LONGTASKS, "a")["status"]
    ended = {"phase": "Succeeded", "conditions": [FINISHED.to_json()]}
    put_task(kubernetes, status=status | ended)
    await services.resources.wait_for(
        key("a"), lambda task: task is not None and task.is_finished, within=60
    )


async def kept(services: wiring.Services, kubernetes: MemoryKubernetes) -> list[str]:
    """Return the sums of all results that the task has in the database."""
    uid = kubernetes.stored(names.LONGTASKS, "a")["metadata"]["uid"]
    async with services.database.reading() as connection:
        wanted = blobs.BLOBS.select().where(blobs.BLOBS.c.task_uid == uid)
        return [row.sha256 for row in await connection.execute(wanted)]


@pytest.mark.usefixtures("running")
async def test_a_large_result_is_kept_recorded_and_served(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    answer = await put(runner, in_pieces(LARGE), "application/json")
    ref = {"size": len(LARGE), "sha256": sum_of(LARGE)}
    assert (answer.status_code, answer.json()) == (200, ref | {"mediaType": "application/json"})
    assert kubernetes.stored(names.LONGTASKS, "a")["status"] == RUNNING | {"result": {"ref": ref}}
    assert (await client.get("/api/v1/tasks/a/result")).status_code == 409
    await finish(services, kubernetes)
    view = (await client.get("/api/v1/tasks/a")).json()
    assert view["result"]["ref"]["size"] == len(LARGE)
    assert view["resultUrl"] == view["links"]["result"] == "/api/v1/tasks/a/result"
    served = await client.get(view["resultUrl"])
    assert (served.status_code, served.content) == (200, LARGE)
    assert served.headers["Content-Type"] == "application/json"
    assert served.headers["Content-Length"] == str(len(LARGE))


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("content", "declared", "kept_as"),
    [
        pytest.param(b'{"a": 1}\n', "application/json", "application/json", id="json"),
        pytest.param(b"[1]", "", "application/json", id="json-of-which-nothing-is-said"),
        pytest.param(
            b"[1]", "application/x-www-form-urlencoded", "application/json", id="as-curl-says"
        ),
        pytest.param(b"[1]", "text/plain", "text/plain", id="json-that-calls-itself-text"),
        pytest.param(b"[1", "application/json", "text/plain", id="text-that-calls-itself-json"),
        pytest.param("é\n".encode(), "text/plain; charset=utf-8", "text/plain", id="text"),
        pytest.param(b"", "", "text/plain", id="nothing-at-all"),
        pytest.param(b"\xff\x00", "text/plain", "application/octet-stream", id="bytes"),
        pytest.param(b'"\xe9"', "application/json", "application/octet-stream", id="latin-1"),
    ],
)
async def test_what_is_no_json_is_kept_as_it_is_and_says_so(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    content: bytes,
    declared: str,
    kept_as: str,
) -> None:
    assert (await put(runner, content, declared)).json()["mediaType"] == kept_as
    ref = kubernetes.stored(names.LONGTASKS, "a")["status"]["result"]["ref"]
    assert ref.get("mediaType", "application/json") == kept_as
    await finish(services, kubernetes)
    served = await client.get("/api/v1/tasks/a/result")
    assert served.content == content
    assert served.headers["Content-Type"].partition(";")[0] == kept_as


@pytest.mark.usefixtures("running")
async def test_the_same_again_is_fine_and_another_takes_its_place(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    for content in (b"1", b"1", b"2"):
        assert (await put(runner, content)).status_code == 200
        assert await kept(services, kubernetes) == [sum_of(content)]
    ref = kubernetes.stored(names.LONGTASKS, "a")["status"]["result"]["ref"]
    assert ref == {"size": 1, "sha256": sum_of(b"2")}


@pytest.mark.usefixtures("running")
async def test_a_result_may_come_while_progress_is_written(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    left = [1, 2, 3]

    def report(write: str, moment: str) -> None:
        if moment == "before" and left:
            put_task(kubernetes, status=RUNNING | {"progress": {"percent": left.pop()}})

    kubernetes.interrupt = report
    assert (await put(runner, b"1")).status_code == 200
    status = kubernetes.stored(names.LONGTASKS, "a")["status"]
    assert (status["progress"], status["result"]["ref"]["size"]) == ({"percent": 1}, 1)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(
            RUNNING | {"phase": "Failed", "conditions": [FINISHED.to_json()]}, id="it-is-over"
        ),
        pytest.param(
            RUNNING
            | {
                "attempt": 2,
                "attempts": [
                    ATTEMPT | {"finishedAt": "2026-01-02T03:04:05Z"},
                    {"number": 2, "jobName": "b-job"},
                ],
            },
            id="another-attempt-is-made",
        ),
    ],
)
@pytest.mark.usefixtures("running")
async def test_what_arrives_too_late_is_not_recorded(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, meanwhile: dict[str, Any]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1"
        put_task(kubernetes, status=meanwhile)
        yield b"2"

    assert (await put(runner, pieces())).status_code == 409
    assert "result" not in kubernetes.stored(names.LONGTASKS, "a")["status"]


async def test_only_the_current_pod_may_bring_a_result(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    running: None,
) -> None:
    put_pod(kubernetes, "stray")
    put_pod(kubernetes)
    kubernetes.tokens["pod-token"] = an_identity(pod="stray")
    assert (await put(runner, b"1")).status_code == 409
    assert await kept(services, kubernetes) == []
    del runner.headers["Authorization"]
    assert (await put(runner, b"1")).status_code == 401


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("in_advance", [True, False])
async def test_what_is_too_large_is_refused_and_leaves_nothing(
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    runner: httpx.AsyncClient,
    in_advance: bool,
) -> None:
    limit = services.results.limit
    content = b"1" * (limit + 1)
    answer = await put(runner, content if in_advance else in_pieces(content, 1_000_000))
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:longtask:problem:too-large")
    assert str(limit) in answer.json()["detail"]
    assert await kept(services, kubernetes) == []
    assert "result" not in kubernetes.stored(names.LONGTASKS, "a")["status"]


@pytest.mark.usefixtures("running")
async def test_a_body_that_breaks_off_leaves_nothing(
    services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1" * 1_000_000
        raise errors.Malformed("The body ended too early.")

    with pytest.raises(errors.Malformed):
        await services.results.take("pod-token", pieces(), is_text=False)
    assert await kept(services, kubernetes) == []


@pytest.fixture
async def served(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    running: None,
) -> bytes:
    """Keep a result of several pieces that differ; return it."""
    content = b"[" + b",".join(b"%d" % number for number in range(200_000)) + b"]"
    assert len(content) > 2 * blobs.CHUNK_BYTES
    await put(runner, content)
    await finish(services, kubernetes)
    return content


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (
            f"bytes={blobs.CHUNK_BYTES - 1}-{blobs.CHUNK_BYTES}",
            *(blobs.CHUNK_BYTES - 1, blobs.CHUNK_BYTES + 1),
        ),
        ("bytes=1000000-", 1_000_000, None),
        ("bytes=-5", -5, None),
        ("bytes=1000000-99999999", 1_000_000, None),
        ("bytes=-99999999", 0, None),
    ],
)
async def test_a_range_of_a_result(
    client: httpx.AsyncClient, served: bytes, wanted: str, start: int, end: int | None
) -> None:
    answer = await client.get("/api/v1/tasks/a/result", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, served[start:end])
    first = start % len(served) if start < 0 else start
    last = first + len(answer.content) - 1
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(served)}"


@pytest.mark.parametrize(
    "wanted", ["bytes=5-4", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=a-b", ""]
)
async def test_what_is_no_range_is_all_of_it(
    client: httpx.AsyncClient, served: bytes, wanted: str
) -> None:
    answer = await client.get("/api/v1/tasks/a/result", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, served)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("behind", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end(
    client: httpx.AsyncClient, served: bytes, behind: str
) -> None:
    answer = await client.get("/api/v1/tasks/a/result", headers={"Range": behind})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(served)}"
    assert answer.json()["type"] == "urn:longtask:problem:range-not-satisfiable"


async def test_what_is_known_is_not_sent_again(client: httpx.AsyncClient, served: bytes) -> None:
    etag = f'"{sum_of(served)}"'
    path = "/api/v1/tasks/a/result"
    first = await client.get(path, headers={"If-None-Match": '"another"'})
    assert (first.status_code, first.headers["ETag"]) == (200, etag)
    known = await client.get(path, headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    resumed = await client.get(path, headers={"Range": "bytes=10-", "If-Range": etag})
    assert (resumed.status_code, resumed.content) == (206, served[10:])
    another = await client.get(path, headers={"Range": "bytes=10-", "If-Range": '"another"'})
    assert (another.status_code, another.content) == (200, served)


async def test_a_result_in_the_resource_has_ranges_and_an_etag_too(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    done = {"phase": "Succeeded", "conditions": [FINISHED.to_json()], "result": {"value": "abc"}}
    put_task(kubernetes, status=done)
    answer = await client.get("/api/v1/tasks/a/result", headers={"Range": "bytes=1-3"})
    assert (answer.status_code, answer.text) == (206, "abc")
    quoted = b'"abc"'
    assert answer.headers["ETag"] == f'"{sum_of(quoted)}"'


async def test_a_text_in_the_resource_is_served_as_text(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    result = {"value": "hello\n", "mediaType": "text/plain"}
    done = {"phase": "Succeeded", "conditions": [FINISHED.to_json()], "result": result}
    put_task(kubernetes, status=done)
    answer = await client.get("/api/v1/tasks/a/result")
    assert (answer.text, answer.headers["Content-Type"]) == (
        "hello\n",
        "text/plain; charset=utf-8",
    )


@pytest.mark.parametrize(
    ("token", "identity", "code"),
    [
        pytest.param("operator-token", OPERATOR, 200, id="the-operator"),
        pytest.param("pod-token", an_identity(), 401, id="a-task's-pod"),
        pytest.param(
            "operator-token",
            OPERATOR | {"audiences": ["longtask-report"]},
            401,
            id="a-token-for-another",
        ),
        pytest.param(
            "operator-token",
            an_identity(
                username="system:serviceaccount:longtasks:longtask-operator",
                audiences=("longtask-operator",),
            ),
            401,
            id="an-account-of-the-tasks'-namespace",
        ),
        pytest.param(None, OPERATOR, 401, id="nobody"),
    ],
)
async def test_the_operator_reads_what_is_kept_and_nobody_else(
    runner: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    served: bytes,
    token: str | None,
    identity: dict[str, Any],
    code: int,
) -> None:
    if token is not None:
        kubernetes.tokens[token] = identity
    uid = kubernetes.stored(names.LONGTASKS, "a")["metadata"]["uid"]
    answer = await runner.get(
        f"/runner/v1/tasks/{uid}/result",
        params={"sha256": sum_of(served)},
        headers={"Authorization": f"Bearer {token}" if token else ""},
    )
    assert answer.status_code == code
    if code == 200:
        assert answer.content == served


async def test_the_operator_is_told_that_a_result_is_gone(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, served: bytes
) -> None:
    uid = kubernetes.stored(names.LONGTASKS, "a")["metadata"]["uid"]
    answer = await runner.get(
        f"/runner/v1/tasks/{uid}/result",
        params={"sha256": "0" * 64},
        headers={"Authorization": "Bearer operator-token"},
    )
    assert answer.status_code == 404


async def test_without_the_database_all_else_goes_on(
    kubernetes: MemoryKubernetes, configured: settings.Settings, tmp_path: Path
) -> None:
    put_task(kubernetes, status=RUNNING)
    kubernetes.tokens["pod-token"] = an_identity()
    nowhere = configured.model_copy(
        update={"database_url": f"sqlite:///{tmp_path}/nothing/here/a.db"}
    )
    async with (
        wiring.running(kubernetes, nowhere, clock=lambda: NOW) as services,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as client,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_tasks(services)),
            base_url="http://runner.test",
            headers={"Authorization": "Bearer pod-token"},
        ) as runner,
    ):
        await services.health.synced()
        answers = [
            await client.get("/readyz"),
            await client.post("/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}}),
            await client.get("/api/v1/tasks"),
            await client.get("/api/v1/tasks/a"),
            await runner.post("/runner/v1/progress", json={"percent": 1}),
        ]
        assert [answer.status_code for answer in answers] == [200, 202, 200, 200, 200]
        refused = await put(runner, b"1")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        (tmp_path / "nothing" / "here").mkdir(parents=True)
        assert (await put(runner, b"1")).status_code == 200

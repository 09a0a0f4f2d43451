"""Pipelines at both doors: what programs of steps report and bring, and what is shown of it."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from api_support import an_identity, key, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_crds import names
from longtask_crds.testing import FINISHED

UID = "uid-of-a"
SPEC = {
    "steps": [
        {"name": "fetch", "type": "fibonacci", "input": {"n": 1}, "weight": 3},
        {"name": "convert", "type": "fibonacci", "forEach": {"$from": "steps.fetch"}},
        {"name": "tidy", "type": "fibonacci", "finally": True},
    ]
}
LARGE = json.dumps({"rows": ["é" * 20] * 5000, "n": 7}, ensure_ascii=False).encode()


def a_run(job: str, **values: Any) -> dict[str, Any]:
    """Return the status of a program that runs in the pod `<job>-pod`."""
    pod = {"podName": f"{job}-pod", "podUid": f"uid-of-{job}-pod"}
    return {"phase": "Running", "attempt": 1, "jobName": job} | pod | values


async def put_pipeline(
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    *,
    fetch: dict[str, Any] | None = None,
    children: list[dict[str, Any]] | None = None,
    tidy: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> None:
    steps = [
        {"name": "fetch"} | (fetch or a_run("f")),
        {"name": "convert", "phase": "Pending"}
        | ({"phase": "Running", "items": 2, "children": children} if children else {}),
        {"name": "tidy"} | (tidy or {"phase": "Pending"}),
    ]
    usual = {"phase": "Running", "attempt": 1, "progress": {"percent": 0}, "step": "1/3 fetch"}
    put_task(
        kubernetes,
        metadata={"uid": UID, "creationTimestamp": "2026-01-02T03:04:05Z"},
        spec=SPEC | (spec or {}),
        status=usual | {"steps": steps} | status,
    )
    await services.resources.look(key("a"))


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stored(kubernetes: MemoryKubernetes) -> Any:
    return kubernetes.stored(names.LONGTASKS, "a")["status"]


@pytest.fixture
def pods(kubernetes: MemoryKubernetes) -> None:
    """The pods of all programs, each with a token, and the operator."""
    for run, job in (("fetch", "f"), ("convert.0", "c0"), ("convert.1", "c1"), ("tidy", "t")):
        put_pod(kubernetes, f"{job}-pod", job=job)
        pod = kubernetes.stored("pods", f"{job}-pod")
        labels = pod["metadata"]["labels"] | {names.STEP_LABEL: run}
        kubernetes.put("pods", f"{job}-pod", metadata=pod["metadata"] | {"labels": labels})
        kubernetes.tokens[job] = an_identity(pod=f"{job}-pod")
    kubernetes.tokens["operator"] = an_identity(
        username="system:serviceaccount:longtask:longtask-operator",
        audiences=("longtask-operator",),
        bound=False,
    )


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def report(runner: httpx.AsyncClient, token: str, **said: Any) -> httpx.Response:
    """Report, and come back when it is stored."""
    return await runner.post("/runner/v1/progress", json=said | {"final": True}, headers=by(token))


# --- reports


@pytest.mark.usefixtures("pods")
async def test_a_report_is_written_to_the_program_and_told_of_the_whole(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    await put_pipeline(services, kubernetes)
    before = stored(kubernetes)
    answer = await report(runner, "f", percent=50, message="halfway", checkpoint={"at": 5})
    assert (answer.status_code, answer.json()) == (200, {"cancelRequested": False})
    after = stored(kubernetes)
    said = after["steps"][0].pop("progress")
    assert (said["percent"], said["checkpoint"]) == (50, {"at": 5})
    # Three of the five shares are half done.
    assert after["progress"]["percent"] == 30
    assert after["progress"]["message"] == "fetch: halfway"
    assert {**after, "progress": None} == {**before, "progress": None}
    view = (await client.get("/api/v1/tasks/a")).json()
    assert (view["percent"], view["message"], view["step"]) == (30, "fetch: halfway", "1/3 fetch")
    assert [step["name"] for step in view["steps"]] == ["fetch", "convert", "tidy"]


@pytest.mark.usefixtures("pods")
async def test_a_message_of_one_of_many_programs_is_short(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    await put_pipeline(services, kubernetes)
    answer = await report(runner, "f", message="m" * names.MESSAGE_MAX)
    assert answer.status_code == 200
    said = stored(kubernetes)["steps"][0]["progress"]
    assert said["message"] == "m" * names.BRIEF_MAX


@pytest.mark.usefixtures("pods")
async def test_items_report_each_for_itself_and_the_whole_never_falls(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    done = {"phase": "Succeeded", "result": {"value": [1, 2]}}
    # The children stand in the order in which they began.
    children = [{"index": 1} | a_run("c1"), {"index": 0} | a_run("c0")]
    await put_pipeline(
        services, kubernetes, fetch=done, children=children, progress={"percent": 70}
    )
    assert (await report(runner, "c0", percent=90)).status_code == 200
    assert (await report(runner, "c1", percent=10)).status_code == 200
    of_step = stored(kubernetes)["steps"][1]["children"]
    assert [child["progress"]["percent"] for child in of_step] == [10, 90]
    assert stored(kubernetes)["progress"]["percent"] == 70


@pytest.mark.usefixtures("pods")
async def test_checkpoints_of_all_programs_fit_into_the_resource(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    large = {"checkpoint": "x" * 16_000}
    children = [{"index": at} | a_run(f"c{at}") for at in range(2)]
    done = {"phase": "Succeeded", "result": {"value": [1]}}
    await put_pipeline(services, kubernetes, fetch=done, children=children)
    assert (await report(runner, "c0", **large)).status_code == 200
    refused = await report(runner, "c1", **large)
    assert refused.status_code == 413
    assert "they may have 20480" in refused.json()["detail"]
    # What takes the place of its own last one is no more than before.
    assert (await report(runner, "c0", **large)).status_code == 200


@pytest.mark.usefixtures("pods")
async def test_what_others_wrote_meanwhile_is_seen_before_it_is_told_again(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    await put_pipeline(services, kubernetes)
    task = await services.resources.look(key("a"))
    assert task is not None
    # Another replica told of more, and this one has not heard of it.
    put_task(kubernetes, status={"progress": {"percent": 44}})
    with pytest.raises(Exception, match="testing value /status/progress/percent"):
        await services.resources.write_progress_of_steps(task, {"fetch": {"percent": 1}})
    assert services.resources.cached_task(key("a")).status.progress.percent == 44
    assert (await report(runner, "f", percent=1)).status_code == 200
    assert stored(kubernetes)["progress"]["percent"] == 44


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({}, 200, id="the-recorded-pod"),
        pytest.param({"podName": None, "podUid": None}, 200, id="not-recorded-yet-but-of-its-job"),
        pytest.param({"podUid": "another"}, 409, id="another-pod-is-recorded"),
        pytest.param({"podUid": None, "jobName": "g"}, 409, id="of-another-job"),
        pytest.param({"podUid": None, "jobUid": "x"}, 409, id="of-another-job-with-its-name"),
        pytest.param({"phase": "Succeeded"}, 409, id="the-step-is-over"),
        pytest.param({"finishedAt": "2026-01-02T03:04:05Z"}, 409, id="the-attempt-is-over"),
        pytest.param({"phase": "Pending", "attempt": None}, 409, id="nothing-is-claimed"),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_who_may_report(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    changed: dict[str, Any],
    code: int,
) -> None:
    fetch = {k: v for k, v in a_run("f", **changed).items() if v is not None}
    await put_pipeline(services, kubernetes, fetch=fetch)
    assert (await report(runner, "f", percent=1)).status_code == code


@pytest.mark.parametrize("label", ["", "convert", "fetch.0", "fetch.x", "nothing"])
@pytest.mark.usefixtures("pods")
async def test_a_pod_of_no_program_is_refused(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes, label: str
) -> None:
    await put_pipeline(services, kubernetes, fetch=a_run("f", podUid=None))
    labels = {names.TASK_LABEL: "a", names.STEP_LABEL: label}
    pod = kubernetes.stored("pods", "f-pod")
    kubernetes.put("pods", "f-pod", metadata=pod["metadata"] | {"labels": labels})
    assert (await report(runner, "f", percent=1)).status_code == 409


@pytest.mark.parametrize(
    ("token", "parts", "told"),
    [
        pytest.param("f", {}, False, id="goes-on"),
        pytest.param("f", {"spec": {"cancel": True}}, True, id="cancelled"),
        pytest.param("f", {"outcome": {"phase": "Failed", "reason": "x"}}, True, id="one-failed"),
        pytest.param(
            "f", {"outcome": {"phase": "Succeeded", "reason": "x"}}, False, id="all-went-well"
        ),
        pytest.param("t", {"spec": {"cancel": True}}, False, id="finally-runs-after-all"),
        pytest.param("t", {"outcome": {"phase": "Failed", "reason": "x"}}, False, id="and-this"),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_a_program_hears_that_it_is_to_end(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    token: str,
    parts: dict[str, Any],
    told: bool,
) -> None:
    await put_pipeline(services, kubernetes, tidy=a_run("t"), **parts)
    answer = await runner.post("/runner/v1/progress", json={}, headers=by(token))
    assert answer.json() == {"cancelRequested": told}


# --- results


@pytest.mark.usefixtures("pods")
async def test_a_large_result_of_an_item_is_kept_for_it(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    await put_pipeline(
        services, kubernetes, fetch={"phase": "Succeeded"}, children=[{"index": 1} | a_run("c1")]
    )
    before = stored(kubernetes)
    answer = await runner.put("/runner/v1/result", content=LARGE, headers=by("c1"))
    assert answer.status_code == 200
    after = stored(kubernetes)
    ref = {"size": len(LARGE), "sha256": sum_of(LARGE)}
    assert after["steps"][1]["children"][0].pop("result") == {"ref": ref}
    assert after == before


async def keep(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    content: bytes,
    media_type: str = "",
) -> dict[str, Any]:
    """Keep a result of the step `fetch`; return its reference."""
    await put_pipeline(services, kubernetes)
    headers = by("f") | ({"Content-Type": media_type} if media_type else {})
    answer = await runner.put("/runner/v1/result", content=content, headers=headers)
    assert answer.status_code == 200
    ref: dict[str, Any] = stored(kubernetes)["steps"][0]["result"]["ref"]
    return ref


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.usefixtures("pods")
async def test_a_later_step_gets_a_whole_result(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    is_kept: bool,
) -> None:
    content, result = b'{"n":1}', {"value": {"n": 1}}
    if is_kept:
        content, result = LARGE, {"ref": await keep(runner, services, kubernetes, LARGE)}
    path = "/runner/v1/steps/fetch/result"
    assert (await runner.get(path, headers=by("f"))).status_code == 409
    # The news of its end comes with the question.
    await put_pipeline(
        services, kubernetes, fetch={"phase": "Succeeded", "result": result}, tidy=a_run("t")
    )
    answer = await runner.get(path, headers=by("t"))
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Length"] == str(len(content))
    served = await client.get("/api/v1/tasks/a/result?step=fetch")
    assert (served.status_code, served.content) == (200, content)


@pytest.mark.parametrize(
    ("name", "fetch", "code"),
    [
        pytest.param("fetch", {"phase": "Failed"}, 404, id="it-failed"),
        pytest.param("fetch", {"phase": "Skipped"}, 404, id="it-was-not-taken"),
        pytest.param("nothing", {"phase": "Succeeded"}, 404, id="no-such-step"),
        pytest.param("fetch", {"phase": "Retrying"}, 409, id="it-goes-on"),
        pytest.param(
            "fetch",
            {"phase": "Succeeded", "result": {"ref": {"size": 1, "sha256": "0" * 64}}},
            404,
            id="it-is-not-kept",
        ),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_what_no_step_has_brought(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    name: str,
    fetch: dict[str, Any],
    code: int,
) -> None:
    await put_pipeline(services, kubernetes, fetch=fetch, tidy=a_run("t"))
    answer = await runner.get(f"/runner/v1/steps/{name}/result", headers=by("t"))
    assert answer.status_code == code
    await client.get("/api/v1/tasks/a")
    assert (await client.get(f"/api/v1/tasks/a/result?step={name}")).status_code == code


@pytest.mark.usefixtures("pods")
async def test_what_another_task_brought_is_found(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
) -> None:
    ref = await keep(runner, services, kubernetes, LARGE) | {"taskUid": UID}
    done = {"phase": "Succeeded", "result": {"ref": ref}, "reused": True}
    put_task(
        kubernetes,
        "b",
        spec=SPEC,
        status={
            "phase": "Succeeded",
            "conditions": [FINISHED.to_json()],
            "steps": [{"name": "fetch"} | done],
            "result": {"ref": ref},
        },
    )
    for query in ("", "?step=fetch"):
        served = await client.get(f"/api/v1/tasks/b/result{query}")
        assert (served.status_code, served.content) == (200, LARGE)


@pytest.mark.parametrize(
    ("content", "media_type", "pointer", "code", "part"),
    [
        pytest.param(LARGE, "", "/n", 200, "7", id="a-number"),
        pytest.param(LARGE, "", "/rows/4999", 200, '"' + "é" * 20 + '"', id="the-last-item"),
        pytest.param(LARGE, "", "/rows/5000", 422, None, id="no-such-item"),
        pytest.param(LARGE, "", "n", 422, None, id="no-pointer"),
        pytest.param(LARGE, "", "", 413, None, id="all-of-it"),
        pytest.param(b'{"a/b": {"~": 1.50}}', "", "/a~1b/~0", 200, "1.50", id="escaped-keys"),
        pytest.param(b"a\nb", "text/plain", "", 200, '"a\\nb"', id="text"),
        pytest.param(b"a\nb", "text/plain", "/0", 422, None, id="a-part-of-text"),
        pytest.param(b"x" * 65_536, "text/plain", "", 413, None, id="long-text"),
        pytest.param(b"\xff", "", "", 422, None, id="bytes"),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_the_operator_gets_parts(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    content: bytes,
    media_type: str,
    pointer: str,
    code: int,
    part: str | None,
) -> None:
    ref = await keep(runner, services, kubernetes, content, media_type)
    query = {"sha256": ref["sha256"], "pointer": pointer}
    path = f"/runner/v1/tasks/{UID}/result"
    answer = await runner.get(path, params=query, headers=by("operator"))
    assert answer.status_code == code
    if part is not None:
        assert answer.text == part
        assert answer.headers["Content-Type"] == "application/json"
    assert (await runner.get(path, params=query, headers=by("f"))).status_code == 401


async def compose(runner: httpx.AsyncClient, uid: str = "new", **order: Any) -> httpx.Response:
    body = {"run": "convert", "attempt": 1} | order
    return await runner.put(f"/runner/v1/tasks/{uid}/result", json=body, headers=by("operator"))


@pytest.mark.usefixtures("pods")
async def test_a_result_is_made_of_others(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    json_ref = await keep(runner, services, kubernetes, LARGE)
    text_ref = await keep(runner, services, kubernetes, 'é"\n'.encode(), "text/plain")
    parts = [
        {"sha256": json_ref["sha256"], "taskUid": UID},
        {"value": None},
        {"value": {"n": 1.5}},
        {"sha256": text_ref["sha256"], "taskUid": UID},
        {"value": "a", "mediaType": "text/plain"},
    ]
    # The one of a program gives way only to another one of the same attempt.
    assert (await compose(runner, isList=True, parts=parts)).status_code == 404
    await keep(runner, services, kubernetes, LARGE)
    parts.pop(3)
    made = await compose(runner, isList=True, parts=parts)
    expected = b"[" + LARGE + b',null,{"n":1.5},"a"]'
    told = {"size": len(expected), "sha256": sum_of(expected), "mediaType": "application/json"}
    assert (made.status_code, made.json()) == (200, told)
    # The same again is the same.
    assert (await compose(runner, isList=True, parts=parts)).json() == told
    found = await runner.get(
        "/runner/v1/tasks/new/result", params={"sha256": told["sha256"]}, headers=by("operator")
    )
    assert found.content == expected


@pytest.mark.parametrize(
    ("content", "media_type", "order", "code", "expected"),
    [
        pytest.param(b"[1 ]", "", {}, 200, b"[1 ]", id="one-alone-stays-as-it-is"),
        pytest.param("é\n".encode(), "text/plain", {}, 200, "é\n".encode(), id="text-alone"),
        pytest.param(
            "é\n".encode(), "text/plain", {"isList": True}, 200, '["é\\n"]'.encode(), id="in-a-list"
        ),
        pytest.param(b"\xff", "", {"isList": True}, 422, None, id="bytes-are-no-item"),
        pytest.param(b"1", "", {"parts": []}, 422, None, id="of-nothing"),
        pytest.param(b"1", "", {"attempt": 0}, 422, None, id="of-no-attempt"),
        pytest.param(b"1", "", {"more": 1}, 422, None, id="an-unknown-field"),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_what_may_be_made(
    runner: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    content: bytes,
    media_type: str,
    order: dict[str, Any],
    code: int,
    expected: bytes | None,
) -> None:
    ref = await keep(runner, services, kubernetes, content, media_type)
    parts = [{"sha256": ref["sha256"]}]
    answer = await compose(runner, UID, **({"parts": parts} | order))
    assert answer.status_code == code
    if expected is not None:
        assert answer.json()["sha256"] == sum_of(expected)


@pytest.mark.usefixtures("pods")
async def test_nothing_is_made_that_is_larger_than_what_is_kept(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    ref = await keep(runner, services, kubernetes, b'"' + b"x" * 1_000_000 + b'"')
    parts = [{"sha256": ref["sha256"]}] * 34
    assert (await compose(runner, UID, isList=True, parts=parts)).status_code == 413


@pytest.mark.usefixtures("pods")
async def test_what_is_as_deep_as_a_status_may_be_is_taken(
    runner: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert (await compose(runner, parts=[{"value": deep}])).status_code == 200
    assert (await compose(runner, parts=[{"value": [deep]}])).status_code == 400


# --- logs

CLAIMS = [{"claimedAt": f"2026-01-02T03:04:0{second}Z"} for second in range(3)]
OVER = {"phase": "Succeeded", "finishedAt": "2026-01-02T03:04:09Z"}
FAILED = OVER | {"phase": "Failed"}


@pytest.mark.parametrize(
    ("query", "parts", "shown"),
    [
        pytest.param("", {}, "fetch", id="the-one-that-has-begun"),
        pytest.param(
            "",
            {
                "fetch": a_run("f", **OVER),
                "children": [
                    {"index": 0} | a_run("c0", **OVER),
                    {"index": 1} | a_run("c1"),
                ],
            },
            "convert.1",
            id="the-first-that-goes-on",
        ),
        pytest.param(
            "",
            {"fetch": a_run("f", **FAILED, **CLAIMS[0]), "tidy": a_run("t", **OVER, **CLAIMS[1])},
            "fetch",
            id="the-first-that-failed",
        ),
        pytest.param(
            "",
            {"fetch": a_run("f", **OVER, **CLAIMS[0]), "tidy": a_run("t", **OVER, **CLAIMS[1])},
            "tidy",
            id="the-last",
        ),
        pytest.param("?step=fetch", {"tidy": a_run("t")}, "fetch", id="the-one-that-is-named"),
        pytest.param(
            "?step=convert",
            {"children": [{"index": 0} | a_run("c0", **OVER), {"index": 1} | a_run("c1")]},
            "convert.1",
            id="of-a-steps-items-likewise",
        ),
        pytest.param(
            "?step=convert.0",
            {"children": [{"index": 0} | a_run("c0", **OVER), {"index": 1} | a_run("c1")]},
            "convert.0",
            id="an-item",
        ),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_logs(
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    query: str,
    parts: dict[str, Any],
    shown: str,
) -> None:
    for job, run in (("f", "fetch"), ("c0", "convert.0"), ("c1", "convert.1"), ("t", "tidy")):
        kubernetes.logs[f"{job}-pod"] = [f"log of {run}\n".encode()]
    await put_pipeline(services, kubernetes, **parts)
    answer = await client.get(f"/api/v1/tasks/a/logs{query}")
    assert (answer.status_code, answer.text) == (200, f"log of {shown}\n")
    assert answer.headers["LongTask-Step"] == shown


@pytest.mark.parametrize(
    ("query", "parts", "code"),
    [
        pytest.param("?step=nothing", {}, 404, id="no-such-step"),
        pytest.param("?step=tidy", {}, 409, id="not-begun"),
        pytest.param("?step=tidy", {"tidy": {"phase": "Skipped"}}, 404, id="not-taken"),
        pytest.param("?step=fetch&attempt=2", {}, 404, id="no-such-attempt"),
        pytest.param("", {"fetch": {"phase": "Pending"}}, 409, id="nothing-has-begun"),
    ],
)
@pytest.mark.usefixtures("pods")
async def test_logs_that_are_not_there(
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    query: str,
    parts: dict[str, Any],
    code: int,
) -> None:
    await put_pipeline(services, kubernetes, **parts)
    assert (await client.get(f"/api/v1/tasks/a/logs{query}")).status_code == code


@pytest.mark.usefixtures("pods")
async def test_an_earlier_attempt_is_found_by_its_job_or_in_what_is_kept(
    client: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    await put_pipeline(services, kubernetes, fetch=a_run("f", attempt=3))
    job = names.job_name("a", UID, attempt=2, step="fetch")
    put_pod(kubernetes, "second", job=job, attempt=2)
    pod = kubernetes.stored("pods", "second")
    labels = pod["metadata"]["labels"] | {names.STEP_LABEL: "fetch"}
    kubernetes.put("pods", "second", metadata=pod["metadata"] | {"labels": labels})
    kubernetes.logs["second"] = [b"the second\n"]
    path = "/api/v1/tasks/a/logs?step=fetch&attempt="
    assert (await client.get(f"{path}2")).text == "the second\n"
    assert (await client.get(f"{path}1")).status_code == 404


# --- once more


async def put_failed(
    services: wiring.Services, kubernetes: MemoryKubernetes, phase: str = "Failed", **spec: Any
) -> None:
    ref = {"size": len(LARGE), "sha256": sum_of(LARGE)}
    await put_pipeline(
        services,
        kubernetes,
        fetch={"phase": "Succeeded", "result": {"ref": ref}},
        children=[{"index": 1} | a_run("c1", **FAILED, progress={"checkpoint": {"at": 4}})],
        spec=spec,
        phase=phase,
        conditions=[FINISHED.to_json()],
    )


async def retry(
    client: httpx.AsyncClient, changes: dict[str, Any] | None = None, **query: Any
) -> httpx.Response:
    return await client.post(
        "/api/v1/tasks/a:retry", params={"fromFailed": "true"} | query, json=changes or {}
    )


async def test_a_pipeline_goes_on_where_another_failed(
    client: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    spec = {"steps": [s | {"input": {"n": 1}} for s in SPEC["steps"]]}
    await put_failed(services, kubernetes, **spec)
    answer = await retry(client, {"name": "b", "maxParallel": 2, "idempotencyKey": "k"})
    assert answer.status_code == 202, answer.text
    made = kubernetes.stored(names.LONGTASKS, "b")
    assert made["spec"] == spec | {"maxParallel": 2}
    taken = json.loads(made["metadata"]["annotations"][names.REUSE_ANNOTATION])
    assert taken["results"]["fetch"]["ref"]["taskUid"] == UID
    assert taken["checkpoints"] == {"convert.1": {"at": 4}}
    assert answer.json()["retryOf"] == "a"
    same = {"name": "b", "maxParallel": 2, "idempotencyKey": "k"}
    assert (await retry(client, same)).status_code == 200
    # From its beginning is another request.
    assert (await retry(client, same, fromFailed="false")).status_code == 409


@pytest.mark.parametrize(
    ("phase", "changes", "code", "pointers"),
    [
        pytest.param("Succeeded", {}, 409, [], id="one-that-succeeded"),
        pytest.param(
            "Failed",
            {"steps": [SPEC["steps"][0] | {"input": {"n": 2}}, *SPEC["steps"][1:]]},
            422,
            ["/steps/0/input"],
            id="other-work-of-a-step-that-succeeded",
        ),
        pytest.param(
            "Cancelled", {"steps": None, "type": "fibonacci"}, 422, ["/steps"], id="no-steps"
        ),
        pytest.param("Failed", {"steps": [1]}, 422, ["/steps/0"], id="no-step-at-all"),
    ],
)
async def test_what_cannot_go_on(
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    phase: str,
    changes: dict[str, Any],
    code: int,
    pointers: list[str],
) -> None:
    await put_failed(services, kubernetes, phase)
    answer = await retry(client, changes)
    assert answer.status_code == code
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


async def test_what_failed_may_be_changed(
    client: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    spec = {"steps": [s | {"input": {"n": 1}} for s in SPEC["steps"]]}
    await put_failed(services, kubernetes, **spec)
    steps = [*spec["steps"][:1], spec["steps"][1] | {"input": {"n": 7}}, *spec["steps"][2:]]
    answer = await retry(client, {"name": "b", "steps": steps, "input": {"day": 1}})
    assert answer.status_code == 202, answer.text
    made = kubernetes.stored(names.LONGTASKS, "b")
    assert made["spec"] == {"steps": steps, "input": {"day": 1}}
    taken = json.loads(made["metadata"]["annotations"][names.REUSE_ANNOTATION])
    # What it had done of the other work is none of this one's.
    assert (list(taken["results"]), taken.get("checkpoints", {})) == (["fetch"], {})


async def test_a_plain_task_has_nothing_to_go_on_from(
    client: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, status={"phase": "Failed", "conditions": [FINISHED.to_json()]})
    assert (await retry(client)).status_code == 409


# --- at the door


async def test_a_pipeline_is_handed_over(
    client: httpx.AsyncClient, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    steps = [{"name": "a", "type": "fibonacci", "input": {"n": 1}}]
    answer = await client.post("/api/v1/tasks", json={"name": "p", "steps": steps})
    assert answer.status_code == 202
    assert (answer.json()["type"], answer.json()["queue"]) == (None, "default")
    assert kubernetes.stored(names.LONGTASKS, "p")["spec"] == {"steps": steps}
    half = {"name": "a", "container": {"image": "a"}, "input": "x" * 33_000}
    large = {"steps": [half, half | {"name": "b", "input": None, "forEach": ["x" * 33_000]}]}
    refused = await client.post("/api/v1/tasks", json=large)
    assert (refused.status_code, "all steps together" in refused.text) == (413, True)

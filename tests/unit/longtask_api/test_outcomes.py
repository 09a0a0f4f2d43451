"""How programs say that they end: what the runner port takes of that, from whom, and until when."""

from typing import Any

import httpx
import pytest

from api_support import an_identity, put_pod, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_crds import names, runner_contract
from longtask_crds.testing import FINISHED, NOW

STAMP = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
ATTEMPT = {"number": 1, "jobName": "a-job"}
CLAIMED = {"phase": "Starting", "attempt": 1, "attempts": [ATTEMPT]}
POD = {"podName": "a-pod", "podUid": "uid-of-a-pod"}
RUNNING = CLAIMED | {"attempts": [ATTEMPT | POD]}
REF = {"size": 5000, "sha256": "0" * 64}


@pytest.fixture
async def claimed(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    """A task whose pod nobody has recorded yet."""
    put_task(kubernetes, status=CLAIMED)
    put_pod(kubernetes)
    kubernetes.tokens["pod-token"] = an_identity()
    await client.get("/api/v1/tasks/a")


async def say(runner: httpx.AsyncClient, **said: Any) -> httpx.Response:
    return await runner.post("/runner/v1/outcome", json=said)


def status_of(kubernetes: MemoryKubernetes) -> dict[str, Any]:
    status: dict[str, Any] = kubernetes.stored(names.LONGTASKS, "a")["status"]
    return status


async def change(kubernetes: MemoryKubernetes, client: httpx.AsyncClient, **parts: Any) -> None:
    put_task(kubernetes, **parts)
    await client.get("/api/v1/tasks/a")


@pytest.mark.usefixtures("claimed")
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(
            {"exitCode": 0, "result": {"n": [1, None]}},
            {"exitCode": 0, "result": {"value": {"n": [1, None]}}},
            id="a-result",
        ),
        pytest.param({"exitCode": 0}, {"exitCode": 0, "result": {}}, id="none"),
        pytest.param(
            {"exitCode": 75, "message": "later"}, {"exitCode": 75, "message": "later"}, id="failure"
        ),
        pytest.param({"exitCode": 255}, {"exitCode": 255}, id="a-failure-without-words"),
    ],
)
async def test_what_is_said_is_recorded_and_nothing_else(
    runner: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    said: dict[str, Any],
    kept: dict[str, Any],
) -> None:
    answer = await say(runner, **said)
    assert answer.status_code == 200, answer.text
    report = status_of(kubernetes)["report"]
    assert answer.json() == {"reportedAt": report["reportedAt"]}
    assert report == {"attempt": 1, "reportedAt": report["reportedAt"]} | POD | kept
    assert status_of(kubernetes) == CLAIMED | {"report": report}


@pytest.mark.usefixtures("claimed")
async def test_a_result_that_was_sent_before_is_meant_if_none_is_said(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await change(kubernetes, client, status=RUNNING | {"result": {"ref": REF}})
    assert (await say(runner, exitCode=0)).status_code == 200
    assert status_of(kubernetes)["report"]["result"] == {"ref": REF}


@pytest.mark.usefixtures("claimed")
async def test_the_same_again_is_answered_the_same_before_and_after_the_end(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    first = await say(runner, exitCode=0, result=7)
    writes = kubernetes.writes
    assert (await say(runner, exitCode=0, result=7)).json() == first.json()
    assert (await say(runner, exitCode=0, result=8)).status_code == 409
    at = first.json()["reportedAt"]
    ended = ATTEMPT | POD | {"finishedAt": at, "reportedAt": at, "exitCode": 0}
    over = {
        "phase": "Succeeded",
        "attempt": 1,
        "attempts": [ended],
        "result": {"value": 7},
        "conditions": [FINISHED.to_json()],
    }
    await change(kubernetes, client, status=over)
    writes = kubernetes.writes
    again = await say(runner, exitCode=0, result=7)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await say(runner, exitCode=0, result=8)).status_code == 409
    assert (await say(runner, exitCode=1)).status_code == 409
    assert kubernetes.writes == writes


@pytest.mark.parametrize(
    ("status", "spec"),
    [
        pytest.param(
            CLAIMED | {"attempts": [ATTEMPT | POD | {"podUid": "uid-of-another"}]},
            {},
            id="another-pod-counts",
        ),
        pytest.param(
            {
                "attempt": 2,
                "attempts": [
                    ATTEMPT | POD | {"finishedAt": STAMP, "exitCode": 0},
                    {"number": 2, "jobName": "b-job"},
                ],
            },
            {},
            id="another-attempt-runs",
        ),
        pytest.param(
            RUNNING | {"attempts": [ATTEMPT | POD | {"finishedAt": STAMP, "exitCode": 0}]},
            {},
            id="it-has-ended-without-a-word",
        ),
        pytest.param(RUNNING, {"cancel": True}, id="it-was-cancelled-before"),
        pytest.param(
            RUNNING | {"attempts": [ATTEMPT | POD | {"reason": "HeartbeatTimeout"}]},
            {},
            id="it-is-being-ended",
        ),
        pytest.param(
            RUNNING | {"phase": "Failed", "conditions": [FINISHED.to_json()]}, {}, id="all-is-over"
        ),
    ],
)
@pytest.mark.usefixtures("claimed")
async def test_what_comes_too_late_is_refused(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    status: dict[str, Any],
    spec: dict[str, Any],
) -> None:
    await change(kubernetes, client, status=status, spec={"type": "fibonacci"} | spec)
    before = kubernetes.stored(names.LONGTASKS, "a")
    assert (await say(runner, exitCode=0)).status_code == 409
    assert kubernetes.stored(names.LONGTASKS, "a") == before


def delete_pod(kubernetes: MemoryKubernetes) -> None:
    """Have the pod told to end, as an eviction does."""
    meta = kubernetes.stored("pods", "a-pod")["metadata"]
    kubernetes.put("pods", "a-pod", metadata=meta | {"deletionTimestamp": STAMP})


@pytest.mark.usefixtures("claimed")
async def test_a_failure_while_its_pod_is_being_deleted_is_not_the_programs(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    delete_pod(kubernetes)
    answer = await say(runner, exitCode=1, message="told to end")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "The pod is being deleted: of that its own end tells.",
    )
    assert "report" not in status_of(kubernetes)
    assert (await say(runner, exitCode=0)).status_code == 200


@pytest.mark.usefixtures("claimed")
async def test_a_failure_of_a_pod_that_is_gone_is_not_the_programs(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    assert (await runner.post("/runner/v1/progress", json={})).status_code == 200
    kubernetes.remove_pod("a-pod")
    assert (await say(runner, exitCode=1)).status_code == 409
    assert "report" not in status_of(kubernetes)


@pytest.mark.usefixtures("claimed")
async def test_a_failure_that_came_before_the_deletion_stands(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    first = await say(runner, exitCode=1, message="boom")
    delete_pod(kubernetes)
    again = await say(runner, exitCode=1, message="boom")
    assert (again.status_code, again.json()) == (200, first.json())
    assert status_of(kubernetes)["report"]["message"] == "boom"


@pytest.mark.usefixtures("claimed")
async def test_what_was_asked_before_is_not_overtaken_by_a_cache_that_is_late(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    """The version that was looked at must be the one that is written to."""
    await client.get("/api/v1/tasks/a")
    kubernetes.cancel("a")
    assert (await say(runner, exitCode=0)).status_code == 409
    assert "report" not in status_of(kubernetes)


@pytest.mark.usefixtures("claimed")
async def test_a_report_of_progress_in_between_only_delays_it(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.report_progress("a", 40)
    assert (await say(runner, exitCode=0)).status_code == 200
    assert status_of(kubernetes)["progress"]["percent"] == 40


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        pytest.param({}, 422, "/exitCode", id="no-exit-code"),
        pytest.param({"exitCode": 256}, 422, "/exitCode", id="more-than-a-byte"),
        pytest.param({"exitCode": -1}, 422, "/exitCode", id="less-than-none"),
        pytest.param({"exitCode": True}, 422, "/exitCode", id="no-number"),
        pytest.param({"exitCode": "0"}, 422, "/exitCode", id="a-text"),
        pytest.param({"exitCode": 0, "message": "x"}, 422, "/message", id="words-of-a-success"),
        pytest.param({"exitCode": 1, "result": 1}, 422, "/result", id="a-result-of-a-failure"),
        pytest.param({"exitCode": 1, "message": "x" * 1025}, 422, "/message", id="long-words"),
        pytest.param({"exitCode": 0, "more": 1}, 422, "/more", id="another-field"),
        pytest.param({"exitCode": 0, "result": 2**64}, 422, "/result", id="too-many-digits"),
        pytest.param({"exitCode": 0, "result": "x" * 4094}, 413, None, id="too-large"),
        pytest.param([], 422, "", id="no-object"),
    ],
)
@pytest.mark.usefixtures("claimed")
async def test_what_is_no_report_is_refused(
    runner: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    said: Any,
    code: int,
    pointer: str | None,
) -> None:
    answer = await runner.post("/runner/v1/outcome", json=said)
    assert answer.status_code == code, answer.text
    if pointer is not None:
        assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    assert "report" not in status_of(kubernetes)


@pytest.mark.usefixtures("claimed")
@pytest.mark.parametrize(("depth", "code"), [(runner_contract.VALUE_DEPTH, 200), (101, 422)])
async def test_a_result_is_as_deep_as_one_in_the_output_file(
    runner: httpx.AsyncClient, depth: int, code: int
) -> None:
    result: Any = 1
    for _ in range(depth):
        result = [result]
    assert (await say(runner, exitCode=0, result=result)).status_code == code


async def test_each_program_of_a_pipeline_says_so_for_itself(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    steps = [{"name": "one", "type": "fibonacci"}, {"name": "two", "type": "sleep", "forEach": [1]}]
    claimed = {"phase": "Starting", "attempt": 1}
    status = {
        "phase": "Starting",
        "attempt": 1,
        "steps": [
            {"name": "one", "jobName": "a-job"} | claimed,
            {
                "name": "two",
                "phase": "Running",
                "items": 1,
                "children": [{"index": 0, "jobName": "b-job"} | claimed],
            },
        ],
    }
    put_task(kubernetes, spec={"steps": steps}, status=status)
    for name, run in (("a", "one"), ("b", "two.0")):
        put_pod(kubernetes, f"{name}-pod", job=f"{name}-job")
        raw = kubernetes.stored("pods", f"{name}-pod")["metadata"]
        labels = raw["labels"] | {names.STEP_LABEL: run}
        kubernetes.put("pods", f"{name}-pod", metadata={"labels": labels})
        kubernetes.tokens[f"{name}-token"] = an_identity(pod=f"{name}-pod")
    await client.get("/api/v1/tasks/a")
    for name in ("a", "b"):
        runner.headers["Authorization"] = f"Bearer {name}-token"
        answer = await say(runner, exitCode=0, result=name)
        assert answer.status_code == 200, answer.text
    one, two = status_of(kubernetes)["steps"]
    assert one["report"]["result"] == {"value": "a"}
    assert two["children"][0]["report"]["podUid"] == "uid-of-b-pod"
    assert "report" not in two


@pytest.mark.usefixtures("claimed")
async def test_nobody_else_says_so(runner: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    runner.headers["Authorization"] = "Bearer nobody"
    assert (await say(runner, exitCode=0)).status_code == 401
    kubernetes.tokens["operator-token"] = an_identity(audiences=("longtask-operator",))
    runner.headers["Authorization"] = "Bearer operator-token"
    assert (await say(runner, exitCode=0)).status_code == 401
    assert "report" not in status_of(kubernetes)


@pytest.mark.usefixtures("claimed")
async def test_who_may_not_say_so_makes_nobody_ask_again_and_again(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
) -> None:
    of_another = {"attempts": [ATTEMPT | POD | {"podUid": "uid-of-another"}]}
    await change(kubernetes, client, status=CLAIMED | of_another)
    before = len(kubernetes.calls)
    for _ in range(5):
        assert (await say(runner, exitCode=0)).status_code == 409
    asked = kubernetes.calls[before:]
    assert asked.count("get pods a-pod") <= 2, "what runs, and what has ended"
    told = services.metrics.registry.get_sample_value(
        "longtask_api_outcome_reports_total", {"outcome": "refused"}
    )
    assert told == 5

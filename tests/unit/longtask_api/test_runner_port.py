from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api_support import an_identity, key, put_pod, put_task
from longtask_adapters.kube import connection
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import dependencies, errors, wiring
from longtask_api.cluster import Cluster
from longtask_api.http import limits
from longtask_api.services.pods import reporters
from longtask_crds import names, runner_contract, v1alpha1
from longtask_crds.testing import FINISHED

RUNNING = {
    "phase": "Running",
    "attempt": 1,
    "attempts": [{"number": 1, "jobName": "a-job", "podName": "a-pod", "podUid": "uid-of-a-pod"}],
}
CLAIMED = {"attempt": 1, "attempts": [{"number": 1, "jobName": "a-job"}]}


def recorded(pod: str) -> dict[str, Any]:
    """Return the status of a task whose recorded pod is another than `a-pod`."""
    attempt = {"number": 1, "jobName": "a-job", "podName": pod, "podUid": f"uid-of-{pod}"}
    return {"attempt": 1, "attempts": [attempt]}


DEEP: Any = 1
for _ in range(51):
    DEEP = [DEEP]
FAILED = RUNNING | {"phase": "Failed", "conditions": [FINISHED.to_json()]}


@pytest.fixture
async def running(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    put_task(kubernetes, status=RUNNING)
    await client.get("/api/v1/tasks/a")
    kubernetes.tokens["pod-token"] = an_identity()


async def report(runner: httpx.AsyncClient, **said: Any) -> httpx.Response:
    return await runner.post("/runner/v1/progress", json=said)


async def progress_of(
    services: wiring.Services, done: Callable[[v1alpha1.Progress], bool]
) -> v1alpha1.Progress:
    task = await services.resources.wait_for(
        key("a"),
        lambda task: bool(task and task.status.progress and done(task.status.progress)),
        within=60,
    )
    assert task is not None
    assert task.status.progress is not None
    return task.status.progress


async def test_progress_is_shown(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, services: wiring.Services, running: None
) -> None:
    answer = await report(runner, percent=40, message="almost half")
    assert (answer.status_code, answer.json()) == (200, {"cancelRequested": False})
    await progress_of(services, lambda progress: progress.percent == 40)
    view = (await client.get("/api/v1/tasks/a")).json()
    assert (view["percent"], view["message"]) == (40, "almost half")


async def test_only_progress_is_written_and_without_a_version(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    running: None,
) -> None:
    before = kubernetes.stored(names.LONGTASKS, "a")
    await report(runner, percent=1)
    await progress_of(services, lambda progress: progress.percent == 1)
    after = kubernetes.stored(names.LONGTASKS, "a")
    progress = after["status"].pop("progress")
    assert set(progress) == {"percent", "updatedAt"}
    assert after["status"] == before["status"]


async def test_a_report_hears_of_the_cancellation(
    runner: httpx.AsyncClient, client: httpx.AsyncClient, running: None
) -> None:
    await client.post("/api/v1/tasks/a:cancel")
    assert (await report(runner)).json() == {"cancelRequested": True}


async def test_a_checkpoint_reaches_the_status_and_the_last_report_is_answered_then(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, running: None
) -> None:
    checkpoint = {"at": [1, None]}
    answer = await report(runner, percent=40, checkpoint=checkpoint, final=True)
    assert (answer.status_code, answer.json()) == (200, {"cancelRequested": False})
    status = kubernetes.stored(names.LONGTASKS, "a")["status"]
    assert status["progress"]["checkpoint"] == checkpoint


@pytest.mark.parametrize(
    ("identity", "status", "code"),
    [
        pytest.param(None, RUNNING, 401, id="nobody's-token"),
        pytest.param(an_identity(audiences=()), RUNNING, 401, id="a-token-of-the-api-server"),
        pytest.param(an_identity(audiences=("x",)), RUNNING, 401, id="a-token-for-another"),
        pytest.param(an_identity(bound=False), RUNNING, 401, id="a-token-without-a-pod"),
        pytest.param(
            an_identity(username="system:serviceaccount:longtasks2:default"),
            RUNNING,
            401,
            id="a-pod-of-another-namespace",
        ),
        pytest.param(an_identity(), RUNNING, 200, id="the-recorded-pod"),
        pytest.param(an_identity(), FAILED, 409, id="a-finished-task"),
        pytest.param(an_identity(), CLAIMED, 200, id="not-recorded-yet-but-of-its-job"),
        pytest.param(
            an_identity(),
            {"attempt": 1, "attempts": [{"number": 1, "jobName": "other-job"}]},
            409,
            id="of-another-job",
        ),
        pytest.param(
            an_identity(),
            {"attempt": 1, "attempts": [{"number": 1, "jobName": "a-job", "jobUid": "other"}]},
            409,
            id="of-another-job-with-its-name",
        ),
        pytest.param(an_identity(), recorded("alive"), 409, id="another-pod-is-recorded"),
        pytest.param(an_identity(), recorded("gone"), 409, id="the-recorded-pod-is-gone"),
        pytest.param(an_identity(pod="vanished"), CLAIMED, 409, id="a-pod-that-is-gone"),
        pytest.param(an_identity(pod="of-nothing"), CLAIMED, 409, id="a-pod-of-no-task"),
        pytest.param(an_identity(), {}, 409, id="nothing-is-claimed"),
    ],
)
async def test_who_may_report(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    identity: dict[str, Any] | None,
    status: dict[str, Any],
    code: int,
) -> None:
    put_task(kubernetes, status=status)
    await client.get("/api/v1/tasks/a")
    put_pod(kubernetes, "a-pod", task="a", job="a-job")
    put_pod(kubernetes, "of-nothing", task="nothing")
    put_pod(kubernetes, "alive")
    if identity is not None:
        kubernetes.tokens["pod-token"] = identity
    answer = await report(runner, percent=1)
    assert answer.status_code == code
    if code != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_without_a_token_nobody_is_asked(
    runner: httpx.AsyncClient, kubernetes: MemoryKubernetes, running: None
) -> None:
    del runner.headers["Authorization"]
    kubernetes.requests.clear()
    assert (await report(runner)).status_code == 401
    assert kubernetes.calls == []


async def test_the_pod_of_an_older_attempt_is_not_heard_any_more(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    services: wiring.Services,
    running: None,
) -> None:
    assert (await report(runner)).status_code == 200
    second = {"number": 2, "jobName": "b-job"}
    put_task(kubernetes, status={"attempt": 2, "attempts": [*RUNNING["attempts"], second]})
    await services.resources.wait_for(
        key("a"), lambda task: task is not None and task.status.attempt == 2, within=60
    )
    assert (await report(runner)).status_code == 409


@pytest.fixture
def at() -> list[float]:
    """Return what the clock of `asked` says, in a list of one."""
    return [1000.0]


@pytest.fixture
def asked(
    services: wiring.Services, kubernetes: MemoryKubernetes, at: list[float]
) -> reporters.Reporters:
    cluster = Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))
    return reporters.Reporters(
        services.resources,
        cluster,
        namespace="longtasks",
        limiter=limits.Limiter(limits.Rates(), clock=lambda: at[0]),
        clock=lambda: at[0],
    )


@pytest.mark.usefixtures("running")
async def test_reports_cost_one_review_in_ten_seconds(
    asked: reporters.Reporters, kubernetes: MemoryKubernetes, at: list[float]
) -> None:
    kubernetes.requests.clear()
    for at[0] in (1000.0, 1005.0, 1009.9, 1010.0):
        await asked.program_of("pod-token")
    assert kubernetes.calls == ["create tokenreviews"] * 2


async def test_a_token_of_nobodys_costs_one_review_in_ten_seconds(
    asked: reporters.Reporters, kubernetes: MemoryKubernetes, at: list[float]
) -> None:
    kubernetes.requests.clear()
    for at[0] in (1000.0, 1005.0, 1009.9, 1010.0):
        for ask in (asked.admit, asked.check_operator):
            with pytest.raises(errors.Unauthenticated):
                await ask("nobodys")
    assert kubernetes.calls == ["create tokenreviews"] * 4


@pytest.mark.usefixtures("running")
async def test_a_pod_asks_so_often_and_no_more(
    asked: reporters.Reporters, kubernetes: MemoryKubernetes, at: list[float]
) -> None:
    put_pod(kubernetes, "another")
    kubernetes.tokens["another-token"] = an_identity(pod="another")
    # Another token of the pod is no other pod.
    kubernetes.tokens["rotated-token"] = an_identity()
    for number in range(199):
        await asked.admit("rotated-token" if number % 2 else "pod-token")
    at[0] += 0.04
    await asked.admit("pod-token")
    for token in ("pod-token", "rotated-token"):
        with pytest.raises(errors.TooManyRequests):
            await asked.admit(token)
    await asked.admit("another-token")
    at[0] += 1
    for _ in range(19):
        await asked.admit("pod-token")
    await asked.admit("rotated-token")
    with pytest.raises(errors.TooManyRequests):
        await asked.admit("pod-token")


async def test_a_pod_that_asks_too_often_is_told_when_to_come_again(
    services: wiring.Services, runner: httpx.AsyncClient, running: None
) -> None:
    services.limiter._clock = lambda: 0.0
    for _ in range(199):
        await services.reporters.admit("pod-token")
    await report(runner)
    answer = await report(runner)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


async def test_a_place_asks_so_often_and_no_more(
    services: wiring.Services, runner: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    services.limiter._clock = lambda: 0.0
    for _ in range(2970):
        services.limiter.take(dependencies._OF_PLACE, "127.0.0.1")
    for number in range(31):
        answer = await runner.get(
            runner_contract.KEPT_RESULT_PATH.format(uid="u"), params={"sha256": "0" * 64}
        )
        assert answer.status_code == (401 if number < 30 else 429)
    assert (await report(runner)).status_code == 429
    assert kubernetes.calls.count("create tokenreviews") == 1


@pytest.mark.usefixtures("running")
async def test_a_refusal_costs_one_look_in_two_seconds(
    asked: reporters.Reporters, kubernetes: MemoryKubernetes, at: list[float]
) -> None:
    put_pod(kubernetes, "stray", task="b")
    kubernetes.tokens["stray-token"] = an_identity(pod="stray")
    kubernetes.requests.clear()
    for at[0] in (1000.0, 1001.0, 1001.9, 1002.0):
        with pytest.raises(errors.Clash):
            await asked.program_of("stray-token")
    looks = ["get pods stray", "get longtasks b"]
    assert kubernetes.calls == ["create tokenreviews", *looks, *looks]


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        pytest.param({"percent": 101}, 422, "/percent", id="more-than-all"),
        pytest.param({"percent": "half"}, 422, "/percent", id="no-number"),
        pytest.param({"message": "a" * 1025}, 422, "/message", id="a-long-message"),
        pytest.param({"typo": 1}, 422, "/typo", id="an-unknown-field"),
        pytest.param({"final": "perhaps"}, 422, "/final", id="neither-final-nor-not"),
        pytest.param({"checkpoint": {"n": 2**64}}, 422, "/checkpoint/n", id="a-large-integer"),
        pytest.param({"checkpoint": DEEP}, 422, "/checkpoint" + "/0" * 51, id="a-deep-checkpoint"),
        pytest.param({"checkpoint": "a" * 16_383}, 413, None, id="a-large-checkpoint"),
        pytest.param({"checkpoint": "a" * 16_382}, 200, None, id="just-not-too-large"),
        pytest.param({"percent": None, "checkpoint": None}, 200, None, id="nothing-said"),
    ],
)
async def test_reports_are_checked(
    runner: httpx.AsyncClient, running: None, said: dict[str, Any], code: int, pointer: str | None
) -> None:
    answer = await report(runner, **said)
    assert answer.status_code == code
    if pointer:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_the_runner_port_shows_nothing_else(runner: httpx.AsyncClient) -> None:
    for path in ("/api/v1/tasks", "/docs", "/openapi.json", "/metrics"):
        assert (await runner.get(path)).status_code == 404


async def test_a_report_while_kubernetes_is_away_is_not_lost(
    runner: httpx.AsyncClient,
    client: httpx.AsyncClient,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    running: None,
) -> None:
    assert (await report(runner)).status_code == 200  # the token is known now
    kubernetes.go_away()
    assert (await report(runner, percent=7)).status_code == 200
    kubernetes.come_back()
    progress = await progress_of(services, lambda progress: True)
    assert progress.percent == 7

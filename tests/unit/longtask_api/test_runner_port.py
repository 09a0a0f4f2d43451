import pytest

from longtask_api import errors, ports
from longtask_api.services import reporters
from longtask_crds.testing import FINISHED

RUNNING = {
    "phase": "Running",
    "attempt": 1,
    "attempts": [{"number": 1, "jobName": "a-job", "podName": "a-pod", "podUid": "uid-of-a-pod"}],
}
CLAIMED = {"attempt": 1, "attempts": [{"number": 1, "jobName": "a-job"}]}
FAILED = RUNNING | {"phase": "Failed", "conditions": [FINISHED.to_json()]}


def an_identity(
    *,
    pod="a-pod",
    username="system:serviceaccount:longtasks:default",
    audiences=("longtask-report",),
    bound=True,
):
    extra = {
        "authentication.kubernetes.io/pod-name": (pod,),
        "authentication.kubernetes.io/pod-uid": (f"uid-of-{pod}",),
    }
    return ports.TokenIdentity(username, audiences, extra if bound else {})


@pytest.fixture
async def running(client, cluster):
    await cluster.put(ports.TASKS, "a", spec={"type": "fibonacci"}, status=RUNNING)
    await client.get("/api/v1/tasks/a")
    cluster.tokens["pod-token"] = an_identity()


async def report(runner, **said):
    return await runner.post("/runner/v1/progress", json=said)


async def progress_of(client, behind, done):
    task = await behind.tasks.cache.wait_for(
        "a", lambda task: task and task.status.progress and done(task.status.progress), within=10
    )
    return task.status.progress


async def test_progress_is_shown(runner, client, behind, running):
    answer = await report(runner, percent=40, message="almost half")
    assert (answer.status_code, answer.json()) == (200, {"cancelRequested": False})
    await progress_of(client, behind, lambda progress: progress.percent == 40)
    view = (await client.get("/api/v1/tasks/a")).json()
    assert (view["percent"], view["message"]) == (40, "almost half")


async def test_only_progress_is_written_and_without_a_version(
    runner, client, behind, cluster, running
):
    before = cluster.stored(ports.TASKS, "a")
    await report(runner, percent=1)
    await progress_of(client, behind, lambda progress: progress.percent == 1)
    after = cluster.stored(ports.TASKS, "a")
    progress = after["status"].pop("progress")
    assert set(progress) == {"percent", "updatedAt"}
    assert after["status"] == before["status"]


async def test_a_report_hears_of_the_cancellation(runner, client, running):
    await client.post("/api/v1/tasks/a:cancel")
    assert (await report(runner)).json() == {"cancelRequested": True}


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
        pytest.param(
            an_identity(),
            {"attempts": [RUNNING["attempts"][0] | {"podName": "b", "podUid": "uid-of-b"}]},
            409,
            id="another-pod-is-recorded",
        ),
        pytest.param(an_identity(pod="vanished"), CLAIMED, 409, id="a-pod-that-is-gone"),
        pytest.param(an_identity(pod="of-nothing"), CLAIMED, 409, id="a-pod-of-no-task"),
        pytest.param(an_identity(), {}, 409, id="nothing-is-claimed"),
    ],
)
async def test_who_may_report(runner, client, cluster, identity, status, code):
    await cluster.put(ports.TASKS, "a", spec={"type": "fibonacci"}, status=status)
    await client.get("/api/v1/tasks/a")
    cluster.add_pod("a-pod", task="a", attempt=1, job="a-job")
    cluster.add_pod("of-nothing", task="nothing", attempt=1, job="a-job")
    if identity is not None:
        cluster.tokens["pod-token"] = identity
    answer = await report(runner, percent=1)
    assert answer.status_code == code
    if code != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_without_a_token_nobody_is_asked(runner, cluster, running):
    del runner.headers["Authorization"]
    cluster.calls.clear()
    assert (await report(runner)).status_code == 401
    assert cluster.calls == []


async def test_the_pod_of_an_older_attempt_is_not_heard_any_more(
    runner, client, cluster, behind, running
):
    assert (await report(runner)).status_code == 200
    second = {"number": 2, "jobName": "b-job"}
    await cluster.put(
        ports.TASKS, "a", status={"attempt": 2, "attempts": [*RUNNING["attempts"], second]}
    )
    await behind.tasks.cache.wait_for("a", lambda task: task.status.attempt == 2, within=10)
    assert (await report(runner)).status_code == 409


async def test_reports_cost_one_review_in_ten_seconds(client, cluster, behind, running):
    now = 1000.0
    asked = reporters.Reporters(cluster, behind.tasks, namespace="longtasks", clock=lambda: now)
    cluster.calls.clear()
    for now in (1000.0, 1005.0, 1009.9, 1010.0):  # noqa: B007 - the clock reads it
        await asked.task_of("pod-token")
    assert cluster.calls == ["create tokenreviews"] * 2


@pytest.mark.parametrize(
    ("said", "code", "pointer"),
    [
        pytest.param({"percent": 101}, 422, "/percent", id="more-than-all"),
        pytest.param({"percent": "half"}, 422, "/percent", id="no-number"),
        pytest.param({"message": "a" * 1025}, 422, "/message", id="a-long-message"),
        pytest.param({"typo": 1}, 422, "/typo", id="an-unknown-field"),
        pytest.param({"checkpoint": {"at": 1}}, 422, "/checkpoint", id="not-kept-yet"),
        pytest.param({"checkpoint": "a" * 16_384}, 413, None, id="never-kept"),
        pytest.param({"percent": None, "checkpoint": None}, 200, None, id="nothing-said"),
    ],
)
async def test_reports_are_checked(runner, running, said, code, pointer):
    answer = await report(runner, **said)
    assert answer.status_code == code
    if pointer:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_larger_results_are_refused_by_name(runner, running):
    answer = await runner.put("/runner/v1/result", json={"a": 1})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:longtask:problem:too-large")


async def test_the_runner_port_shows_nothing_else(runner):
    for path in ("/api/v1/tasks", "/docs", "/openapi.json", "/metrics"):
        assert (await runner.get(path)).status_code == 404


async def test_a_report_while_kubernetes_is_away_is_not_lost(
    runner, client, behind, cluster, running
):
    assert (await report(runner)).status_code == 200  # the token is known now
    cluster.failure = errors.Unavailable()
    assert (await report(runner, percent=7)).status_code == 200
    cluster.failure = None
    progress = await progress_of(client, behind, lambda progress: True)
    assert progress.percent == 7

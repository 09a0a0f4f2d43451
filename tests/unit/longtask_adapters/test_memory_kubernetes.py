"""That the twin does as the API server does."""

import asyncio
import json
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection, errors, kinds, transport
from longtask_adapters.testing import patches
from longtask_crds import names, v1alpha1
from longtask_crds.testing import NOW

TASKS = kinds.TASKS.collection("longtasks")
JOBS = kinds.JOBS.collection("longtasks")


def key(name: str) -> names.ObjectKey:
    return names.ObjectKey("longtasks", name)


TASK = kinds.TASKS.path(key("a"))
STATUS = kinds.TASKS.path(key("a"), "status")


def a_job(kubernetes: testing.MemoryKubernetes, name: str = "j", owner: str = "a") -> Any:
    uid = kubernetes.stored("longtasks", owner)["metadata"]["uid"]
    owners = [{"kind": "LongTask", "name": owner, "uid": uid, "controller": True}]
    labels = {names.TASK_LABEL: owner}
    return {
        "metadata": {"name": name, "ownerReferences": owners},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": []}}},
    }


@pytest.fixture
def task(kubernetes: testing.MemoryKubernetes) -> dict[str, Any]:
    return kubernetes.put("longtasks", "a", spec={"type": "x"}, status={"phase": "Pending"})


async def test_what_the_api_server_gives_to_a_new_object(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"type": "x"}, "status": {"phase": "Succeeded"}}
    made = await connected.post(TASKS, body)
    meta = made["metadata"]
    assert made["status"] == {"phase": "Pending"}
    assert (meta["namespace"], meta["generation"]) == ("longtasks", 1)
    assert meta["creationTimestamp"] == testing.stamp(NOW)
    assert meta["resourceVersion"] == str(kubernetes.version)
    with pytest.raises(errors.AlreadyExists):
        await connected.post(TASKS, body)
    named = [await connected.post(JOBS, {"metadata": {"generateName": "j-"}}) for _ in range(2)]
    first, second = (raw["metadata"] for raw in named)
    assert first["name"].startswith("j-")
    assert len({first["name"], second["name"]}) == len({first["uid"], second["uid"]}) == 2


@pytest.mark.usefixtures("task")
async def test_a_write_moves_the_version_and_a_write_of_nothing_does_not(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    one = await connected.patch(TASK, {"spec": {"priority": 1}})
    assert one["metadata"]["generation"] == 2
    same = await connected.patch(TASK, {"spec": {"priority": 1}})
    assert same == one
    two = await connected.patch(STATUS, {"status": {"phase": "Queued"}, "spec": {"priority": 2}})
    assert two["metadata"]["generation"] == 2
    assert (two["spec"]["priority"], two["status"]) == (1, {"phase": "Queued"})
    three = await connected.patch(TASK, {"status": {"phase": "Failed"}})
    assert three == two


def guarded(version: str, *changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *changes]


async def test_a_json_patch_on_an_older_version_is_a_conflict(
    connected: connection.Connection, task: dict[str, Any]
) -> None:
    result = {"n": None, "list": [None, {"x": None}]}
    add = {"op": "add", "path": "/status/result", "value": result}
    version = task["metadata"]["resourceVersion"]
    after = await connected.patch(STATUS, guarded(version, add))
    assert after["status"]["result"] == result
    with pytest.raises(errors.Conflict):
        await connected.patch(STATUS, guarded(version, {**add, "value": 1}))
    remove = {"op": "remove", "path": "/status/nothing"}
    with pytest.raises(errors.Rejected):
        await connected.patch(STATUS, guarded(after["metadata"]["resourceVersion"], remove))


async def test_a_finished_status_is_frozen(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    finished = [{"type": "Finished", "status": "True"}]
    kubernetes.put("longtasks", "a", status={"phase": "Failed", "conditions": finished})
    with pytest.raises(errors.Rejected, match="finished"):
        await connected.patch(STATUS, {"status": {"phase": "Succeeded"}})
    with pytest.raises(errors.Rejected, match="finished"):
        await connected.patch(STATUS, {"status": {"conditions": []}})
    told = [*finished, {"type": "CallbackDelivered", "status": "True"}]
    await connected.patch(STATUS, {"status": {"conditions": told, "callback": {"tries": 1}}})
    kubernetes.report_progress("a", 50)
    assert "progress" not in kubernetes.stored("longtasks", "a")["status"]


# --- owners and deletions ---


@pytest.mark.usefixtures("task")
async def test_what_an_object_owns_goes_with_it(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    await connected.post(JOBS, a_job(kubernetes))
    pod = kubernetes.make_pod("j")
    labels = kubernetes.stored("pods", pod)["metadata"]["labels"]
    assert labels == {names.TASK_LABEL: "a"}
    answer = await connected.delete(TASK)
    assert answer["status"] == "Success"
    assert not kubernetes.objects("jobs")
    assert not kubernetes.objects("pods")
    assert kubernetes.created_jobs == ["j"]


@pytest.mark.usefixtures("task")
async def test_a_raw_deletion_of_a_job_orphans_its_pods(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    await connected.post(JOBS, a_job(kubernetes))
    pod = kubernetes.make_pod("j")
    request = transport.Request("DELETE", kinds.JOBS.path(key("j")))
    async with kubernetes.open(request) as response:
        assert response.status == 200
    assert kubernetes.stored("pods", pod)["metadata"]["ownerReferences"] == []


async def test_finalizers_keep_an_object_until_they_are_done(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("longtasks", "a", metadata={"finalizers": ["x/y"]})
    answer = await connected.delete(TASK)
    assert "deletionTimestamp" in answer["metadata"]
    assert (await connected.get(TASK)) == answer
    await connected.patch(TASK, {"metadata": {"finalizers": None}})
    with pytest.raises(errors.NotFound):
        await connected.get(TASK)


# --- what happens besides ---


@pytest.mark.usefixtures("task")
async def test_a_pod_starts_and_ends_and_so_does_its_job(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    await connected.post(JOBS, a_job(kubernetes))
    pod = kubernetes.make_pod("j")
    kubernetes.start_pod(pod)
    kubernetes.end_pod(pod, 0, "7")
    status = kubernetes.stored("pods", pod)["status"]
    (container,) = status["containerStatuses"]
    ended = container["state"]["terminated"]
    assert (status["phase"], ended["exitCode"], ended["message"]) == ("Succeeded", 0, "7")
    assert kubernetes.stored("jobs", "j")["status"]["conditions"][0]["type"] == "Complete"


@pytest.mark.usefixtures("task")
async def test_a_disrupted_pod_ends_its_job(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    await connected.post(JOBS, a_job(kubernetes))
    pod = kubernetes.make_pod("j")
    kubernetes.start_pod(pod)
    await connected.patch(kinds.PODS.path(key(pod)), {"spec": {"activeDeadlineSeconds": 1}})
    kubernetes.end_pod(pod, 143, disrupted=True)
    status = kubernetes.stored("pods", pod)["status"]
    assert status["reason"] == "DeadlineExceeded"
    (disruption,) = status["conditions"]
    assert (disruption["type"], disruption["status"]) == ("DisruptionTarget", "True")
    assert kubernetes.stored("jobs", "j")["status"]["conditions"][0]["type"] == "Failed"


@pytest.mark.usefixtures("task")
async def test_jobs_may_be_refused(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.refuse_jobs = "exceeded quota"
    with pytest.raises(errors.Forbidden, match="exceeded quota") as caught:
        await connected.post(JOBS, a_job(kubernetes))
    assert not isinstance(caught.value, errors.NoRight)
    assert kubernetes.created_jobs == []


async def test_a_change_of_the_spec_is_another_generation(
    kubernetes: testing.MemoryKubernetes,
) -> None:
    def generation(**parts: Any) -> int:
        return int(kubernetes.put("longtasks", "a", **parts)["metadata"]["generation"])

    assert generation(spec={"priority": 1}) == 1
    assert generation(status={"phase": "Queued"}, metadata={"labels": {"a": "b"}}) == 1
    assert generation(spec={"priority": 2}) == 2
    assert generation(spec={"priority": 3}, metadata={"generation": 7}) == 7


@pytest.mark.usefixtures("task")
async def test_events_are_found_by_what_they_are_about(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    uid = (await connected.post(JOBS, a_job(kubernetes)))["metadata"]["uid"]
    kubernetes.no_pod_because("j", "exceeded quota")
    query = {"fieldSelector": f"involvedObject.uid={uid},reason=FailedCreate"}
    found = await connected.get(kinds.EVENTS.collection("longtasks"), query)
    assert [event["message"] for event in found["items"]] == ["exceeded quota"]
    assert kubernetes.warnings == []
    event = {
        "metadata": {"generateName": "a-"},
        "type": "Warning",
        "reason": "CallbackFailed",
        "note": "try 3 failed",
        "regarding": {"kind": "LongTask", "name": "a", "uid": "u"},
    }
    await connected.post(kinds.NEW_EVENTS.collection("longtasks"), event)
    assert kubernetes.warnings == [("a", "CallbackFailed", "try 3 failed")]


async def test_tokens_are_reviewed(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    status = {"authenticated": True, "user": {"username": "u"}, "audiences": ["longtask-report"]}
    kubernetes.tokens["good"] = status

    async def review(token: str) -> Any:
        body = {"spec": {"token": token, "audiences": ["longtask-report"]}}
        return (await connected.post(kinds.TOKEN_REVIEWS, body))["status"]

    assert await review("good") == status
    assert await review("bad") == {"authenticated": False}
    assert kubernetes.writes == 0


async def test_resources_are_added_as_they_are(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    raw = {"metadata": {"name": "a", "uid": "u"}, "spec": {"type": "x", "input": {"n": None}}}
    kubernetes.add(v1alpha1.LongTask.model_validate(raw))
    stored = await connected.get(TASK)
    assert (stored["spec"]["input"], stored["metadata"]["uid"]) == ({"n": None}, "u")
    kubernetes.cancel("a")
    assert (await connected.get(TASK))["spec"]["cancel"] is True


# --- what tests stand on ---


async def test_writes_can_be_interrupted_before_and_after(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection, task: dict[str, Any]
) -> None:
    heard: list[tuple[str, str]] = []
    kubernetes.interrupt = lambda write, moment: heard.append((write, moment))
    job, pod = kinds.JOBS.path(key("j")), kinds.PODS.path(key("p"))
    kubernetes.put("pods", "p")
    kubernetes.add_secret("s")
    await connected.patch(STATUS, {"status": {"phase": "Queued"}})
    await connected.post(JOBS, a_job(kubernetes))
    await connected.patch(job, {"spec": {"ttlSecondsAfterFinished": 1}})
    await connected.delete(job)
    await connected.patch(pod, {"spec": {"activeDeadlineSeconds": 1}})
    await connected.patch(kinds.SECRETS.path(key("s")), {"data": {"a": "YQ=="}})
    expected = ["status", "create_job", "release_job", "delete_job", "stop_pod", "add_to_secret"]
    assert heard == [(write, moment) for write in expected for moment in ("before", "after")]
    assert kubernetes.writes == len(expected)


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        pytest.param("before", "Pending", id="the-request-is-lost"),
        pytest.param("after", "Queued", id="the-answer-is-lost"),
    ],
)
@pytest.mark.usefixtures("task")
async def test_a_lost_request_and_a_lost_answer(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    moment: str,
    phase: str,
) -> None:
    def interrupt(_write: str, at: str) -> None:
        if at == moment:
            raise errors.Unavailable("lost")

    kubernetes.interrupt = interrupt
    with pytest.raises(errors.Unavailable):
        await connected.patch(STATUS, {"status": {"phase": "Queued"}})
    assert kubernetes.stored("longtasks", "a")["status"]["phase"] == phase


@pytest.mark.usefixtures("task")
async def test_a_fork_goes_its_own_way(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    before = await connected.get(TASK)
    other = kubernetes.fork()
    their = connection.Connection(other, user_agent="t")
    await their.patch(TASK, {"spec": {"priority": 1}})
    await their.post(JOBS, a_job(other))
    assert await connected.get(TASK) == before
    assert (kubernetes.created_jobs, other.created_jobs) == ([], ["j"])
    assert "jobs" not in {call.split()[1] for call in kubernetes.calls}


@pytest.mark.usefixtures("task")
async def test_what_was_sent_is_not_shared_with_the_sender(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    result = {"value": [1]}
    await connected.patch(STATUS, {"status": {"result": result}})
    result["value"].append(2)
    assert kubernetes.stored("longtasks", "a")["status"]["result"] == {"value": [1]}


@pytest.mark.usefixtures("task")
def test_nothing_in_it_waits(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    """A model checker runs it without an event loop."""
    for asked in (
        connected.get(TASK),
        connected.patch(STATUS, {"status": {"phase": "Queued"}}),
        connected.post(JOBS, a_job(kubernetes)),
    ):
        with pytest.raises(StopIteration):
            asked.send(None)


async def test_answers_are_text_too(
    kubernetes: testing.MemoryKubernetes, task: dict[str, Any]
) -> None:
    async with kubernetes.open(transport.Request("GET", TASK)) as response:
        assert json.loads(await response.read()) == task
    async with kubernetes.open(transport.Request("GET", "/version/")) as response:
        assert (response.status, json.loads(await response.read())["code"]) == (404, 404)
    async with kubernetes.open(transport.Request("PUT", TASK)) as response:
        assert response.status == 405


async def test_what_was_asked_can_be_told(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    with pytest.raises(errors.NotFound):
        await connected.patch(STATUS, {})
    await connected.get(TASKS)
    async with asyncio.timeout(60):
        await anext(connected.watch(TASKS, 1))
    assert kubernetes.calls == ["patch longtasks a/status", "list longtasks", "watch longtasks"]


@pytest.mark.parametrize(
    ("target", "changes", "after"),
    [
        pytest.param(
            {"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}, id="add"
        ),
        pytest.param(
            {"a": 1}, [{"op": "add", "path": "/a", "value": 2}], {"a": 2}, id="add-is-set"
        ),
        pytest.param(
            {"a": [1]}, [{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1]}, id="in"
        ),
        pytest.param(
            {"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}, id="end"
        ),
        pytest.param({"a": {"b": 1}}, [{"op": "remove", "path": "/a/b"}], {"a": {}}, id="remove"),
        pytest.param({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}, id="of-a-list"),
        pytest.param(
            {"a/b": {"c~d": 1}},
            [{"op": "replace", "path": "/a~1b/c~0d", "value": 2}],
            {"a/b": {"c~d": 2}},
            id="names-with-signs",
        ),
        pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}, id="test"),
        pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], None, id="test-fails"),
        pytest.param({}, [{"op": "remove", "path": "/a"}], None, id="nothing-to-remove"),
        pytest.param({}, [{"op": "replace", "path": "/a", "value": 1}], None, id="or-replace"),
        pytest.param({}, [{"op": "add", "path": "/a/b", "value": 1}], None, id="no-way-there"),
        pytest.param({"a": [1]}, [{"op": "add", "path": "/a/5", "value": 1}], None, id="beyond"),
        pytest.param({"a": 1}, [{"op": "add", "path": "/a/b", "value": 1}], None, id="in-a-number"),
    ],
)
def test_a_json_patch(target: Any, changes: Any, after: Any) -> None:
    before = json.dumps(target)
    if after is None:
        with pytest.raises(patches.CannotApply):
            patches.patched(target, changes)
    else:
        assert patches.patched(target, changes) == after
    assert json.dumps(target) == before

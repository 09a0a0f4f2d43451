"""The operator's door to Kubernetes, against a real API server."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from longtask_crds import effective, names, v1alpha1
from longtask_crds.testing import FINISHED
from longtask_crds.v1alpha1 import Reason
from longtask_operator import (
    cluster,
    decision,
    errors,
    job_manifest,
    outcome,
    pods,
    status,
    testing,
)

Kubectl = Callable[..., str]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def door(kubeconfig: Path, namespace: str) -> AsyncIterator[cluster.KubernetesCluster]:
    found = await cluster.connect(namespace)
    yield found
    await found.close()


@pytest.fixture
def run(kubectl: Kubectl, namespace: str) -> Kubectl:
    def in_namespace(*arguments: str, document: Any = None) -> str:
        return kubectl("-n", namespace, *arguments, document=document)

    return in_namespace


@pytest.fixture
def name(run: Kubectl) -> Iterator[str]:
    """A task's name, and the task."""
    found = f"t-{uuid.uuid4().hex[:8]}"
    create(run, "LongTask", found, {"type": "sleep"})
    yield found
    run("delete", "longtask", found, "--ignore-not-found")


def create(run: Kubectl, kind: str, name: str, spec: dict[str, Any]) -> None:
    document = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}}
    run("create", "-f", "-", document=document | {"spec": spec})


async def eventually(
    fetch: Callable[[], Awaitable[Any]], is_right: Callable[[Any], object], *, within: float = 30
) -> Any:
    """Return what is fetched once it is right."""
    async with asyncio.timeout(within):
        while not is_right(found := await fetch()):  # noqa: ASYNC110 - asking is all we can do
            await asyncio.sleep(0.1)
    return found


def claimed(task: v1alpha1.LongTask, **values: Any) -> v1alpha1.LongTaskStatus:
    return task.status.model_copy(update={"attempt": 1} | values)


# --- tasks ---


async def test_a_task_is_read_with_its_default(
    door: cluster.KubernetesCluster, name: str, namespace: str
) -> None:
    task = await door.get_task(name)
    assert (task.metadata.name, task.metadata.namespace) == (name, namespace)
    assert task.status.to_json() == {"phase": "Pending", "conditions": []}
    assert task.metadata.creation_timestamp is not None


async def test_what_is_not_there_is_not_found(door: cluster.KubernetesCluster) -> None:
    with pytest.raises(errors.NotFound):
        await door.get_task("nobody")
    with pytest.raises(errors.NotFound):
        await door.get_type("nothing")


async def test_a_type_is_read(door: cluster.KubernetesCluster, run: Kubectl) -> None:
    create(run, "LongTaskType", "sleep", {"defaults": {"priority": 7}})
    found = await door.get_type("sleep")
    assert found.spec.defaults == v1alpha1.TypeDefaults(priority=7)


async def test_a_status_is_written_and_comes_back(
    door: cluster.KubernetesCluster, name: str
) -> None:
    task = await door.get_task(name)
    value = {"n": None, "list": [None, {"x": None}], "large": 2**62, "text": "é"}
    after = claimed(task, waiting="w", result=v1alpha1.Result(value=value))
    written = await door.write_status(task, after)
    assert written.status == after
    assert (await door.get_task(name)).status == after
    gone = written.status.model_copy(update={"waiting": None})
    assert (await door.write_status(written, gone)).status.waiting is None


async def test_a_stale_write_is_a_conflict(door: cluster.KubernetesCluster, name: str) -> None:
    task = await door.get_task(name)
    await door.write_status(task, claimed(task))
    with pytest.raises(errors.Conflict) as caught:
        await door.write_status(task, claimed(task, waiting="too late"))
    assert not isinstance(caught.value, errors.AlreadyExists)
    assert (await door.get_task(name)).status.waiting is None


async def test_a_stale_removal_is_a_conflict_too(
    door: cluster.KubernetesCluster, name: str
) -> None:
    task = await door.get_task(name)
    said = await door.write_status(task, claimed(task, waiting="w"))
    silent = said.status.model_copy(update={"waiting": None})
    await door.write_status(said, silent)
    with pytest.raises((errors.Conflict, errors.Rejected)):
        await door.write_status(said, silent)


async def test_nothing_to_write_is_no_request(door: cluster.KubernetesCluster, name: str) -> None:
    task = await door.get_task(name)
    assert await door.write_status(task, task.status) is task


async def test_a_task_that_is_gone_is_not_found(
    door: cluster.KubernetesCluster, run: Kubectl, name: str
) -> None:
    task = await door.get_task(name)
    run("delete", "longtask", name)
    with pytest.raises(errors.NotFound):
        await door.write_status(task, claimed(task))


async def test_a_finished_status_is_frozen(door: cluster.KubernetesCluster, name: str) -> None:
    task = await door.get_task(name)
    finished = await door.write_status(task, claimed(task, conditions=[FINISHED]))
    with pytest.raises(errors.Rejected, match="attempt of a finished task cannot be changed"):
        await door.write_status(finished, claimed(finished, attempt=2))
    entry = v1alpha1.CallbackStatus(
        id="msg_1",
        event=v1alpha1.TaskEvent.SUCCEEDED,
        state=v1alpha1.CallbackState.DELIVERED,
    )
    told = await door.write_status(finished, claimed(finished, callback=entry))
    assert told.status.callback == entry


async def test_a_whole_story_is_taken_by_the_server(
    door: cluster.KubernetesCluster, name: str
) -> None:
    """Each status that `next_status` derives fits the schema."""
    task = await door.get_task(name)
    pod = testing.an_ended_pod(1, "x" * 5000, node="node-1")
    failure = outcome.of_pod(pod, cancel_requested=False, run_seconds=1)
    story: list[decision.Decision] = [
        decision.Enqueue("there is no LongTaskQueue named q", Reason.QUEUE_NOT_FOUND),
        decision.Claim(1, "a-job"),
        decision.Explain("x" * 5000, Reason.POD_CANNOT_START, "job-1"),
        decision.MarkRunning(testing.a_pod(started_at=now(), node="node-1")),
        decision.Finish(failure, pod),
    ]
    for decided in story:
        after = status.next_status(task, decided, queue="default", now=now())
        task = await door.write_status(task, after)
    assert task.status.phase is v1alpha1.Phase.FAILED


async def test_lists_have_a_version_and_everything(
    door: cluster.KubernetesCluster, run: Kubectl, name: str
) -> None:
    version, items = await door.list_ours(names.LONGTASKS)
    (raw,) = [item for item in items if item["metadata"]["name"] == name]
    assert version >= int(raw["metadata"]["resourceVersion"])
    run("delete", "longtask", name)
    later, items = await door.list_ours(names.LONGTASKS)
    assert later > version
    assert name not in {item["metadata"]["name"] for item in items}


async def test_an_absurdly_deep_input_does_not_break_the_lists(
    door: cluster.KubernetesCluster, run: Kubectl
) -> None:
    deep: Any = 1
    for _ in range(9_900):
        deep = [deep]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    try:
        create(run, "LongTask", "deep", {"type": "sleep", "input": deep})
        _, items = await door.list_ours(names.LONGTASKS)
        (raw,) = [item for item in items if item["metadata"]["name"] == "deep"]
        task = v1alpha1.LongTask.model_validate(raw)
        assert task.spec.input == deep
        spec = effective.effective_spec(task.spec, None, testing.INSTALLATION)
        job_manifest.build(task, spec, attempt=1, surroundings=testing.SURROUNDINGS)
        run("delete", "longtask", "deep")
    finally:
        sys.setrecursionlimit(limit)


# --- Jobs ---


def a_manifest(task: v1alpha1.LongTask) -> dict[str, Any]:
    spec = effective.effective_spec(task.spec, None, testing.INSTALLATION)
    return job_manifest.build(task, spec, attempt=1, surroundings=testing.SURROUNDINGS)


@pytest.fixture
async def job(door: cluster.KubernetesCluster, name: str) -> pods.Job:
    """The Job of the task; it gets no pod, as there is no such account here."""
    return await door.create_job(a_manifest(await door.get_task(name)), now=now())


async def test_a_job_is_made_once_and_is_ours(
    door: cluster.KubernetesCluster, name: str, job: pods.Job
) -> None:
    task = await door.get_task(name)
    assert (job.owner_uid, job.is_released, job.is_finished) == (task.metadata.uid, False, False)
    with pytest.raises(errors.AlreadyExists):
        await door.create_job(a_manifest(task), now=now())
    again = await door.get_job(job.name, now=job.checked_at)
    assert again == job


async def test_a_job_of_another_namespace_is_never_asked_for(
    door: cluster.KubernetesCluster, name: str
) -> None:
    manifest = a_manifest(await door.get_task(name))
    manifest["metadata"]["namespace"] = "default"
    with pytest.raises(errors.Rejected):
        await door.create_job(manifest, now=now())


async def test_a_job_that_the_server_refuses_is_rejected_with_its_words(
    door: cluster.KubernetesCluster, name: str
) -> None:
    manifest = a_manifest(await door.get_task(name))
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    with pytest.raises(errors.Rejected, match="restartPolicy"):
        await door.create_job(manifest, now=now())


async def test_a_job_that_is_not_there_is_known_to_be_absent(
    door: cluster.KubernetesCluster,
) -> None:
    at = now()
    found = await door.get_job("nothing", now=at)
    assert found == pods.Job(name="nothing", checked_at=at, exists=False)


async def test_the_events_say_why_there_is_no_pod(
    door: cluster.KubernetesCluster, job: pods.Job
) -> None:
    why = await eventually(lambda: door.why_no_pod(job), bool)
    assert "longtask-task" in why


async def test_a_job_is_released(door: cluster.KubernetesCluster, job: pods.Job) -> None:
    await door.release_job(job)
    assert (await door.get_job(job.name, now=now())).is_released


async def test_a_job_goes_with_its_pods_and_going_twice_is_fine(
    door: cluster.KubernetesCluster, job: pods.Job
) -> None:
    await door.delete_job(job)
    await eventually(lambda: door.get_job(job.name, now=now()), lambda found: not found.exists)
    await door.delete_job(job)
    await door.release_job(job)


async def test_another_job_of_the_same_name_is_not_touched(
    door: cluster.KubernetesCluster, job: pods.Job
) -> None:
    other = pods.Job(name=job.name, checked_at=now(), uid=str(uuid.uuid4()))
    with pytest.raises(errors.Conflict):
        await door.delete_job(other)
    with pytest.raises(errors.Conflict):
        await door.release_job(other)
    assert await door.get_job(job.name, now=job.checked_at) == job


# --- pods ---


@pytest.fixture
def pod(run: Kubectl, name: str) -> Iterator[dict[str, Any]]:
    """A pod of the task that no node takes."""
    labels = {names.TASK_LABEL: name, names.ATTEMPT_LABEL: "1"}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-pod", "labels": labels},
        "spec": {
            "nodeSelector": {"no-such": "node"},
            "restartPolicy": "Never",
            "containers": [{"name": "runner", "image": "busybox"}],
        },
    }
    run("create", "-f", "-", document=document)
    yield json.loads(run("get", "pod", f"{name}-pod", "-o", "json"))
    run("delete", "pod", f"{name}-pod", "--ignore-not-found", "--grace-period=0", "--force")


async def test_the_pods_of_a_task_are_listed(
    door: cluster.KubernetesCluster, name: str, pod: dict[str, Any]
) -> None:
    task = await door.get_task(name)

    async def fetch() -> tuple[int, list[pods.Pod]]:
        return await door.pods_of(task)

    version, (found,) = await eventually(fetch, lambda answer: answer[1][0].cannot_start)
    assert (found.uid, found.task, found.attempt) == (pod["metadata"]["uid"], name, 1)
    assert "node" in (found.cannot_start or "")
    assert version >= found.version
    _, listed = await door.list_labelled("pods")
    assert found.uid in {raw["metadata"]["uid"] for raw in listed}


async def test_a_pod_is_stopped_and_no_other(
    door: cluster.KubernetesCluster, name: str, pod: dict[str, Any]
) -> None:
    task = await door.get_task(name)
    _, (found,) = await door.pods_of(task)
    other = testing.a_pod(name=found.name, uid=str(uuid.uuid4()))
    with pytest.raises(errors.Conflict):
        await door.stop_pod(other)
    await door.stop_pod(found)
    _, (stopped,) = await door.pods_of(task)
    assert (found.is_stopping, stopped.is_stopping) == (False, True)


async def test_a_pod_that_is_gone_is_not_found(door: cluster.KubernetesCluster) -> None:
    with pytest.raises(errors.NotFound):
        await door.stop_pod(testing.a_pod(name="gone"))


# --- Secrets and Events ---


async def test_a_secret_is_read_and_added_to(
    door: cluster.KubernetesCluster, run: Kubectl, namespace: str
) -> None:
    run("create", "secret", "generic", "keys", "--from-literal=a=hush")
    run("label", "secret", "keys", "longtask.dev/callback=true")
    secret = await door.get_secret("keys")
    assert (secret.get("a"), secret.get("b")) == ("hush", None)
    assert secret.labels == {names.CALLBACK_SECRET_LABEL: "true"}
    assert "hush" not in f"{secret} {secret!r}"
    after = await door.add_to_secret(secret, "b", "whsec_é")
    assert (after.get("a"), after.get("b")) == ("hush", "whsec_é")
    with pytest.raises(errors.Conflict):
        await door.add_to_secret(secret, "b", "another")
    elsewhere = await door.get_secret("keys", namespace=namespace)
    assert elsewhere.get("b") == "whsec_é"
    with pytest.raises(errors.NotFound):
        await door.get_secret("none")


async def test_a_warning_stands_at_the_task(
    door: cluster.KubernetesCluster, run: Kubectl, name: str
) -> None:
    task = await door.get_task(name)
    await door.warn(task, "CallbackFailed", "x" * 5000)
    told = json.loads(run("get", "events", "-o", "json"))["items"]
    (event,) = [e for e in told if e["involvedObject"].get("uid") == task.metadata.uid]
    assert (event["type"], event["reason"]) == ("Warning", "CallbackFailed")
    assert event["message"] == "x" * 1024

"""The operator's door to Kubernetes, against a real API server."""

import asyncio
import dataclasses
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from longtask_adapters.kube import errors, informer, kinds, secrets
from longtask_adapters.kube.cache import Cache
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import delivery, effective, names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import FINISHED
from longtask_crds.v1alpha1 import EventReason, Reason
from longtask_operator import cluster, testing
from longtask_operator.rules import decisions, job_manifest, outcome, pods, status

Kubectl = Callable[..., str]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def connection(kubeconfig: Path) -> AsyncIterator[Connection]:
    async with KubernetesTransport.connect(kubeconfig=kubeconfig) as transport:
        yield Connection(transport, user_agent=cluster.USER_AGENT)


@pytest.fixture
def door(connection: Connection) -> cluster.Cluster:
    return cluster.Cluster(connection)


@pytest.fixture
def run(kubectl: Kubectl, namespace: str) -> Kubectl:
    def in_namespace(*arguments: str, document: Any = None) -> str:
        return kubectl("-n", namespace, *arguments, document=document)

    return in_namespace


@pytest.fixture
def key(run: Kubectl, namespace: str) -> Iterator[ObjectKey]:
    """A task's key, and the task."""
    found = ObjectKey(namespace, f"t-{uuid.uuid4().hex[:8]}")
    create(run, "LongTask", found.name, {"type": "sleep"})
    yield found
    run("delete", "longtask", found.name, "--ignore-not-found")


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


async def test_a_task_is_read_with_its_default(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
    assert (task.metadata.namespace, task.metadata.name) == key
    assert task.status.to_json() == {"phase": "Pending", "conditions": []}
    assert task.metadata.creation_timestamp is not None


async def test_what_is_not_there_is_not_found(door: cluster.Cluster, namespace: str) -> None:
    nobody = ObjectKey(namespace, "nobody")
    with pytest.raises(errors.NotFound):
        await door.get_task(nobody)
    with pytest.raises(errors.NotFound):
        await door.get_type(nobody)


async def test_a_type_is_read(door: cluster.Cluster, run: Kubectl, namespace: str) -> None:
    create(run, "LongTaskType", "sleep", {"defaults": {"priority": 7}})
    found = await door.get_type(ObjectKey(namespace, "sleep"))
    assert found.spec.defaults == v1alpha1.TypeDefaults(priority=7)


async def test_a_status_is_written_and_comes_back(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
    value = {"n": None, "list": [None, {"x": None}], "large": 2**62, "text": "é"}
    after = claimed(task, waiting="w", result=v1alpha1.Result(value=value))
    written = await door.write_status(task, after)
    assert written.status == after
    assert (await door.get_task(key)).status == after
    gone = written.status.model_copy(update={"waiting": None})
    assert (await door.write_status(written, gone)).status.waiting is None


async def test_a_stale_write_is_a_conflict(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
    await door.write_status(task, claimed(task))
    with pytest.raises(errors.Conflict) as caught:
        await door.write_status(task, claimed(task, waiting="too late"))
    assert not isinstance(caught.value, errors.AlreadyExists)
    assert (await door.get_task(key)).status.waiting is None


async def test_a_stale_removal_is_a_conflict_too(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
    said = await door.write_status(task, claimed(task, waiting="w"))
    silent = said.status.model_copy(update={"waiting": None})
    await door.write_status(said, silent)
    with pytest.raises((errors.Conflict, errors.Rejected)):
        await door.write_status(said, silent)


async def test_nothing_to_write_is_no_request(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
    assert await door.write_status(task, task.status) is task


async def test_a_task_that_is_gone_is_not_found(
    door: cluster.Cluster, run: Kubectl, key: ObjectKey
) -> None:
    task = await door.get_task(key)
    run("delete", "longtask", key.name)
    with pytest.raises(errors.NotFound):
        await door.write_status(task, claimed(task))


async def test_a_finished_status_is_frozen(door: cluster.Cluster, key: ObjectKey) -> None:
    task = await door.get_task(key)
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


async def test_a_finished_task_is_opened_for_another_delivery(
    door: cluster.Cluster, run: Kubectl, key: ObjectKey
) -> None:
    task = await door.get_task(key)
    made = v1alpha1.Delivery(
        at=now(), event=v1alpha1.TaskEvent.STARTED, seconds=0.125, error="Timeout"
    )
    entry = v1alpha1.CallbackStatus(
        id="msg_1",
        event=v1alpha1.TaskEvent.STARTED,
        state=v1alpha1.CallbackState.EXHAUSTED,
        facts=v1alpha1.EventFacts(at=now(), attempt=1, percent=3, message="m", started_at=now()),
        deliveries=[made],
    )
    told = await door.write_status(task, claimed(task, conditions=[FINISHED], callback=entry))
    assert told.status.callback == entry
    run("annotate", "longtask", key.name, "longtask.dev/redeliver=now")
    asked = await door.get_task(key)
    request = delivery.asked_again(asked)
    assert request == "now"
    at = now().replace(microsecond=0)
    after = status.next_status(asked, decisions.Redeliver(request), queue="default", now=at)
    opened = await door.write_status(asked, after)
    assert opened.status.callback == delivery.reopened(entry, "now", now=at)
    assert delivery.asked_again(opened) is None


async def test_a_whole_story_is_taken_by_the_server(door: cluster.Cluster, key: ObjectKey) -> None:
    """Each status that `next_status` derives fits the schema."""
    task = await door.get_task(key)
    pod = testing.an_ended_pod(1, "x" * 5000, node="node-1")
    failure = outcome.of_pod(pod, cancel_requested=False, run_seconds=1)
    story: list[decisions.Write] = [
        decisions.Enqueue("there is no LongTaskQueue named q", Reason.QUEUE_NOT_FOUND),
        decisions.Claim(1, "a-job"),
        decisions.Explain("x" * 5000, Reason.POD_CANNOT_START, "job-1"),
        decisions.MarkRunning(testing.a_pod(started_at=now(), node="node-1")),
        decisions.Finish(failure, pod),
    ]
    for decided in story:
        after = status.next_status(task, decided, queue="default", now=now())
        task = await door.write_status(task, after)
    assert task.status.phase is v1alpha1.Phase.FAILED


async def test_lists_have_a_version_and_everything(
    connection: Connection, run: Kubectl, key: ObjectKey
) -> None:
    seen: Cache[v1alpha1.LongTask] = Cache()
    first = await informer.relist(connection, kinds.TASKS, key.namespace, seen)
    task = seen.get(key)
    assert task is not None
    assert first.version >= int(task.metadata.resource_version)
    again = await informer.relist(connection, kinds.TASKS, key.namespace, seen, limit=1)
    assert again.changed == []
    run("delete", "longtask", key.name)
    later = await informer.relist(connection, kinds.TASKS, key.namespace, seen)
    assert later.version > first.version
    assert seen.get(key) is None


async def test_an_absurdly_deep_input_does_not_break_the_lists(
    connection: Connection, run: Kubectl, namespace: str
) -> None:
    deep: Any = 1
    for _ in range(9_900):
        deep = [deep]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    seen: Cache[v1alpha1.LongTask] = Cache()
    try:
        create(run, "LongTask", "deep", {"type": "sleep", "input": deep})
        await informer.relist(connection, kinds.TASKS, namespace, seen)
        task = seen.get(ObjectKey(namespace, "deep"))
        assert task is not None
        assert task.spec.input == deep
        a_manifest(task)
        run("delete", "longtask", "deep")
    finally:
        sys.setrecursionlimit(limit)


# --- Jobs ---


def a_manifest(task: v1alpha1.LongTask) -> dict[str, Any]:
    spec = effective.effective_spec(task.spec, None, testing.INSTALLATION)
    return job_manifest.build(task, spec, attempt=1, surroundings=testing.SURROUNDINGS)


@pytest.fixture
async def job(door: cluster.Cluster, key: ObjectKey) -> pods.Job:
    """The Job of the task; it gets no pod, as there is no such account here."""
    return await door.create_job(a_manifest(await door.get_task(key)), now=now())


async def test_a_job_is_made_once_and_is_ours(
    door: cluster.Cluster, key: ObjectKey, job: pods.Job
) -> None:
    task = await door.get_task(key)
    assert (job.owner_uid, job.is_released, job.is_finished) == (task.metadata.uid, False, False)
    with pytest.raises(errors.AlreadyExists):
        await door.create_job(a_manifest(task), now=now())
    again = await door.get_job(job.key, now=job.checked_at)
    assert again == job


async def test_a_job_that_the_server_refuses_is_rejected_with_its_words(
    door: cluster.Cluster, key: ObjectKey
) -> None:
    manifest = a_manifest(await door.get_task(key))
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    with pytest.raises(errors.Rejected, match="restartPolicy"):
        await door.create_job(manifest, now=now())


async def test_a_job_that_is_not_there_is_known_to_be_absent(
    door: cluster.Cluster, namespace: str
) -> None:
    at = now().replace(microsecond=0)
    found = await door.get_job(ObjectKey(namespace, "nothing"), now=at)
    assert found == pods.Job(namespace, "nothing", checked_at=at, exists=False)


async def test_the_events_say_why_there_is_no_pod(door: cluster.Cluster, job: pods.Job) -> None:
    why = await eventually(lambda: door.why_no_pod(job), bool)
    assert "longtask-task" in why


async def test_a_job_is_released(door: cluster.Cluster, job: pods.Job) -> None:
    await door.release_job(job)
    assert (await door.get_job(job.key, now=now())).is_released


async def test_a_job_goes_with_its_pods_and_going_twice_is_fine(
    door: cluster.Cluster, job: pods.Job
) -> None:
    await door.delete_job(job)
    await eventually(lambda: door.get_job(job.key, now=now()), lambda found: not found.exists)
    await door.delete_job(job)
    await door.release_job(job)


async def test_another_job_of_the_same_name_is_not_touched(
    door: cluster.Cluster, job: pods.Job
) -> None:
    other = dataclasses.replace(job, uid=str(uuid.uuid4()))
    with pytest.raises(errors.Conflict):
        await door.delete_job(other)
    with pytest.raises(errors.Conflict):
        await door.release_job(other)
    assert await door.get_job(job.key, now=job.checked_at) == job


# --- pods ---


@pytest.fixture
def pod(run: Kubectl, key: ObjectKey) -> Iterator[dict[str, Any]]:
    """A pod of the task that no node takes."""
    name = key.name
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
    door: cluster.Cluster, key: ObjectKey, pod: dict[str, Any]
) -> None:
    async def fetch() -> tuple[int, list[pods.Pod]]:
        return await door.pods_of(key)

    version, (found,) = await eventually(fetch, lambda answer: answer[1][0].cannot_start)
    assert (found.uid, found.task) == (pod["metadata"]["uid"], key)
    assert "node" in (found.cannot_start or "")
    assert version >= found.version
    why = await eventually(lambda: door.why_no_start(found), bool)
    assert "node" in why


async def test_a_pod_is_stopped_and_no_other(
    door: cluster.Cluster, key: ObjectKey, pod: dict[str, Any]
) -> None:
    _, (found,) = await door.pods_of(key)
    other = dataclasses.replace(found, uid=str(uuid.uuid4()))
    with pytest.raises(errors.Conflict):
        await door.stop_pod(other)
    await door.stop_pod(found)
    _, (stopped,) = await door.pods_of(key)
    assert (found.is_stopping, stopped.is_stopping) == (False, True)


async def test_a_pod_that_is_gone_is_not_found(door: cluster.Cluster, key: ObjectKey) -> None:
    with pytest.raises(errors.NotFound):
        await door.stop_pod(testing.a_pod(name="gone", task=key))


# --- Secrets and Events ---


async def test_a_secret_is_read_and_written(
    connection: Connection, run: Kubectl, namespace: str
) -> None:
    run("create", "secret", "generic", "keys", "--from-literal=a=hush")
    run("label", "secret", "keys", "longtask.dev/callback=true")
    place = ObjectKey(namespace, "keys")
    secret = await secrets.read(connection, place)
    assert (secret.get("a"), secret.get("b")) == ("hush", None)
    assert secret.labels == {names.CALLBACK_SECRET_LABEL: "true"}
    assert "hush" not in f"{secret} {secret!r}"
    after = await secrets.write(connection, secret, {"b": "whsec_é"})
    assert (after.get("a"), after.get("b")) == ("hush", "whsec_é")
    with pytest.raises(errors.Conflict):
        await secrets.write(connection, secret, {"b": "another"})

    def another(stored: str) -> str | None:
        return None if stored else "another"

    assert await secrets.ensure(connection, place, "b", another) == "whsec_é"
    assert await secrets.ensure(connection, place, "c", another) == "another"
    with pytest.raises(errors.NotFound):
        await secrets.read(connection, ObjectKey(namespace, "none"))


async def test_a_warning_stands_at_the_task(
    door: cluster.Cluster, run: Kubectl, key: ObjectKey
) -> None:
    task = await door.get_task(key)
    await door.warn(task, EventReason.CALLBACK_FAILED, "x" * 5000, now=now())
    told = json.loads(run("get", "events", "-o", "json"))["items"]
    (event,) = [e for e in told if e["involvedObject"].get("uid") == task.metadata.uid]
    assert (event["type"], event["reason"]) == ("Warning", "CallbackFailed")
    assert event["message"] == "x" * 1024

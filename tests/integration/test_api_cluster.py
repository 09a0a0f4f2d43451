"""The API's door to Kubernetes, and that the twin in memory behaves as the real one."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport, Transport
from longtask_adapters.testing import MemoryKubernetes
from longtask_api.cluster import Cluster
from longtask_api.http import problems
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey

Kubectl = Callable[..., str]


def a_task(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": name},
        "spec": {"type": "fibonacci"} | spec,
    }


@pytest.fixture
async def real(kubeconfig: Path) -> AsyncIterator[Transport]:
    async with KubernetesTransport.connect(kubeconfig=kubeconfig) as transport:
        yield transport


@pytest.fixture(params=["memory", "kubernetes"])
def cluster(request: pytest.FixtureRequest, namespace: str) -> Cluster:
    transport: Transport
    if request.param == "memory":
        transport = MemoryKubernetes(namespace=namespace)
    else:
        transport = request.getfixturevalue("real")
    return Cluster(Connection(transport, user_agent="longtask-api"))


async def claim(cluster: Cluster, key: ObjectKey) -> None:
    """Record an attempt, as the operator does."""
    claimed = {"status": {"attempt": 1}}
    await cluster._connection.patch(kinds.TASKS.path(key, "status"), claimed)


async def test_a_task_from_its_birth_to_its_end(cluster: Cluster, namespace: str) -> None:
    key = ObjectKey(namespace, "life")
    given = [None, {"a": None}]
    made = await cluster.create(kinds.TASKS, namespace, a_task("life", input=given))
    assert (made.status.phase, made.spec.input) == ("Pending", given)
    uid = made.metadata.uid
    with pytest.raises(errors.AlreadyExists):
        await cluster.create(kinds.TASKS, namespace, a_task("life"))
    with pytest.raises(errors.Rejected):
        await cluster.write_progress(key, {"percent": 1}, uid=uid, attempt=1)
    await claim(cluster, key)
    for percent in (5, 6):
        said = {"percent": percent, "checkpoint": {"a": None, "b": [None]}}
        written = await cluster.write_progress(key, said, uid=uid, attempt=1)
        assert (written.status.phase, written.status.progress.percent) == ("Pending", percent)
        assert written.status.progress.checkpoint == said["checkpoint"]
    with pytest.raises(errors.Rejected):
        await cluster.write_progress(key, {"percent": 7}, uid=uid, attempt=2)
    patched = await cluster.patch(kinds.TASKS, key, {"spec": {"cancel": True}}, uid=uid)
    assert await cluster.get(kinds.TASKS, key) == patched
    assert (patched.spec.input, patched.status.progress.percent) == (given, 6)
    assert await cluster.delete(kinds.TASKS, key, uid=uid)


async def test_a_result_is_written_to_the_task_as_it_was_seen(
    cluster: Cluster, namespace: str
) -> None:
    made = await cluster.create(kinds.TASKS, namespace, a_task("result"))
    key, uid = ObjectKey(namespace, "result"), made.metadata.uid
    await claim(cluster, key)
    reported = await cluster.write_progress(key, {"percent": 5}, uid=uid, attempt=1)
    result = v1alpha1.Result(ref=v1alpha1.ResultRef(size=5, sha256="0" * 64))
    with pytest.raises(errors.Conflict):
        await cluster.write_result(made, result)
    written = await cluster.write_result(reported, result)
    assert written.status == reported.status.model_copy(update={"result": result})
    other = v1alpha1.Result(ref=v1alpha1.ResultRef(size=6, sha256="1" * 64))
    assert (await cluster.write_result(written, other)).status.result == other
    await cluster.delete(kinds.TASKS, key, uid=uid)


async def test_only_what_was_seen_is_deleted(cluster: Cluster, namespace: str) -> None:
    seen = await cluster.create(kinds.TASKS, namespace, a_task("seen"))
    key, uid = ObjectKey(namespace, "seen"), seen.metadata.uid
    changed = await cluster.patch(kinds.TASKS, key, {"spec": {"cancel": True}}, uid=uid)
    with pytest.raises(errors.Conflict):
        await cluster.delete(kinds.TASKS, key, uid=uid, version=seen.metadata.resource_version)
    assert await cluster.delete(
        kinds.TASKS, key, uid=uid, version=changed.metadata.resource_version
    )


async def test_a_job_that_is_gone_is_released(cluster: Cluster, namespace: str) -> None:
    assert await cluster.is_released(ObjectKey(namespace, "nothing"), owner="u")


@pytest.mark.parametrize(
    ("write", "refusal"),
    [
        pytest.param(
            lambda c, key: c.patch(kinds.TASKS, key, {"spec": {"cancel": True}}, uid="other"),
            errors.Conflict,
            id="patch",
        ),
        pytest.param(
            lambda c, key: c.write_progress(key, {"percent": 1}, uid="other", attempt=1),
            errors.Rejected,
            id="progress",
        ),
        pytest.param(
            lambda c, key: c.delete(kinds.TASKS, key, uid="other"), errors.Conflict, id="delete"
        ),
    ],
)
async def test_nothing_is_written_to_another_of_the_same_name(
    cluster: Cluster,
    namespace: str,
    write: Callable[[Cluster, ObjectKey], Awaitable[object]],
    refusal: type[errors.ClusterError],
) -> None:
    key = ObjectKey(namespace, "another")
    made = await cluster.create(kinds.TASKS, namespace, a_task("another"))
    with pytest.raises(refusal):
        await write(cluster, key)
    assert await cluster.get(kinds.TASKS, key) == made
    await cluster.delete(kinds.TASKS, key, uid=made.metadata.uid)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c, key: c.get(kinds.TASKS, key), id="get"),
        pytest.param(lambda c, key: c.patch(kinds.TASKS, key, {"spec": {}}, uid="u"), id="patch"),
        pytest.param(lambda c, key: c.write_progress(key, {}, uid="u", attempt=1), id="progress"),
        pytest.param(lambda c, key: c.delete(kinds.TASKS, key, uid="u"), id="delete"),
        pytest.param(lambda c, key: c.get_pod(key), id="pod"),
        pytest.param(lambda c, key: c.ensure_in_secret(key, "a", lambda _: "b"), id="secret"),
    ],
)
async def test_what_is_not_there(
    cluster: Cluster, namespace: str, call: Callable[[Cluster, ObjectKey], Awaitable[object]]
) -> None:
    with pytest.raises(errors.NotFound):
        await call(cluster, ObjectKey(namespace, "nothing"))


async def test_unknown_tokens_and_pods(cluster: Cluster, namespace: str) -> None:
    assert await cluster.review_token("no-token", "longtask-report") is None
    assert await cluster.find_pods(namespace, {names.TASK_LABEL: "nothing"}) == []


async def test_the_log_of_a_pod_that_is_gone(cluster: Cluster, namespace: str) -> None:
    key = ObjectKey(namespace, "nothing")
    opening = cluster.pod_log(key, container="runner")
    with pytest.raises(errors.NotFound):
        await contextlib.AsyncExitStack().enter_async_context(opening)


async def test_a_key_is_made_but_once(real: Transport, namespace: str, kubectl: Kubectl) -> None:
    kubectl("-n", namespace, "create", "secret", "generic", "keys")
    cluster = Cluster(Connection(real, user_agent="longtask-api"))
    made = []

    def make(value: str) -> str | None:
        if value:
            return None
        made.append("first")
        return made[-1]

    for _ in range(2):
        assert await cluster.ensure_in_secret(ObjectKey(namespace, "keys"), "me", make) == "first"
    assert made == ["first"]


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        pytest.param({"container": {"image": "a"}}, "", id="two-kinds-of-work"),
        pytest.param({"priority": 101}, "/priority", id="out-of-range"),
        pytest.param(
            {"callback": {"url": "https://a.test/", "headers": {"Host": "b"}}},
            "/callback/headers",
            id="a-rule-in-cel",
        ),
    ],
)
async def test_the_field_that_kubernetes_refuses_is_named(
    real: Transport, namespace: str, spec: dict[str, Any], pointer: str
) -> None:
    cluster = Cluster(Connection(real, user_agent="longtask-api"))
    with pytest.raises(errors.Rejected) as refused:
        await cluster.create(kinds.TASKS, namespace, a_task("refused", **spec))
    assert pointer in {error.pointer for error in problems.of_cluster(refused.value).errors}

"""What the API asks of Kubernetes; the integration tests ask some of it of a real one."""

import pytest

from api_support import key, put_pod, put_task
from longtask_adapters.kube import connection, errors, kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api.cluster import Cluster, TokenIdentity
from longtask_crds import names


@pytest.fixture
def cluster(kubernetes: MemoryKubernetes) -> Cluster:
    return Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))


async def test_what_is_written_is_answered_whole(
    cluster: Cluster, kubernetes: MemoryKubernetes
) -> None:
    spec = {"steps": [{"name": "s", "type": "x", "input": {"n": [None]}}], "input": {"a": None}}
    made = await cluster.create(kinds.TASKS, "longtasks", {"metadata": {"name": "a"}, "spec": spec})
    assert made.spec.input == {"a": None}
    assert made.spec.steps[0].input == {"n": [None]}
    assert await cluster.get(kinds.TASKS, key("a")) == made


async def test_a_namespace_that_is_missing_is_no_404(cluster: Cluster) -> None:
    class Nowhere(connection.Connection):
        async def post(self, *_: object) -> dict[str, object]:
            raise errors.NotFound('namespaces "longtasks" not found')

    cluster = Cluster(Nowhere(MemoryKubernetes(), user_agent="longtask-api"))
    with pytest.raises(errors.Unavailable, match="longtasks is missing"):
        await cluster.create(kinds.TASKS, "longtasks", {})


async def test_writes_are_bound_to_what_was_looked_at(
    cluster: Cluster, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, status={"phase": "Pending", "attempt": 1})
    before = kubernetes.stored(names.LONGTASKS, "a")
    with pytest.raises(errors.Conflict):
        await cluster.patch(kinds.TASKS, key("a"), {"spec": {"cancel": True}}, uid="another")
    with pytest.raises(errors.Rejected):
        await cluster.write_progress(key("a"), {"percent": 1}, uid="another", attempt=1)
    uid = before["metadata"]["uid"]
    with pytest.raises(errors.Rejected):
        await cluster.write_progress(key("a"), {"percent": 1}, uid=uid, attempt=2)
    with pytest.raises(errors.Conflict):
        await cluster.delete(kinds.TASKS, key("a"), uid="another")
    assert kubernetes.stored(names.LONGTASKS, "a") == before

    patched = await cluster.patch(kinds.TASKS, key("a"), {"spec": {"cancel": True}}, uid=uid)
    assert patched.spec.cancel
    written = await cluster.write_progress(key("a"), {"percent": 1}, uid=uid, attempt=1)
    assert (written.status.phase, written.status.progress.percent) == ("Pending", 1)
    assert await cluster.delete(kinds.TASKS, key("a"), uid=uid)


async def test_what_a_finalizer_holds_is_not_gone(
    cluster: Cluster, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, metadata={"finalizers": ["example.com/keep"]})
    uid = kubernetes.stored(names.LONGTASKS, "a")["metadata"]["uid"]
    assert not await cluster.delete(kinds.TASKS, key("a"), uid=uid)


async def test_pods(cluster: Cluster, kubernetes: MemoryKubernetes) -> None:
    put_pod(kubernetes, "old")
    put_pod(kubernetes, "new", phase="Failed")
    kubernetes.put("pods", "new", metadata={"creationTimestamp": "2026-01-02T04:00:00Z"})
    found = await cluster.find_pods("longtasks", {names.TASK_LABEL: "a", names.ATTEMPT_LABEL: "1"})
    assert [meta.name for meta in found] == ["new", "old"]
    assert await cluster.find_pods("longtasks", {names.TASK_LABEL: "b"}) == []
    assert await cluster.get_pod(key("new")) == found[0]
    assert await cluster.get_pod(key("old")) == found[1]


async def test_whom_a_token_belongs_to(cluster: Cluster, kubernetes: MemoryKubernetes) -> None:
    kubernetes.tokens["t"] = {
        "authenticated": True,
        "user": {"username": "me", "extra": {"pod": ["p"]}},
        "audiences": ["longtask-report"],
    }
    seen = await cluster.review_token("t", "longtask-report")
    assert seen == TokenIdentity("me", ("longtask-report",), {"pod": ("p",)})
    assert await cluster.review_token("another", "longtask-report") is None

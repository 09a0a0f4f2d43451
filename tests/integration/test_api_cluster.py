"""The API's door to Kubernetes, and that its twin in memory behaves as the real one."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import yaml

from longtask_api import errors, ports, testing
from longtask_api.cluster import KubernetesCluster
from longtask_crds import names


def a_task(name, **spec):
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": name},
        "spec": {"type": "fibonacci"} | spec,
    }


@pytest.fixture
async def real(kubeconfig, namespace) -> AsyncIterator[KubernetesCluster]:
    async with KubernetesCluster.connect(
        kubeconfig=kubeconfig, namespace=namespace, secrets_namespace=namespace
    ) as connected:
        yield connected


@pytest.fixture(params=["memory", "kubernetes"])
def cluster(request):
    if request.param == "memory":
        return testing.MemoryCluster()
    return request.getfixturevalue("real")


async def test_a_life_is_seen_by_a_watch(cluster):
    listing = await cluster.list(ports.TASKS)
    async with contextlib.aclosing(cluster.watch(ports.TASKS, listing.resource_version)) as events:
        assert (await anext(events)).change is ports.Change.PROGRESS
        made = await cluster.create(ports.TASKS, a_task("life"))
        assert made.status.phase == "Pending"
        patched = await cluster.patch(
            ports.TASKS, "life", {"status": {"progress": {"percent": 5}}}, subresource="status"
        )
        assert patched.status.progress.percent == 5
        assert (await cluster.get(ports.TASKS, "life")) == patched
        with pytest.raises(errors.AlreadyExists):
            await cluster.create(ports.TASKS, a_task("life"))
        await cluster.delete(ports.TASKS, "life")
        seen = [await anext(events) for _ in range(3)]
        assert [event.change for event in seen] == [
            ports.Change.PRESENT,
            ports.Change.PRESENT,
            ports.Change.ABSENT,
        ]
        assert seen[0].resource == made
        assert seen[1].resource == patched
        assert seen[2].resource.metadata.uid == made.metadata.uid
        versions = [int(event.resource_version) for event in seen]
        assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda c: c.get(ports.TASKS, "nothing"), id="get"),
        pytest.param(lambda c: c.patch(ports.TASKS, "nothing", {"spec": {}}), id="patch"),
        pytest.param(lambda c: c.delete(ports.TASKS, "nothing"), id="delete"),
        pytest.param(lambda c: c.get_pod("nothing"), id="pod"),
        pytest.param(lambda c: c.get_secret("nothing"), id="secret"),
    ],
)
async def test_what_is_not_there(cluster, call):
    with pytest.raises(errors.NotFound):
        await call(cluster)


async def test_unknown_tokens_and_pods(cluster):
    assert await cluster.review_token("no-token", "longtask-report") is None
    assert await cluster.find_pods({names.TASK_LABEL: "nothing"}) == []


async def test_the_log_of_a_pod_that_is_gone(cluster):
    opening = cluster.pod_log("nothing", container="runner", follow=True)
    with pytest.raises(errors.NotFound):
        await contextlib.AsyncExitStack().enter_async_context(opening)


async def test_a_secret_is_written_only_on_top_of_what_was_read(real, namespace, kubectl):
    kubectl("-n", namespace, "create", "secret", "generic", "keys")
    read = await real.get_secret("keys")
    assert read.values == {}
    await real.patch_secret("keys", {"a": "1"}, resource_version=read.resource_version)
    with pytest.raises(errors.Conflict):
        await real.patch_secret("keys", {"a": "2"}, resource_version=read.resource_version)
    assert (await real.get_secret("keys")).values == {"a": "1"}


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
async def test_the_field_that_kubernetes_refuses_is_named(real, spec, pointer):
    with pytest.raises(errors.Rejected) as refused:
        await real.create(ports.TASKS, a_task("refused", **spec))
    assert pointer in {error.pointer for error in refused.value.errors}


async def test_a_place_that_is_long_gone(real):
    # Too small a version is either compacted or older than the watch cache.
    async with contextlib.aclosing(real.watch(ports.TASKS, "1")) as events:
        with pytest.raises(errors.Expired):
            [event async for event in events]


async def test_a_cluster_that_is_not_there(kubeconfig, tmp_path):
    config = yaml.safe_load(kubeconfig.read_text())
    for entry in config["clusters"]:
        entry["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(yaml.safe_dump(config))
    async with KubernetesCluster.connect(
        kubeconfig=nowhere, namespace="a", secrets_namespace="a"
    ) as away:
        with pytest.raises(errors.Unavailable):
            await away.list(ports.TASKS)

from collections.abc import Callable

import pytest

from api_support import CALLER, key, put_task
from longtask_adapters.kube import connection, errors, kinds
from longtask_adapters.kube.cache import Cache
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors as told
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.archive import Archive
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.testing import (
    FINISHED,
    NAMESPACE,
    a_task,
    an_attempt,
    with_meta,
    with_status,
)

Tasks = Cache[v1alpha1.LongTask]


@pytest.fixture
def tasks() -> Tasks:
    return Cache(kinds.without_inputs)


@pytest.fixture
def resources(kubernetes: MemoryKubernetes, archive: Archive, tasks: Tasks) -> Resources:
    cluster = Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))
    return Resources(
        cluster, archive, namespace=NAMESPACE, tasks=tasks, types=Cache(), queues=Cache()
    )


def at(version: int, task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    return with_meta(task, resource_version=str(version))


def test_pods_lead_to_the_task_that_they_work_on(resources: Resources, tasks: Tasks) -> None:
    def keep(version: int, *attempts: v1alpha1.Attempt, finished: bool = False) -> None:
        conditions = [FINISHED] if finished else []
        tasks.put(
            at(version, with_status(a_task("a"), attempts=[*attempts], conditions=conditions))
        )

    def found(uid: str) -> bool:
        return resources.program_of_pod(uid) is not None

    one, two = an_attempt(1, pod_uid="one"), an_attempt(2, pod_uid="two")
    keep(2, an_attempt(1))
    assert not found("")
    keep(3, one)
    assert (found("one"), found("two")) == (True, False)
    keep(4, one, two)
    assert (found("one"), found("two")) == (False, True)
    keep(5, one, two, finished=True)
    assert (found("one"), found("two")) == (False, False)
    keep(6, one)
    tasks.remove(key("a"), a_task().metadata.uid)
    assert not found("one")


def test_pods_lead_to_the_program_of_a_pipeline_that_they_work_on(
    resources: Resources, tasks: Tasks
) -> None:
    def found(*phases: str) -> list[str | None]:
        statuses = [
            {"name": "one", "phase": phases[0], "podUid": "p1"},
            {"name": "two", "items": 9, "children": [{"index": 3, "phase": phases[1]}]},
        ]
        statuses[1]["children"][0]["podUid"] = "p2"
        steps = v1alpha1.LongTaskStatus.model_validate({"steps": statuses}).steps
        version = tasks.get(key("a"))
        number = 2 if version is None else int(version.metadata.resource_version) + 1
        tasks.put(at(number, with_status(a_task("a"), steps=steps)))
        pods = (resources.program_of_pod(uid) for uid in ("p1", "p2"))
        return [pod and pod[1] for pod in pods]

    assert found("Running", "Starting") == ["one", "two.3"]
    assert found("Succeeded", "Running") == [None, "two.3"]
    assert found("Succeeded", "Failed") == [None, None]


async def test_what_was_written_is_here_at_once_without_its_input(
    resources: Resources, tasks: Tasks
) -> None:
    steps = [{"name": "s", "type": "x", "input": {"n": 2}}]
    body = {"metadata": {"name": "a"}, "spec": {"input": {"n": 1}, "steps": steps}}
    made = await resources.create_task(body)
    assert (made.spec.input, made.spec.steps[0].input) == ({"n": 1}, {"n": 2})
    cached = tasks.get(key("a"))
    assert (cached.spec.input, cached.spec.steps[0].input) == (None, None)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda r, task: r.patch_task(task, {"spec": {"cancel": True}}), id="patch"),
        pytest.param(lambda r, task: r.delete_task(task), id="delete"),
    ],
)
async def test_a_successor_is_never_meant(
    resources: Resources,
    kubernetes: MemoryKubernetes,
    write: Callable[..., object],
) -> None:
    put_task(kubernetes)
    seen = await resources.find_task(key("a"))
    kubernetes.remove_task("a")
    put_task(kubernetes)
    there = kubernetes.stored(names.LONGTASKS, "a")
    with pytest.raises(errors.Conflict):
        await write(resources, seen)
    assert kubernetes.stored(names.LONGTASKS, "a") == there
    assert (await resources.find_task(key("a"))).metadata.uid == there["metadata"]["uid"]

    kubernetes.remove_task("a")
    with pytest.raises(errors.NotFound):
        await write(resources, resources.cached_task(key("a")))
    assert resources.cached_task(key("a")) is None


async def test_callers_see_what_they_may(
    resources: Resources, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, "mine", metadata={"labels": {names.OWNER_LABEL: "me"}})
    put_task(kubernetes, "nobodys")
    me = callers.Caller("me")
    for name in ("mine", "nobodys"):
        assert (await resources.seen_task(CALLER, name)).metadata.name == name
    assert await resources.seen_task(me, "mine")
    with pytest.raises(told.Missing):
        await resources.seen_task(me, "nobodys")


async def test_impossible_names_cost_no_request(
    resources: Resources, kubernetes: MemoryKubernetes
) -> None:
    for name in ("", "..", "No-Name", "a" * 64, "a\n"):
        assert await resources.find_task(key(name)) is None
        assert await resources.find_type(name) is None
    assert kubernetes.calls == []

from collections.abc import Callable
from datetime import timedelta

import pytest

from api_support import CALLER, key, put_task
from longtask_adapters.kube import connection, errors, kinds
from longtask_adapters.kube.cache import Cache
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors as told
from longtask_api.auth import callers
from longtask_api.cluster import Cluster
from longtask_api.stores.archive import Archive
from longtask_api.stores.catalogue import Record
from longtask_api.stores.resources import Resources
from longtask_crds import names, v1alpha1
from longtask_crds.testing import (
    FINISHED,
    NAMESPACE,
    NOW,
    a_queue,
    a_task,
    a_type,
    an_attempt,
    with_meta,
    with_status,
)


class Caches:
    def __init__(self) -> None:
        self.tasks = Cache(kinds.without_inputs)
        self.types: Cache[v1alpha1.LongTaskType] = Cache()
        self.queues: Cache[v1alpha1.LongTaskQueue] = Cache()
        self.now = NOW


@pytest.fixture
def caches() -> Caches:
    return Caches()


@pytest.fixture
def resources(kubernetes: MemoryKubernetes, archive: Archive, caches: Caches) -> Resources:
    cluster = Cluster(connection.Connection(kubernetes, user_agent="longtask-api"))
    return Resources(
        cluster,
        archive,
        namespace=NAMESPACE,
        tasks=caches.tasks,
        types=caches.types,
        queues=caches.queues,
        clock=lambda: caches.now,
    )


def at(version: int, task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    return with_meta(task, resource_version=str(version))


HOLDING = with_status(a_task(type="fast"), queue="a", attempts=[an_attempt()])


def test_a_place_that_is_held_stays_where_it_is(resources: Resources, caches: Caches) -> None:
    caches.queues.put(a_queue("a", maxRunning=1))
    caches.types.put(a_type("fast", defaults={"queue": "a"}))
    caches.tasks.put(at(2, HOLDING))
    waits = at(3, a_task("next", uid="next", queue="a"))
    caches.tasks.put(waits)
    caches.types.put(with_meta(a_type("fast", defaults={"queue": "b"}), resource_version="9"))
    place = resources.place(Record.of(waits))
    assert place is not None
    assert (place.running, place.max_running, place.position) == (1, 1, 1)
    assert resources.queue_of(Record.of(HOLDING)) == "a"


def test_who_joins_later_has_a_place_from_then_on(resources: Resources, caches: Caches) -> None:
    late = a_task(type="x", notBefore=NOW + timedelta(seconds=60))
    caches.tasks.put(late)
    record = Record.of(late)
    resources.catch_up()
    assert resources.place(record) is None
    assert resources.queue_of(record) == "default"
    caches.now += timedelta(seconds=60)
    resources.catch_up()
    place = resources.place(record)
    assert place is not None
    assert place.position == 1


def test_who_joins_while_a_page_is_made_is_on_the_next_one(
    resources: Resources, caches: Caches
) -> None:
    first = a_task(
        "first", uid="first", type="x", priority=90, notBefore=NOW + timedelta(seconds=1)
    )
    tasks = [first, *(a_task(name, uid=name, type="x") for name in "ab")]
    for task in tasks:
        caches.tasks.put(task)
    resources.catch_up()
    page = []
    for record in resources.waiting(None):
        caches.now += timedelta(seconds=1)
        place = resources.place(record)
        assert place is not None
        page.append((record.key.name, place.position))
    assert page == [("a", 1), ("b", 2)]


def test_who_is_being_deleted_stands_in_nobodys_way(resources: Resources, caches: Caches) -> None:
    first, second = a_task("a", uid="a", priority=99), a_task("b", uid="b")
    for task in (first, second):
        caches.tasks.put(task)
    assert resources.place(Record.of(second)).position == 2
    caches.tasks.put(at(5, with_meta(first, deletion_timestamp=first.metadata.creation_timestamp)))
    assert resources.place(Record.of(second)).position == 1


@pytest.mark.parametrize(
    ("task", "queue", "priority"),
    [
        pytest.param(a_task(), "default", 50, id="says-nothing"),
        pytest.param(a_task(type="fast"), "express", 90, id="as-its-type-says"),
        pytest.param(a_task(type="fast", queue="q", priority=1), "q", 1, id="as-it-says-itself"),
        pytest.param(HOLDING, "a", 90, id="where-it-holds-its-place"),
        pytest.param(
            with_status(a_task(type="fast"), queue="past", conditions=[FINISHED]),
            "past",
            90,
            id="what-it-came-through",
        ),
        pytest.param(
            with_status(a_task(type="fast"), conditions=[FINISHED]),
            "express",
            90,
            id="ended-before-it-was-queued",
        ),
    ],
)
def test_queue_and_priority(
    resources: Resources, caches: Caches, task: v1alpha1.LongTask, queue: str, priority: int
) -> None:
    caches.types.put(a_type("fast", defaults={"queue": "express", "priority": 90}))
    caches.tasks.put(task)
    record = Record.of(task)
    assert (resources.queue_of(record), resources.priority_of(record)) == (queue, priority)


def test_pods_lead_to_the_task_that_they_work_on(resources: Resources, caches: Caches) -> None:
    def keep(version: int, *attempts: v1alpha1.Attempt, finished: bool = False) -> None:
        conditions = [FINISHED] if finished else []
        caches.tasks.put(
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
    caches.tasks.remove(key("a"), a_task().metadata.uid)
    assert not found("one")


def test_pods_lead_to_the_program_of_a_pipeline_that_they_work_on(
    resources: Resources, caches: Caches
) -> None:
    def found(*phases: str) -> list[str | None]:
        statuses = [
            {"name": "one", "phase": phases[0], "podUid": "p1"},
            {"name": "two", "items": 9, "children": [{"index": 3, "phase": phases[1]}]},
        ]
        statuses[1]["children"][0]["podUid"] = "p2"
        steps = v1alpha1.LongTaskStatus.model_validate({"steps": statuses}).steps
        version = caches.tasks.get(key("a"))
        number = 2 if version is None else int(version.metadata.resource_version) + 1
        caches.tasks.put(at(number, with_status(a_task("a"), steps=steps)))
        pods = (resources.program_of_pod(uid) for uid in ("p1", "p2"))
        return [pod and pod[1] for pod in pods]

    assert found("Running", "Starting") == ["one", "two.3"]
    assert found("Succeeded", "Running") == [None, "two.3"]
    assert found("Succeeded", "Failed") == [None, None]


async def test_what_was_written_is_here_at_once_without_its_input(
    resources: Resources, caches: Caches
) -> None:
    steps = [{"name": "s", "type": "x", "input": {"n": 2}}]
    body = {"metadata": {"name": "a"}, "spec": {"input": {"n": 1}, "steps": steps}}
    made = await resources.create_task(body)
    assert (made.spec.input, made.spec.steps[0].input) == ({"n": 1}, {"n": 2})
    cached = caches.tasks.get(key("a"))
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

from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import kinds
from longtask_adapters.kube.cache import Cache
from longtask_api.stores.archive import Archive
from longtask_api.stores.catalogue import Record
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_crds import v1alpha1
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
def lines(archive: Archive, caches: Caches) -> Lines:
    there: Any = {"tasks": caches.tasks, "types": caches.types, "queues": caches.queues}
    resources = Resources(None, archive, namespace=NAMESPACE, **there)  # type: ignore[arg-type]
    return Lines(resources, **there, clock=lambda: caches.now)


def at(version: int, task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    return with_meta(task, resource_version=str(version))


HOLDING = with_status(a_task(type="fast"), queue="a", attempts=[an_attempt()])


def test_a_place_that_is_held_stays_where_it_is(lines: Lines, caches: Caches) -> None:
    caches.queues.put(a_queue("a", maxRunning=1))
    caches.types.put(a_type("fast", defaults={"queue": "a"}))
    caches.tasks.put(at(2, HOLDING))
    waits = at(3, a_task("next", uid="next", queue="a"))
    caches.tasks.put(waits)
    caches.types.put(with_meta(a_type("fast", defaults={"queue": "b"}), resource_version="9"))
    place = lines.place(Record.of(waits))
    assert place is not None
    assert (place.running, place.max_running, place.position) == (1, 1, 1)
    assert lines.queue_of(Record.of(HOLDING)) == "a"


def test_who_joins_later_has_a_place_from_then_on(lines: Lines, caches: Caches) -> None:
    late = a_task(type="x", notBefore=NOW + timedelta(seconds=60))
    caches.tasks.put(late)
    record = Record.of(late)
    lines.catch_up()
    assert lines.place(record) is None
    assert lines.queue_of(record) == "default"
    caches.now += timedelta(seconds=60)
    lines.catch_up()
    place = lines.place(record)
    assert place is not None
    assert place.position == 1


def test_who_joins_while_a_page_is_made_is_on_the_next_one(lines: Lines, caches: Caches) -> None:
    first = a_task(
        "first", uid="first", type="x", priority=90, notBefore=NOW + timedelta(seconds=1)
    )
    tasks = [first, *(a_task(name, uid=name, type="x") for name in "ab")]
    for task in tasks:
        caches.tasks.put(task)
    lines.catch_up()
    page = []
    for record in lines.waiting(None):
        caches.now += timedelta(seconds=1)
        place = lines.place(record)
        assert place is not None
        page.append((record.key.name, place.position))
    assert page == [("a", 1), ("b", 2)]


def test_who_is_being_deleted_stands_in_nobodys_way(lines: Lines, caches: Caches) -> None:
    first, second = a_task("a", uid="a", priority=99), a_task("b", uid="b")
    for task in (first, second):
        caches.tasks.put(task)
    assert lines.place(Record.of(second)).position == 2
    caches.tasks.put(at(5, with_meta(first, deletion_timestamp=first.metadata.creation_timestamp)))
    assert lines.place(Record.of(second)).position == 1


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
    lines: Lines, caches: Caches, task: v1alpha1.LongTask, queue: str, priority: int
) -> None:
    caches.types.put(a_type("fast", defaults={"queue": "express", "priority": 90}))
    caches.tasks.put(task)
    record = Record.of(task)
    assert (lines.queue_of(record), lines.priority_of(record)) == (queue, priority)

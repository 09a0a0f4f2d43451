"""The archive on a real server of each kind."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from longtask_api.database.engine import Database
from longtask_api.stores.archive import Archive
from longtask_api.stores.blobs import Blobs
from longtask_api.stores.catalogue import Age, Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.log_tails import LogTails
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import FINISHED, NAMESPACE, NOW, a_condition, a_task, with_meta
from longtask_crds.testing import with_status as with_status_of

FAILED, SUCCEEDED = v1alpha1.Phase.FAILED, v1alpha1.Phase.SUCCEEDED


def ended(
    name: str,
    *,
    uid: str = "",
    age: int = 0,
    phase: v1alpha1.Phase = SUCCEEDED,
    message: str = "",
    queue: str | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> v1alpha1.LongTask:
    done = a_condition(v1alpha1.ConditionType.SUCCEEDED, message=message)
    made = with_status_of(
        a_task(name, uid=uid or name, **spec),
        phase=phase,
        conditions=[FINISHED, done],
        queue=queue,
    )
    created = NOW - timedelta(seconds=age)
    return with_meta(made, creation_timestamp=created, labels=labels or {})


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(database_url)) as made:
        yield made


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database)


async def put(archive: Archive, *tasks: v1alpha1.LongTask) -> None:
    for task in tasks:
        await archive.put(task, queue="default", at=NOW)


async def pages_of(
    archive: Archive, wanted: Filter, *, owner: str | None = None, **how: Any
) -> list[str]:
    """Return the uids on each page, to the end."""
    found: list[str] = []
    low: Age | None = None
    high: Age | None = None
    newest_first = how.setdefault("newest_first", False)
    while True:
        tasks, end = await archive.page(wanted, owner=owner, low=low, high=high, **how)
        found.append("".join(task.metadata.uid for task in tasks))
        if end is None:
            return found
        low, high = (low, end) if newest_first else (end, high)
        assert len(found) <= 20, "it goes in circles"


async def test_a_task_comes_back_as_it_was(archive: Archive) -> None:
    strange = "\0 'quoted' \N{SNOWMAN} %_/"
    task = ended("a", message=strange, type="x", input={"text": [strange, None], "n": 2**63 - 1})
    task = with_status_of(task, result=v1alpha1.Result(value={"x": [None]}))
    await put(archive, task)
    found = await archive.find(ObjectKey(NAMESPACE, "a"))
    assert found == with_status_of(task, queue="default")
    assert await archive.find(ObjectKey(NAMESPACE, "b")) is None


async def test_an_input_that_is_too_deep_keeps_nothing_else_away(archive: Archive) -> None:
    deep: Any = None
    for _ in range(9_000):
        deep = [deep]
    await put(archive, ended("a", type="x", input=deep))
    found = await archive.find(ObjectKey(NAMESPACE, "a"))
    assert found is not None
    assert found.spec.type == "x"


async def test_the_last_state_that_was_archived_counts(archive: Archive) -> None:
    await put(archive, ended("a", labels={"team": "x"}), ended("a", labels={"team": "y"}))
    assert await pages_of(archive, Filter(labels=(("team", "x"),)), limit=9) == [""]
    assert await pages_of(archive, Filter(labels=(("team", "y"),)), limit=9) == ["a"]


async def test_of_a_name_that_came_again_the_newest_is_found(archive: Archive) -> None:
    await put(archive, ended("a", uid="2", phase=FAILED), ended("a", uid="1", age=9))
    found = await archive.find(ObjectKey(NAMESPACE, "a"))
    assert found is not None
    assert found.metadata.uid == "2"
    assert await pages_of(archive, Filter(), limit=9) == ["12"]


OF_SCHEDULE = (names.SCHEDULE_LABEL, "s")
TASKS = [
    ended("a", age=5, type="fast", labels={"team": "x", "kind": "y"}),
    ended("b", age=4, phase=FAILED, message="Out Of Memory: 100%", queue="slow"),
    ended("c", age=3, type="fast", labels={names.OWNER_LABEL: "ann"}),
    ended("a-c", uid="d", age=2, labels={"team": "x"}),
    ended("a", uid="e", age=2, message="a_b", labels={names.SCHEDULE_LABEL: "s", "day": "1"}),
    ended("z", age=1, phase=v1alpha1.Phase.CANCELLED, labels={names.SCHEDULE_LABEL: "s"}),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Filter(), "abcedz", id="all"),
        pytest.param(Filter(phases=(FAILED,)), "b", id="phase"),
        pytest.param(Filter(phases=(FAILED, SUCCEEDED)), "abced", id="phases"),
        pytest.param(Filter(type="fast"), "ac", id="type"),
        pytest.param(Filter(queue="slow"), "b", id="queue"),
        pytest.param(Filter(owner="ann"), "c", id="owner"),
        pytest.param(Filter(owner="\0"), "", id="an-owner-that-nobody-is"),
        pytest.param(Filter(labels=(("team", "x"),)), "ad", id="label"),
        pytest.param(Filter(labels=(("team", "x"), ("kind", "y"))), "a", id="labels"),
        pytest.param(Filter(labels=(OF_SCHEDULE,)), "ez", id="schedule"),
        pytest.param(Filter(labels=(OF_SCHEDULE, ("day", "1"))), "e", id="schedule-and-label"),
        pytest.param(
            Filter(labels=(OF_SCHEDULE, (names.SCHEDULE_LABEL, "t"))), "", id="two-schedules"
        ),
        pytest.param(Filter(text="OF MEM"), "b", id="text-in-a-message"),
        pytest.param(Filter(text="-C"), "d", id="text-in-a-name"),
        pytest.param(Filter(text="%"), "b", id="a-percent-sign-is-one"),
        pytest.param(Filter(text="_"), "e", id="an-underscore-is-one"),
        pytest.param(Filter(text="c", type="fast"), "c", id="text-and-type"),
    ],
)
async def test_pages_show_each_task_once_however_few_they_look_at(
    archive: Archive, wanted: Filter, expected: str
) -> None:
    await put(archive, *TASKS)
    for limit, looks in itertools.product((1, 2, 100), (1, 2, 100)):
        pages = await pages_of(archive, wanted, limit=limit, most_looks=looks)
        assert "".join(pages) == expected
        assert max(map(len, pages)) <= limit
        backwards = await pages_of(
            archive, wanted, newest_first=True, limit=limit, most_looks=looks
        )
        assert "".join(backwards) == expected[::-1]


async def test_pages_are_in_the_order_of_live_tasks(archive: Archive) -> None:
    await put(archive, *TASKS)
    # In one second by name, where a dash is before a letter, whatever the server's language.
    in_order = sorted(TASKS, key=lambda task: Record.of(task).age)
    (found,) = await pages_of(archive, Filter(), limit=9)
    assert found == "".join(task.metadata.uid for task in in_order)


async def test_the_runs_of_a_schedule_are_found_without_a_search(archive: Archive) -> None:
    await put(archive, *TASKS)
    runs = await pages_of(archive, Filter(labels=(OF_SCHEDULE,)), limit=9, most_looks=1)
    assert runs == ["ez"]


async def test_a_page_is_between_two_ages(archive: Archive) -> None:
    await put(archive, *TASKS)
    ages = sorted(Record.of(task).age for task in TASKS)
    tasks, end = await archive.page(
        Filter(), owner=None, low=ages[0], high=ages[3], newest_first=False, limit=9
    )
    assert ([task.metadata.name for task in tasks], end) == (["b", "c"], None)


async def test_of_others_nothing_is_seen(archive: Archive) -> None:
    await put(archive, *TASKS)
    assert await pages_of(archive, Filter(), owner="ann", limit=9) == ["c"]
    assert await pages_of(archive, Filter(owner="bob"), owner="ann", limit=9) == [""]


async def test_what_is_removed_is_gone(archive: Archive) -> None:
    await put(archive, *TASKS)
    assert await archive.remove("e", "b", "nobody") == 2
    assert await pages_of(archive, Filter(), limit=9) == ["acdz"]


async def test_what_was_archived_long_ago_comes_in_batches(archive: Archive) -> None:
    for number, name in enumerate("abcd"):
        await archive.put(ended(name), queue="q", at=NOW + timedelta(seconds=number))
    until = NOW + timedelta(seconds=3)
    first = await archive.older_than(until, after="", limit=2)
    assert first == ["a", "b"]
    assert await archive.older_than(until, after=first[-1], limit=2) == ["c"]


async def test_many_are_archived_at_once(archive: Archive) -> None:
    twice = [ended(str(number), labels={"a": "b"}) for number in range(20)] * 2
    await asyncio.gather(*(archive.put(task, queue="default", at=NOW) for task in twice))
    found, _ = await archive.page(
        Filter(), owner=None, low=None, high=None, newest_first=True, limit=100
    )
    assert len(found) == 20


async def test_blobs_of_nobody(database: Database, archive: Archive) -> None:
    blobs = Blobs(database, clock=lambda: NOW)
    tails = LogTails(blobs)
    await put(archive, ended("a"))
    for uid in ("a", "x", "y"):
        await tails.put(uid, 1, b"one\n")
        await tails.put(uid, 2, b"")
    later = NOW + timedelta(seconds=1)
    assert await blobs.not_archived(before=NOW, after="", limit=9) == []
    assert await blobs.not_archived(before=later, after="", limit=9) == ["x", "y"]
    assert await blobs.not_archived(before=later, after="x", limit=9) == ["y"]
    await blobs.remove("x", "y")
    assert (await tails.get("a", 1), await tails.get("a", 2)) == (b"one\n", b"")
    assert await tails.get("x", 1) is None

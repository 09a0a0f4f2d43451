import asyncio
from typing import Any

import pytest

from longtask_adapters.kube import cache
from longtask_crds import names, testing, v1alpha1

A = names.ObjectKey("longtasks", "a")
Tasks = cache.Cache[v1alpha1.LongTask]


def a_task(name: str = "a", *, version: int = 1, uid: str = "u") -> v1alpha1.LongTask:
    return testing.with_meta(testing.a_task(name, uid=uid), resource_version=str(version))


@pytest.mark.parametrize(
    ("before", "put", "kept"),
    [
        pytest.param([], a_task(version=5), 5, id="the-first-is-kept"),
        pytest.param([a_task(version=5)], a_task(version=6), 6, id="the-newer-wins"),
        pytest.param([a_task(version=6)], a_task(version=5), 6, id="the-older-does-not"),
        pytest.param([a_task(version=9)], a_task(version=10), 10, id="versions-are-numbers"),
        pytest.param([a_task(version=6)], a_task(version=7, uid="v"), 7, id="made-anew"),
    ],
)
def test_put(before: list[v1alpha1.LongTask], put: v1alpha1.LongTask, kept: int) -> None:
    tasks = Tasks()
    for task in before:
        tasks.put(task)
    is_news = kept != (int(before[0].metadata.resource_version) if before else 0)
    meta = put.metadata
    assert tasks.wants(A, meta.uid, int(meta.resource_version)) is is_news
    assert tasks.put(put) is is_news
    found = tasks.get(A)
    assert found is not None
    assert found.metadata.resource_version == str(kept)


def test_the_same_name_in_two_namespaces_is_two_tasks() -> None:
    tasks = Tasks()
    tasks.put(a_task(version=5))
    other = a_task(version=6, uid="v")
    tasks.put(testing.with_meta(other, namespace="elsewhere"))
    assert set(tasks.keys()) == {A, names.ObjectKey("elsewhere", "a")}
    assert len(tasks) == len(list(tasks.values())) == 2
    assert A in tasks


def test_a_late_answer_does_not_bring_back_what_was_deleted() -> None:
    tasks = Tasks()
    assert not tasks.remove(A, "u")
    assert not tasks.put(a_task(version=5))
    assert tasks.put(a_task(version=6, uid="another"))


def test_a_late_answer_does_not_bring_back_what_was_made_anew_and_deleted_again() -> None:
    tasks = Tasks()
    tasks.put(a_task(version=5))
    tasks.put(a_task(version=7, uid="another"))
    tasks.remove(A, "another")
    assert not tasks.put(a_task(version=6))


def test_a_deletion_does_not_take_the_successor() -> None:
    tasks = Tasks()
    tasks.put(a_task(version=6, uid="another"))
    assert not tasks.remove(A, "u")
    assert tasks.get(A) is not None


def test_a_list_takes_away_only_what_is_older_than_itself() -> None:
    tasks = Tasks()
    old, listed = a_task("old", version=5, uid="1"), a_task("listed", version=6, uid="3")
    for task in (old, listed, a_task("written-meanwhile", version=8, uid="2")):
        tasks.put(task)
    assert tasks.keep_only({cache.key_of(listed)}, 7) == [cache.key_of(old)]
    assert {task.metadata.name for task in tasks.values()} == {"listed", "written-meanwhile"}
    assert tasks.keep_only({cache.key_of(listed)}, 7) == []


def test_a_list_brings_nothing_back_that_was_deleted_on_its_way() -> None:
    tasks = Tasks()
    tasks.put(a_task(version=5))
    tasks.remove(A, "u")
    assert not tasks.put(a_task(version=5))
    assert tasks.keep_only({A}, 6) == []
    assert len(tasks) == 0


def test_a_whole_installation_may_go_while_a_list_is_on_its_way() -> None:
    tasks, count = Tasks(), 10_000
    for number in range(count):
        tasks.remove(names.ObjectKey("longtasks", f"t{number}"), f"u{number}")
    assert not tasks.put(a_task("t0", version=5, uid="u0"))
    tasks.remove(A, "one-more")
    assert tasks.put(a_task("t0", version=5, uid="u0")), "deletions are remembered without end"


def raw_task(*, version: int, **status: Any) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "longtasks", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": meta | {"generation": 3, "labels": 7}, "spec": 7, "status": status}


def noted(tasks: Tasks) -> list[str]:
    return [known.metadata.resource_version for known in tasks.unreadable.values()]


def test_what_cannot_be_read_is_noted_beside_what_was_read_before() -> None:
    tasks = Tasks()
    tasks.put(a_task(version=5))
    ready = {"type": "Ready", "status": "False", "reason": "x", "lastTransitionTime": testing.NOW}
    tasks.note_unreadable(raw_task(version=6, conditions=[7, {"type": "x"}, ready]), "why")
    known = tasks.unreadable[A]
    assert (known.cause, known.metadata.uid, known.metadata.generation) == ("why", "u", 3)
    assert [condition.type for condition in known.conditions] == ["Ready"]
    assert tasks.get(A) is not None


@pytest.mark.parametrize("status", [{"conditions": 7}, {}], ids=["no-list", "nothing"])
def test_it_is_noted_whatever_its_status_is(status: dict[str, Any]) -> None:
    tasks = Tasks()
    tasks.note_unreadable(raw_task(version=6, **status), "why")
    assert tasks.unreadable[A].conditions == []


def test_what_can_be_read_again_is_unreadable_no_more() -> None:
    tasks = Tasks()
    tasks.note_unreadable(raw_task(version=6), "why")
    # What comes late does not count.
    tasks.note_unreadable(raw_task(version=5), "why")
    tasks.put(a_task(version=4))
    assert noted(tasks) == ["6"]
    tasks.put(a_task(version=7))
    assert noted(tasks) == []


@pytest.mark.parametrize(("uid", "left"), [("u", []), ("another", ["6"])])
def test_what_is_deleted_is_unreadable_no_more(uid: str, left: list[str]) -> None:
    tasks = Tasks()
    tasks.note_unreadable(raw_task(version=6), "why")
    tasks.remove(A, uid)
    assert noted(tasks) == left


@pytest.mark.parametrize(
    ("listed", "at", "left"),
    [
        pytest.param(set(), 7, [], id="it-is-gone"),
        pytest.param({A}, 7, ["6"], id="it-is-there"),
        pytest.param(set(), 5, ["6"], id="it-was-made-since"),
    ],
)
def test_a_list_takes_away_what_cannot_be_read_likewise(
    listed: set[names.ObjectKey], at: int, left: list[str]
) -> None:
    tasks = Tasks()
    tasks.note_unreadable(raw_task(version=6), "why")
    assert tasks.keep_only(listed, at) == []
    assert noted(tasks) == left


def test_listeners_get_what_was_and_what_is() -> None:
    tasks, told = Tasks(), []
    tasks.on_change(lambda before, after: told.append((before, after)))
    one, two = a_task(version=5), a_task(version=6)
    for task in (one, two, one):
        tasks.put(task)
    tasks.remove(A, "u")
    tasks.remove(A, "u")
    assert told == [(None, one), (one, two), (two, None)]


def test_a_listener_that_fails_is_logged_and_keeps_nobody_from_the_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, told = Tasks(), []

    def fail(_before: object, _after: object) -> None:
        raise KeyError("a mistake")

    tasks.on_change(fail)
    tasks.on_change(lambda _, after: told.append(after))
    assert tasks.put(a_task())
    assert told == [a_task()]
    assert "a mistake" in caplog.text


async def test_a_waiter_wakes_with_the_change_of_its_own_task() -> None:
    tasks = Tasks()
    waiting = asyncio.create_task(tasks.wait_for(A, lambda task: task is not None, within=60))
    tasks.put(a_task("b", uid="other"))
    tasks.put(a_task("a"))
    assert await waiting == a_task("a")


async def test_a_waiter_gets_what_there_is_when_its_time_is_over() -> None:
    tasks = Tasks()
    tasks.put(a_task())
    assert await tasks.wait_for(A, lambda task: task is None, within=0.01) == a_task()


# --- what is kept as text ---

LONG = testing.with_status(
    testing.a_task(type="x", input={"n": None}),
    result=v1alpha1.Result(value=[None, {"x": None}, 2**62, "é"]),
    conditions=[testing.FINISHED],
    queued_at=testing.NOW,
)


def test_what_is_packed_comes_back_as_it_was() -> None:
    plain, packing = Tasks(), Tasks(packs=lambda _: True)
    for tasks in (plain, packing):
        assert tasks.put(testing.with_meta(LONG, resource_version="5"))
    key = cache.key_of(LONG)
    assert packing.get(key) == plain.get(key)
    assert list(packing.values()) == list(plain.values())
    assert list(packing.versions()) == [(LONG.metadata.uid, 5)]


def test_listeners_are_told_of_what_was_packed_as_of_any() -> None:
    tasks = Tasks(packs=lambda task: task.is_finished)
    told: list[tuple[object, object]] = []
    tasks.on_change(lambda before, after: told.append((before, after)))
    first = testing.with_meta(LONG, resource_version="5")
    second = testing.with_meta(LONG, resource_version="6")
    tasks.put(first)
    assert not tasks.put(first)
    tasks.put(second)
    tasks.remove(cache.key_of(LONG), LONG.metadata.uid)
    assert told == [(None, first), (first, second), (second, None)]


@pytest.mark.parametrize("levels", [150, 195, 210, 260, 3000])
def test_what_is_too_deep_for_text_is_kept_as_it_is(levels: int) -> None:
    deep: object = 1
    for _ in range(levels):
        deep = [deep]
    tasks = Tasks(packs=lambda _: True)
    assert tasks.put(testing.a_task(type="x", input=deep))
    found = tasks.get(cache.key_of(LONG))
    assert found is not None
    seen = found.spec.input
    for _ in range(levels):
        (seen,) = seen
    assert seen == 1

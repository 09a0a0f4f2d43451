"""Handlers remember and enqueue, and do nothing else."""

from typing import Any

import pytest

from longtask_crds import names, v1alpha1
from longtask_crds.testing import NOW, a_queue, a_task, an_attempt, with_meta, with_status
from longtask_operator import handlers, mirror


@pytest.fixture
def added() -> list[str]:
    return []


@pytest.fixture
def memo(added: list[str]) -> handlers.Memo:
    return handlers.Memo(mirror=mirror.Mirror(), add=added.append)


def event(kind: str, resource: v1alpha1.Resource) -> Any:
    raw = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"type": kind, "object": raw}


def a_raw_pod(phase: str = "Running", *, version: int = 5, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "p",
            "uid": "pod-1",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {names.TASK_LABEL: "report", names.ATTEMPT_LABEL: "1"} | labels,
        },
        "status": {"phase": phase},
    }


async def test_a_task_is_taken_over_once(memo: handlers.Memo, added: list[str]) -> None:
    for kind in (None, "MODIFIED"):
        await handlers.on_task(event=event(kind, a_task()), memo=memo)
    assert added == ["report"]
    assert memo.mirror.watched == {a_task().metadata.uid: 1}


async def test_an_unreadable_task_is_heard_but_not_taken_over(
    memo: handlers.Memo, added: list[str]
) -> None:
    poison = event("ADDED", a_task())
    poison["object"]["spec"] = {"type": 7}
    await handlers.on_task(event=poison, memo=memo)
    assert (memo.mirror.tasks, added) == ({}, [])
    assert memo.mirror.watched == {a_task().metadata.uid: 1}


async def test_the_end_of_a_task_wakes_who_may_start_now(
    memo: handlers.Memo, added: list[str]
) -> None:
    memo.mirror.queues["default"] = a_queue(maxRunning=1)
    runs = with_status(a_task("first", uid="1"), attempt=1, queue="default")
    for task in (runs, a_task("second", uid="2"), a_task("third", uid="3")):
        memo.mirror.put_task(task)
    await handlers.on_task(event=event("DELETED", runs), memo=memo)
    assert added == ["second"]
    assert "first" not in memo.mirror.tasks


async def test_a_pod_is_taken_over(memo: handlers.Memo, added: list[str]) -> None:
    await handlers.on_pod(event={"type": "ADDED", "object": a_raw_pod()}, memo=memo)
    assert added == ["report"]
    assert memo.mirror.watched == {"pod-1": 5}


async def test_a_pod_with_a_strange_label_is_heard(memo: handlers.Memo) -> None:
    raw = a_raw_pod(**{names.ATTEMPT_LABEL: "first"})
    await handlers.on_pod(event={"type": "ADDED", "object": raw}, memo=memo)
    assert memo.mirror.watched == {"pod-1": 5}


async def test_a_deleted_pod_is_forgotten(memo: handlers.Memo, added: list[str]) -> None:
    await handlers.on_pod(event={"type": "ADDED", "object": a_raw_pod()}, memo=memo)
    await handlers.on_pod(event={"type": "DELETED", "object": a_raw_pod()}, memo=memo)
    assert memo.mirror.pods == {}
    assert added == ["report", "report"]


async def test_last_words_that_come_with_the_deletion_are_heard(memo: handlers.Memo) -> None:
    await handlers.on_pod(event={"type": "ADDED", "object": a_raw_pod()}, memo=memo)
    last = a_raw_pod("Succeeded", version=6)
    await handlers.on_pod(event={"type": "DELETED", "object": last}, memo=memo)
    (pod,) = memo.mirror.pods["report"].values()
    assert pod.is_over


async def test_a_queue_wakes_those_who_wait(memo: handlers.Memo, added: list[str]) -> None:
    memo.mirror.put_task(a_task())
    memo.mirror.put_task(with_status(a_task("other", uid="2"), attempts=[an_attempt()]))
    await handlers.on_queue(event=event("MODIFIED", a_queue(paused=True)), memo=memo)
    assert memo.mirror.queues["default"].spec.paused
    assert added == ["report"]
    await handlers.on_queue(event=event("DELETED", a_queue()), memo=memo)
    assert memo.mirror.queues == {}


async def test_an_unreadable_queue_is_as_good_as_none(memo: handlers.Memo) -> None:
    memo.mirror.queues["default"] = a_queue()
    poison = event("MODIFIED", a_queue())
    poison["object"]["spec"] = {"maxRunning": "many"}
    await handlers.on_queue(event=poison, memo=memo)
    assert memo.mirror.queues == {}


async def test_a_type_wakes_those_who_wait(memo: handlers.Memo, added: list[str]) -> None:
    memo.mirror.put_task(with_meta(a_task(), creation_timestamp=NOW))
    raw = {"metadata": {"name": "sleep", "uid": "t", "resourceVersion": "3"}, "spec": {}}
    await handlers.on_type(event={"type": "ADDED", "object": raw}, memo=memo)
    assert list(memo.mirror.types) == ["sleep"]
    assert added == ["report"]


def test_the_pauses_of_a_watch_grow_to_a_cap_and_never_run_out() -> None:
    pauses = handlers.CappedJitter(1, 15)
    for _ in range(2):
        walk = iter(pauses)
        found = [next(walk) for _ in range(50)]
        assert 0.5 <= found[0] <= 1
        assert all(7.5 <= pause <= 15 for pause in found[6:])

"""Handlers remember and enqueue, and do nothing else."""

from collections.abc import Iterable
from typing import Any

import pytest

from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import (
    NAMESPACE,
    a_queue,
    a_task,
    a_type,
    an_attempt,
    with_meta,
    with_status,
)
from longtask_operator import handlers, mirror

QUEUE = ObjectKey(NAMESPACE, "default")
SLEEP = ObjectKey(NAMESPACE, "sleep")


@pytest.fixture
def added() -> list[str]:
    return []


@pytest.fixture
def memo(added: list[str]) -> handlers.Memo:
    def wake(keys: Iterable[ObjectKey]) -> None:
        added.extend(key.name for key in keys)

    return handlers.Memo(mirror=mirror.Mirror(wake))


def event(kind: str | None, resource: v1alpha1.Resource, *, version: int = 1) -> Any:
    resource = with_meta(resource, resource_version=str(version))
    return {"type": kind, "object": resource.model_dump(mode="json", by_alias=True)}


def three_wait(memo: handlers.Memo, added: list[str]) -> None:
    for nth, name in enumerate(("first", "second", "third")):
        memo.mirror.tasks.put(a_task(name, uid=str(nth)))
    claimed = with_status(a_task("runs", uid="4"), queue="default", attempts=[an_attempt()])
    memo.mirror.tasks.put(claimed)
    added.clear()


async def test_a_queue_that_comes_or_goes_wakes_all_who_wait(
    memo: handlers.Memo, added: list[str]
) -> None:
    three_wait(memo, added)
    await handlers.on_queue(event=event("ADDED", a_queue(paused=True)), memo=memo)
    assert added == ["first", "second", "third"]
    added.clear()
    await handlers.on_queue(event=event("DELETED", a_queue(), version=2), memo=memo)
    assert added == ["first", "second", "third"]
    assert memo.mirror.queues.get(QUEUE) is None


async def test_a_queue_that_changes_wakes_who_may_start(
    memo: handlers.Memo, added: list[str]
) -> None:
    memo.mirror.queues.put(a_queue(paused=True))
    three_wait(memo, added)
    for version, spec in enumerate(({"maxRunning": 1}, {"maxRunning": 3}), start=2):
        await handlers.on_queue(
            event=event("MODIFIED", a_queue(**spec), version=version), memo=memo
        )
    assert added == ["first", "second"], "one place is taken"


async def test_of_an_unreadable_queue_the_last_readable_state_stays(memo: handlers.Memo) -> None:
    memo.mirror.queues.put(a_queue(maxRunning=1))
    poison = event("MODIFIED", a_queue(), version=2)
    poison["object"]["spec"] = {"maxRunning": "many"}
    await handlers.on_queue(event=poison, memo=memo)
    kept = memo.mirror.queues.get(QUEUE)
    assert kept is not None
    assert kept.spec.max_running == 1
    await handlers.on_queue(event=poison | {"type": "DELETED"}, memo=memo)
    assert memo.mirror.queues.get(QUEUE) is None


async def test_a_type_wakes_those_whom_its_defaults_moved(
    memo: handlers.Memo, added: list[str]
) -> None:
    memo.mirror.tasks.put(a_task(type="sleep"))
    memo.mirror.tasks.put(a_task("own", uid="2", type="sleep", queue="mine"))
    memo.mirror.tasks.put(a_task("other", uid="3"))
    changes = [
        ("ADDED", a_type("sleep"), []),
        ("MODIFIED", a_type("sleep", container={"image": "new"}), []),
        ("MODIFIED", a_type("sleep", defaults={"queue": "big"}), ["report"]),
        ("DELETED", a_type("sleep"), ["report"]),
    ]
    for version, (kind, resource, moved) in enumerate(changes, start=1):
        added.clear()
        await handlers.on_type(event=event(kind, resource, version=version), memo=memo)
        assert added == moved
        assert (memo.mirror.types.get(SLEEP) is None) == (kind == "DELETED")


def test_the_pauses_of_a_watch_grow_to_a_cap_and_never_run_out() -> None:
    pauses = handlers.CappedJitter(1, 15)
    for _ in range(2):
        walk = iter(pauses)
        found = [next(walk) for _ in range(50)]
        assert 0.5 <= found[0] <= 1
        assert all(7.5 <= pause <= 15 for pause in found[6:])

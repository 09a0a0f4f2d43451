"""What no watch brought is found by listing, and a deaf watch is found out."""

from typing import Any

import pytest

from longtask_crds import v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_task, an_attempt, with_status
from longtask_operator import mirror, resync
from longtask_operator.testing import MemoryCluster

PENDING = v1alpha1.CallbackStatus(
    id="msg_1", event=v1alpha1.TaskEvent.SUCCEEDED, state=v1alpha1.CallbackState.PENDING
)


class Operator:
    """The parts around a resync."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.mirror = mirror.Mirror()
        self.health = resync.Health()
        self.added: list[str] = []
        self.resync = resync.Resync(
            self.mirror,
            self.cluster,  # type: ignore[arg-type]  # its lists are all that is asked for
            self.health,
            self.added.append,
            lambda: NOW,
        )

    def hear_all(self) -> None:
        """Be told by the watches what there is."""
        for kind in (self.cluster.tasks, self.cluster.all_pods):
            for raw in kind.values():
                meta = raw["metadata"]
                self.mirror.watched[meta["uid"]] = int(meta["resourceVersion"])


@pytest.fixture
def operator() -> Operator:
    return Operator()


def finished(name: str, **status: Any) -> v1alpha1.LongTask:
    return with_status(a_task(name, uid=f"uid-of-{name}"), conditions=[FINISHED], **status)


async def test_every_unfinished_task_is_looked_at(operator: Operator) -> None:
    operator.cluster.add(a_task())
    await operator.resync.once()
    await operator.resync.once()
    assert operator.added == ["report", "report"]


async def test_a_finished_task_is_looked_at_while_something_is_due(operator: Operator) -> None:
    operator.cluster.add(finished("calm"))
    operator.cluster.add(finished("undelivered", callback=PENDING))
    operator.cluster.add(finished("unreleased", attempts=[an_attempt(job_name="job")]))
    operator.cluster.jobs["job"] = {
        "metadata": {"name": "job", "uid": "j", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {},
    }
    await operator.resync.once()
    operator.added.clear()
    await operator.resync.once()
    assert operator.added == ["undelivered", "unreleased"]


async def test_it_is_ready_once_everything_was_listed(operator: Operator) -> None:
    assert operator.health.why_not_ready() is not None
    await operator.resync.once()
    assert operator.health.why_not_ready() is None


async def test_a_watch_that_hears_is_not_deaf(operator: Operator) -> None:
    operator.cluster.add(a_task())
    for _ in range(3):
        await operator.resync.once()
        operator.hear_all()
        assert operator.health.deaf_since is None


async def test_a_late_watch_is_not_deaf(operator: Operator) -> None:
    operator.cluster.add(a_task())
    await operator.resync.once()
    assert operator.health.deaf_since is None
    operator.hear_all()
    await operator.resync.once()
    assert operator.health.deaf_since is None


async def test_what_two_resyncs_found_and_no_watch_brought_is_deafness(operator: Operator) -> None:
    operator.cluster.add(a_task())
    await operator.resync.once()
    await operator.resync.once()
    assert operator.health.deaf_since is not None
    assert operator.health.why_not_alive(operator.health.resynced_at or 0) == (
        "the watches have not brought what two resyncs found"
    )


async def test_a_watch_that_hears_again_is_well_again(operator: Operator) -> None:
    operator.cluster.add(a_task())
    await operator.resync.once()
    await operator.resync.once()
    operator.hear_all()
    await operator.resync.once()
    assert operator.health.deaf_since is None


async def test_an_older_version_heard_is_not_enough(operator: Operator) -> None:
    operator.cluster.add(a_task())
    operator.hear_all()
    operator.cluster.report_progress("report", 5)
    await operator.resync.once()
    await operator.resync.once()
    assert operator.health.deaf_since is not None


async def test_what_was_missed_and_is_gone_is_no_deafness(operator: Operator) -> None:
    operator.cluster.add(a_task())
    await operator.resync.once()
    operator.cluster.remove_task("report")
    await operator.resync.once()
    assert operator.health.deaf_since is None


async def test_what_is_gone_is_not_remembered(operator: Operator) -> None:
    operator.cluster.add(a_task())
    operator.hear_all()
    operator.cluster.remove_task("report")
    await operator.resync.once()
    assert operator.mirror.watched == {}


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        pytest.param(resync.Health(beat_at=100), None, id="before-the-first-resync"),
        pytest.param(resync.Health(resynced_at=0, beat_at=100), None, id="all-is-well"),
        pytest.param(resync.Health(resynced_at=-81, beat_at=100), "180 s", id="no-resync"),
        pytest.param(resync.Health(resynced_at=99, beat_at=69), "lags", id="a-blocked-loop"),
        pytest.param(
            resync.Health(resynced_at=99, beat_at=100, deaf_since=50), "watches", id="a-deaf-watch"
        ),
    ],
)
def test_why_not_alive(health: resync.Health, problem: str | None) -> None:
    found = health.why_not_alive(100)
    assert found == problem if problem is None else problem in (found or "")

"""The counts that `kubectl get ltq` shows: written when they changed, and by one operator."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from longtask_adapters import testing as twins
from longtask_adapters.kube import errors
from longtask_crds import names
from longtask_crds.testing import a_queue, a_task
from longtask_operator import cluster, queues
from longtask_operator.testing import Operator


@pytest.fixture
def operator() -> Operator:
    return Operator()


def stored(operator: Operator, name: str = "default") -> dict[str, Any]:
    status: dict[str, Any] = operator.kubernetes.stored(names.LONGTASKQUEUES, name)["status"]
    return status


async def two_tasks(operator: Operator) -> None:
    """Let one task run and another wait."""
    for name in ("a", "b"):
        await operator.submit(a_task(name, uid=name, container={"image": "x"}))
        await operator.look(name)


async def test_what_runs_and_waits_is_counted(operator: Operator) -> None:
    await two_tasks(operator)
    await operator.recorder.once()
    status = stored(operator)
    assert (status["running"], status["waiting"]) == (1, 1)


async def test_nothing_is_written_while_all_is_calm(operator: Operator) -> None:
    await two_tasks(operator)
    await operator.recorder.once()
    writes = operator.kubernetes.writes
    await operator.recorder.once()
    await operator.hear()
    await operator.recorder.once()
    assert operator.kubernetes.writes == writes


async def test_a_change_of_the_spec_is_observed(operator: Operator) -> None:
    await operator.hear()
    await operator.recorder.once()
    before = stored(operator)["observedGeneration"]
    operator.kubernetes.put(
        names.LONGTASKQUEUES, "default", spec={"paused": True}, metadata={"generation": before + 1}
    )
    await operator.hear()
    await operator.recorder.once()
    assert stored(operator)["observedGeneration"] == before + 1


async def test_what_others_keep_in_the_status_stays(operator: Operator) -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Fine",
        "message": "",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    operator.kubernetes.put(names.LONGTASKQUEUES, "default", status={"conditions": [ready]})
    await operator.hear()
    await operator.recorder.once()
    assert stored(operator)["conditions"] == [ready]


async def test_the_other_operator_writes_nothing(operator: Operator) -> None:
    await operator.hear()
    asked = cluster.Cluster(operator.connection)
    await queues.Recorder(operator.mirror, asked, lambda: False).once()
    assert operator.kubernetes.writes == 0


async def test_one_that_cannot_be_written_stands_in_nobodys_way(operator: Operator) -> None:
    operator.kubernetes.add(a_queue("night"))

    def interrupt(write: str, moment: str) -> None:
        path = operator.kubernetes.requests[-1].path
        if (write, moment) == ("PATCH longtaskqueues", "before") and "/default/" in path:
            raise twins.Refusal(422, "Invalid", "a webhook does not like it")

    operator.kubernetes.interrupt = interrupt
    await operator.hear()
    with pytest.raises(errors.Rejected):
        await operator.recorder.once()
    assert stored(operator, "night")["waiting"] == 0


@pytest.mark.parametrize("made_anew", [False, True], ids=["deleted", "made-anew"])
async def test_one_that_is_gone_is_no_failure(operator: Operator, made_anew: bool) -> None:
    await operator.hear()
    operator.kubernetes.remove(names.LONGTASKQUEUES, "default")
    if made_anew:
        operator.kubernetes.put(names.LONGTASKQUEUES, "default", status={})
    await operator.recorder.once()
    assert not made_anew or stored(operator) == {}


# --- when they are written ---


class Over(Exception):
    """The time of a test is up."""


class Course:
    """What happens at which second, by a clock that goes while the recorder sleeps."""

    def __init__(self, operator: Operator, until: float) -> None:
        self.now = 0.0
        self.happens: dict[float, Callable[[], Awaitable[object]]] = {}
        self.written: list[tuple[float, str]] = []
        self.is_refused = False
        self._operator = operator
        self._until = until
        operator.kubernetes.interrupt = self._note

    def _note(self, write: str, moment: str) -> None:
        if (write, moment) == ("PATCH longtaskqueues", "before"):
            path = self._operator.kubernetes.requests[-1].path.removesuffix("/status")
            self.written.append((self.now, path.rpartition("/")[2]))
            if self.is_refused:
                raise twins.Refusal(503, "ServiceUnavailable", "not now")

    async def sleep(self, seconds: float) -> None:
        wakes_at = self.now + seconds
        for at in sorted(at for at in self.happens if at <= wakes_at):
            self.now = at
            await self.happens.pop(at)()
        self.now = wakes_at
        if wakes_at > self._until:
            raise Over

    async def run(self) -> None:
        kubernetes = cluster.Cluster(self._operator.connection)
        recorder = queues.Recorder(self._operator.mirror, kubernetes, sleep=self.sleep)
        await self._operator.hear()
        with pytest.raises(Over):
            await recorder.run()


async def comes(operator: Operator, name: str, queue: str = "default") -> None:
    await operator.submit(a_task(name, uid=name, container={"image": "x"}, queue=queue))


async def test_what_changes_each_second_is_written_every_five(operator: Operator) -> None:
    course = Course(operator, until=21)
    for second in range(1, 21):
        course.happens[second] = functools.partial(comes, operator, f"t{second}")
    await course.run()
    assert course.written == [(at, "default") for at in (5, 10, 15, 20)]
    assert stored(operator)["waiting"] == 20


async def test_the_queue_that_changed_is_written_and_no_other(operator: Operator) -> None:
    operator.kubernetes.add(a_queue("night"))
    course = Course(operator, until=600)
    course.happens[7] = functools.partial(comes, operator, "a", "night")
    course.happens[8] = functools.partial(comes, operator, "b", "night")
    course.happens[301] = functools.partial(comes, operator, "c")
    await course.run()
    first, *later = sorted(course.written[:2]), *course.written[2:]
    assert first == [(5, "default"), (5, "night")], "what was never written"
    assert later == [(10, "night"), (305, "default")]


async def test_what_cannot_be_written_is_tried_ever_more_slowly(operator: Operator) -> None:
    course = Course(operator, until=210)
    course.is_refused = True

    async def mended() -> None:
        course.is_refused = False

    course.happens[190] = mended
    course.happens[199] = functools.partial(comes, operator, "a")
    await course.run()
    assert [at for at, _ in course.written] == [5, 15, 35, 75, 135, 195, 200]

"""The counts that `kubectl get ltq` shows: written when they changed, and by one operator."""

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

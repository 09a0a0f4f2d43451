"""Several tasks in one queue, pass after pass: who starts, who is passed over, who is woken."""

from typing import Any

import pytest

from longtask_adapters import testing as twins
from longtask_adapters.kube import errors, kinds
from longtask_crds import names, v1alpha1
from longtask_crds.testing import a_queue, a_task, with_meta
from longtask_operator.testing import Operator


@pytest.fixture
def operator() -> Operator:
    return Operator()


def submit(operator: Operator, name: str, *, owner: str = "", **spec: Any) -> None:
    task = a_task(name, uid=name, **({"container": {"image": "x"}} | spec))
    labels = {names.OWNER_LABEL: owner} if owner else {}
    operator.kubernetes.add(with_meta(task, labels=labels))


async def go_on(operator: Operator) -> None:
    """Hear of everything, and look at whoever is woken until nobody is."""
    await operator.resync.once()
    while operator.woken:
        await operator.look(operator.woken.pop(0))


def started(operator: Operator) -> list[str]:
    tasks = operator.kubernetes.objects(names.LONGTASKS).values()
    return [raw["metadata"]["name"] for raw in tasks if raw["status"].get("attempts")]


def end(operator: Operator, name: str) -> None:
    """Let the program of a task start and end."""
    attempt = (operator.status(name).attempts or [])[-1]
    pod = operator.kubernetes.make_pod(attempt.job_name)
    operator.kubernetes.start_pod(pod)
    operator.kubernetes.end_pod(pod)


async def test_an_owner_at_the_limit_is_passed_over_until_one_of_theirs_ends(
    operator: Operator,
) -> None:
    operator.kubernetes.add(a_queue(maxRunning=4, maxRunningPerOwner=1))
    submit(operator, "a1", owner="ann", priority=90)
    submit(operator, "a2", owner="ann", priority=80)
    submit(operator, "b1", owner="bob")
    submit(operator, "b2", owner="bob")
    submit(operator, "n1")
    submit(operator, "n2")
    await go_on(operator)
    assert started(operator) == ["a1", "b1", "n1"], "who has no owner shares one share"
    assert operator.status("a2").phase is v1alpha1.Phase.QUEUED
    end(operator, "a1")
    await go_on(operator)
    assert started(operator) == ["a1", "a2", "b1", "n1"]


@pytest.mark.parametrize(
    ("before", "after", "first", "then"),
    [
        pytest.param({"paused": True}, {}, "", "abc", id="a-pause-ends"),
        pytest.param({"maxRunning": 1}, {"maxRunning": 2}, "a", "ab", id="there-is-more-room"),
        pytest.param({"maxRunning": 1}, {}, "a", "abc", id="the-limit-is-gone"),
        pytest.param(
            {"maxRunningPerOwner": 1}, {"maxRunningPerOwner": 2}, "a", "ab", id="shares-grow"
        ),
        pytest.param({"maxRunning": 2}, {"maxRunning": 1}, "ab", "ab", id="none-is-ended-by-it"),
        pytest.param({"maxRunning": 2}, {"paused": True}, "ab", "ab", id="a-pause-ends-none"),
    ],
)
async def test_a_change_of_the_limits_takes_effect_at_once(
    operator: Operator, before: dict[str, Any], after: dict[str, Any], first: str, then: str
) -> None:
    operator.kubernetes.add(a_queue(**before))
    for name in "abc":
        submit(operator, name, owner="ann")
    await go_on(operator)
    assert "".join(started(operator)) == first
    operator.kubernetes.add(a_queue(**after))
    await go_on(operator)
    assert "".join(started(operator)) == then


@pytest.mark.parametrize("limits", [{"maxRunning": 1}, {"paused": True}], ids=["fewer", "a-pause"])
async def test_a_place_that_is_free_again_is_kept_by_the_new_limits(
    operator: Operator, limits: dict[str, Any]
) -> None:
    operator.kubernetes.add(a_queue(maxRunning=2))
    for name in "abc":
        submit(operator, name)
    await go_on(operator)
    operator.kubernetes.add(a_queue(**limits))
    end(operator, "a")
    await go_on(operator)
    assert started(operator) == ["a", "b"]


# --- one that cannot be started ---

INVALID = twins.Refusal(422, "Invalid", "an admission webhook does not like it")


def refuse_claims(operator: Operator, name: str, error: Exception = INVALID) -> None:
    """Let each write to the status of a task go wrong, for ever."""

    def interrupt(write: str, moment: str) -> None:
        if (write, moment) == ("status", "before"):
            path = operator.kubernetes.requests[-1].path
            if path.endswith(f"/{name}/status"):
                raise error

    operator.kubernetes.interrupt = interrupt


async def test_one_whose_claim_is_refused_for_ever_blocks_nobody(operator: Operator) -> None:
    submit(operator, "poison", priority=90)
    submit(operator, "second")
    submit(operator, "third")
    refuse_claims(operator, "poison")
    await operator.hear()
    operator.woken.clear()
    with pytest.raises(errors.Rejected):
        await operator.look("poison")
    assert operator.woken == ["second"]
    await operator.look("second")
    assert started(operator) == ["second"]
    with pytest.raises(errors.Rejected):
        await operator.look("poison")
    end(operator, "second")
    await operator.hear()
    operator.woken.clear()
    await operator.look("second")
    assert operator.woken == ["third"]


async def test_once_it_can_be_started_it_is_the_first_again(operator: Operator) -> None:
    submit(operator, "poison", priority=90)
    submit(operator, "second")
    operator.kubernetes.add(a_queue(paused=True))
    refuse_claims(operator, "poison")
    await operator.hear()
    with pytest.raises(errors.Rejected):
        await operator.look("poison")
    operator.kubernetes.interrupt = lambda _write, _moment: None
    operator.kubernetes.add(a_queue(maxRunning=1))
    await operator.hear()
    await operator.look("poison")
    assert started(operator) == ["poison"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.Unavailable("away"), id="nobody-answers"),
        pytest.param(twins.Refusal(429, "TooManyRequests", "later"), id="it-is-busy"),
        pytest.param(
            twins.Refusal(403, "Forbidden", 'x is forbidden: User "a" cannot patch resource "x"'),
            id="a-right-is-missing",
        ),
    ],
)
async def test_what_hits_all_alike_sends_nobody_forward(
    operator: Operator, error: Exception
) -> None:
    submit(operator, "first", priority=90)
    submit(operator, "second")
    refuse_claims(operator, "first", error)
    await operator.hear()
    operator.woken.clear()
    with pytest.raises(errors.ClusterError):
        await operator.look("first")
    assert operator.woken == []
    assert operator.mirror.index.may_start(operator.kubernetes.key("first"))


@pytest.mark.parametrize(
    ("moment", "holder"),
    [
        pytest.param("after", "first", id="it-was-claimed-and-keeps-its-place"),
        pytest.param("before", "urgent", id="it-was-not-and-leaves-the-place-to-who-is-next"),
    ],
)
async def test_a_claim_of_which_no_answer_came_has_its_place_until_it_is_known(
    operator: Operator, moment: str, holder: str
) -> None:
    submit(operator, "first")
    await operator.hear()

    def claim_is_lost(write: str, at: str) -> None:
        if (write, at) == ("status", moment):
            raise errors.Unavailable("nobody knows what became of it")

    operator.kubernetes.interrupt = claim_is_lost
    with pytest.raises(errors.Unavailable):
        await operator.look("first")
    operator.kubernetes.interrupt = lambda _write, _moment: None
    submit(operator, "urgent", priority=100)
    stored = operator.kubernetes.stored(names.LONGTASKS, "urgent")
    operator.mirror.tasks.put(kinds.TASKS.read(stored))
    await operator.look("urgent")
    assert "urgent" not in started(operator)
    await operator.look("first")
    await operator.look("urgent")
    assert started(operator) == [holder]


async def test_of_two_claims_that_a_smaller_limit_stops_one_goes_on(operator: Operator) -> None:
    operator.kubernetes.add(a_queue(maxRunning=2))
    submit(operator, "one")
    submit(operator, "two")
    await operator.resync.once()
    operator.woken.clear()
    seen, one, two = operator.mirror, *map(operator.kubernetes.key, ("one", "two"))
    # Both are read before they are written.
    seen.index.reserve(one)
    seen.index.reserve(two)
    seen.queues.put(with_meta(a_queue(maxRunning=1), resource_version="9"))
    assert not seen.index.may_start(one)
    assert not seen.index.may_start(two)
    seen.release(one)
    assert operator.woken == []
    seen.release(two)
    assert operator.woken == ["one"]

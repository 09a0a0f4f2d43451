"""Of several operators the one that holds the lease lets tasks start, and no other one."""

import asyncio
import contextlib
import dataclasses
import datetime
from collections.abc import AsyncIterator, Callable

import pytest

from longtask_adapters.kube import errors
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import route_of
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, a_queue, a_task
from longtask_operator import election, metrics, resync
from longtask_operator.testing import Operator

RENEWAL = "PATCH leases"
COUNTED = metrics.Metrics()


class Busy(MemoryKubernetes):
    """Something happens when it has answered."""

    answered: Callable[[str], None] = staticmethod(lambda _asked: None)

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        async with super().open(request) as response:
            self.answered(f"{request.method} {route_of(request.path).plural}")
            yield response


@dataclasses.dataclass
class Clock:
    """Monotonic seconds of all processes, that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kubernetes() -> Busy:
    return Busy()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Candidate:
    """One process that stands for the lease."""

    def __init__(self, kubernetes: MemoryKubernetes, clock: Clock, name: str) -> None:
        self.name = name
        self.due = clock.now
        self.admission = election.Admission(clock)
        self.election = election.Election(
            Connection(kubernetes, user_agent="test"),
            NAMESPACE,
            name,
            admission=self.admission,
            counted=COUNTED,
        )
        self._clock = clock

    async def step(self) -> None:
        """Take a step, and list everything if that has to be."""
        self.due = self._clock.now + await self.election.once()
        if self.admission.gained.is_set():
            self.list_everything()

    def list_everything(self) -> None:
        with self.admission.catching_up():
            pass

    @property
    def admits(self) -> bool:
        return self.admission.may_admit()


@pytest.fixture
def first(kubernetes: Busy, clock: Clock) -> Candidate:
    return Candidate(kubernetes, clock, "first")


@pytest.fixture
def second(kubernetes: Busy, clock: Clock) -> Candidate:
    return Candidate(kubernetes, clock, "second")


async def let_pass(clock: Clock, seconds: float, *candidates: Candidate) -> None:
    """Let time pass, in which these take their steps when they are due, and others are frozen."""
    end = clock.now + seconds
    while (first := min(candidates, key=lambda c: c.due)).due <= end:
        clock.now = max(clock.now, first.due)
        await first.step()
    clock.now = end


def holder(kubernetes: MemoryKubernetes) -> str | None:
    spec = kubernetes.stored("leases", names.ADMISSION_LEASE)["spec"]
    found: str | None = spec.get("holderIdentity")
    return found


# --- one alone ---


async def test_one_alone_admits_once_it_has_listed_everything(first: Candidate) -> None:
    await first.election.once()
    assert not first.admits
    first.list_everything()
    assert first.admits


async def test_a_list_that_was_not_complete_does_not_count(first: Candidate) -> None:
    await first.election.once()
    with pytest.raises(errors.Unavailable), first.admission.catching_up():
        raise errors.Unavailable("away")
    assert not first.admits


async def test_a_list_that_was_begun_before_it_got_the_lease_does_not_count(
    first: Candidate,
) -> None:
    with first.admission.catching_up():
        await first.election.once()
    assert not first.admits
    assert first.admission.gained.is_set()


async def test_it_renews_by_one_request_and_stays_in_its_term(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()
    kubernetes.requests.clear()
    await let_pass(clock, 60, first)
    assert kubernetes.calls == ["patch leases longtask-admission"] * 30
    assert (first.admits, first.admission.terms) == (True, 1)


@pytest.mark.parametrize(
    ("after", "admits"),
    [
        pytest.param(9.9, True, id="shortly-before"),
        pytest.param(10, False, id="ten-seconds-after-its-last-renewal-was-begun"),
        pytest.param(60, False, id="frozen-for-a-minute-before-any-loop-has-run"),
    ],
)
async def test_it_admits_no_more_by_the_clock_alone(
    clock: Clock, first: Candidate, after: float, admits: bool
) -> None:
    await first.step()
    clock.now += after
    assert first.admits is admits


async def test_a_slow_renewal_counts_from_when_it_was_begun(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()

    def slow(write: str, moment: str) -> None:
        clock.now += 4.5 * (write == RENEWAL and moment == "after")

    kubernetes.interrupt = slow
    begun = clock.now = first.due
    await first.step()
    clock.now = begun + 9.9
    assert first.admits
    clock.now = begun + 10
    assert not first.admits


async def test_who_got_it_again_after_it_lapsed_lists_everything_again(
    clock: Clock, first: Candidate
) -> None:
    await first.step()
    clock.now += 10
    await first.election.once()
    assert (first.admits, first.admission.terms) == (False, 2)
    first.list_everything()
    assert first.admits


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        pytest.param("before", errors.Unavailable("not now"), id="refused"),
        pytest.param("after", errors.Unavailable("lost"), id="an-answer-that-was-lost"),
        pytest.param("before", KeyError("a mistake"), id="a-mistake-of-ours"),
    ],
)
async def test_one_renewal_that_fails_is_borne(
    kubernetes: Busy, clock: Clock, first: Candidate, moment: str, error: Exception
) -> None:
    await first.step()

    def fail_once(_write: str, at: str) -> None:
        if at == moment:
            kubernetes.interrupt = lambda _write, _moment: None
            raise error

    kubernetes.interrupt = fail_once
    await let_pass(clock, 12, first)
    assert (first.admits, first.admission.terms) == (True, 1)


async def test_another_write_of_the_lease_is_borne(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()
    kubernetes.put("leases", names.ADMISSION_LEASE, metadata={"labels": {"a": "b"}})
    await let_pass(clock, 12, first)
    assert (first.admits, first.admission.terms) == (True, 1)


async def test_while_the_api_server_is_away_nobody_admits_and_then_it_goes_on(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()
    kubernetes.go_away()
    await let_pass(clock, 10, first)
    assert not first.admits
    kubernetes.come_back()
    await let_pass(clock, 2, first)
    assert first.admits


# --- two of them ---


async def test_the_second_waits_as_long_as_the_first_renews(
    clock: Clock, first: Candidate, second: Candidate
) -> None:
    await let_pass(clock, 300, first, second)
    assert (first.admits, second.admits) == (True, False)
    assert (first.admission.terms, second.admission.terms) == (1, 0)


async def test_the_second_takes_over_from_one_that_is_frozen(
    kubernetes: Busy, clock: Clock, first: Candidate, second: Candidate
) -> None:
    await let_pass(clock, 3, first, second)
    await let_pass(clock, 13.9, second)
    assert not second.admits
    await let_pass(clock, 0.1, second)
    assert (first.admits, second.admits) == (False, True)
    assert holder(kubernetes) == "second"
    await let_pass(clock, 60, first, second)
    assert (first.admits, second.admits) == (False, True)


async def test_a_new_one_waits_for_the_term_of_one_that_was_killed(
    clock: Clock, first: Candidate, second: Candidate
) -> None:
    await first.step()
    clock.now += 2
    second.due = clock.now
    await let_pass(clock, 14.9, second)
    assert not second.admits
    await let_pass(clock, 0.1, second)
    assert second.admits


async def test_one_that_is_let_go_is_taken_by_the_next_look(
    kubernetes: Busy, clock: Clock, first: Candidate, second: Candidate
) -> None:
    await let_pass(clock, 3, first, second)
    await first.election.let_go()
    assert (first.admits, holder(kubernetes)) == (False, None)
    await let_pass(clock, 2, second)
    assert second.admits


async def test_it_is_let_go_although_the_last_answer_was_lost(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()
    kubernetes.put("leases", names.ADMISSION_LEASE, spec={"renewTime": "later"})
    await first.election.let_go()
    assert holder(kubernetes) is None


async def test_nobody_lets_the_lease_of_another_go(
    kubernetes: Busy, clock: Clock, first: Candidate, second: Candidate
) -> None:
    await let_pass(clock, 3, first, second)
    await second.election.let_go()
    assert (first.admits, holder(kubernetes)) == (True, "first")


async def test_an_api_server_that_is_away_keeps_nobody_from_stopping(
    kubernetes: Busy, first: Candidate
) -> None:
    await first.step()
    kubernetes.go_away()
    await first.election.let_go()
    assert not first.admits


async def test_whoever_finds_another_one_in_its_place_admits_no_more(
    kubernetes: Busy, clock: Clock, first: Candidate
) -> None:
    await first.step()
    kubernetes.put("leases", names.ADMISSION_LEASE, spec={"holderIdentity": "by hand"})
    await let_pass(clock, 4, first)
    assert not first.admits


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(0, id="when-it-is-made"),
        pytest.param(1, id="when-it-was-let-go"),
    ],
)
async def test_who_reaches_for_it_second_does_not_get_it(
    kubernetes: Busy, clock: Clock, first: Candidate, second: Candidate, steps: int
) -> None:
    for _ in range(steps):
        await first.step()
        await first.election.let_go()

    def forestall(asked: str) -> None:
        if asked == "GET leases":
            kubernetes.put("leases", names.ADMISSION_LEASE, spec={"holderIdentity": "third"})

    kubernetes.answered = forestall
    await let_pass(clock, 1, second)
    assert (second.admits, holder(kubernetes)) == (False, "third")


# --- what an operator does by it ---


def operators(kubernetes: MemoryKubernetes) -> tuple[Operator, Operator]:
    """Return two operators of one cluster, of which the first one admits."""
    both = Operator(kubernetes=kubernetes), Operator(kubernetes=kubernetes)
    both[1].admission.give_up()
    return both


def _key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


def phase(operator: Operator, name: str) -> v1alpha1.Phase:
    return operator.status(name).phase


@pytest.fixture
def waiting(kubernetes: Busy) -> tuple[str, str]:
    """Two tasks for one place."""
    kubernetes.add(a_queue(maxRunning=1))
    for name in ("one", "two"):
        kubernetes.add(a_task(name, uid=f"uid-of-{name}", container={"image": "x"}))
    return "one", "two"


async def test_who_does_not_hold_the_lease_does_all_but_claim(
    kubernetes: Busy, waiting: tuple[str, str]
) -> None:
    one, _ = waiting
    holder, other = operators(kubernetes)
    await other.hear()
    await other.look(one)
    assert phase(other, one) is v1alpha1.Phase.QUEUED
    await holder.hear()
    assert await holder.reconciler.reconcile(_key(one)) == 0.0
    assert phase(holder, one) is v1alpha1.Phase.STARTING
    await other.hear()
    assert await other.reconciler.reconcile(_key(one)) == 10.0, "the Job is left to the claimer"
    assert not kubernetes.created_jobs
    kubernetes.now += datetime.timedelta(seconds=10)
    await other.look(one)
    assert len(kubernetes.created_jobs) == 1
    await holder.hear()
    await holder.look(one)
    assert len(kubernetes.created_jobs) == 1


async def test_who_loses_the_lease_while_it_reads_the_task_does_not_claim_it(
    kubernetes: Busy, waiting: tuple[str, str]
) -> None:
    one, _ = waiting
    holder, _ = operators(kubernetes)
    await holder.hear()

    def lose_it(asked: str) -> None:
        if asked == "GET longtasks":
            holder.admission.give_up()

    kubernetes.answered = lose_it
    await holder.look(one)
    assert phase(holder, one) is v1alpha1.Phase.QUEUED


async def test_what_the_holder_before_has_claimed_is_counted(
    kubernetes: Busy, waiting: tuple[str, str]
) -> None:
    one, two = waiting
    before, after = operators(kubernetes)
    for operator in (before, after):
        await operator.hear()
    await before.look(one)
    before.admission.give_up()
    # The one after has not heard of that yet, and to its mind both wait.
    after.admission.hold(until=1.0)
    for name in waiting:
        await after.look(name)
    assert phase(after, two) is v1alpha1.Phase.QUEUED
    await after.resync.once()
    for name in waiting:
        await after.look(name)
    assert (phase(after, one), phase(after, two)) == (
        v1alpha1.Phase.STARTING,
        v1alpha1.Phase.QUEUED,
    )


async def test_who_gets_the_lease_lists_at_once_and_wakes_who_may_start(
    kubernetes: Busy, waiting: tuple[str, str]
) -> None:
    _, other = operators(kubernetes)
    added = asyncio.Queue[str]()
    lister = resync.Resync(
        other.mirror,
        Connection(kubernetes, user_agent="test"),
        NAMESPACE,
        state=other.health,
        hearing=other.hearing,
        tasks=other.tasks,
        schedules=other.schedules,
        watched_pods=other.pods,
        look_at_schedules=lambda: None,
        admission=other.admission,
        counted=other.metrics,
        add=lambda key: added.put_nowait(key.name),
        clock=lambda: kubernetes.now,
        ahead=other.ahead,
    )
    running = asyncio.create_task(lister.run(3600))
    try:
        async with asyncio.timeout(60):
            assert {await added.get() for _ in waiting} == set(waiting)
            for name in waiting:
                await other.look(name)
            await other.hear()
            other.admission.hold(until=1.0)
            assert await added.get() == "one"
        assert other.admission.may_admit()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

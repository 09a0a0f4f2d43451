"""What no watch brought is found by listing, and a deaf watch is found out."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube import errors, kinds, listing
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import route_of
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
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
from longtask_operator import resync
from longtask_operator.rules import pods
from longtask_operator.testing import REPORT, Operator, a_job, a_pod

QUEUE = ObjectKey(NAMESPACE, "default")
SLEEP = ObjectKey(NAMESPACE, "sleep")
PENDING = v1alpha1.CallbackStatus(
    id="msg_1", event=v1alpha1.TaskEvent.SUCCEEDED, state=v1alpha1.CallbackState.PENDING
)


class BusyKubernetes(MemoryKubernetes):
    """Things go on while everything is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: dict[str, Callable[[], None]] = {}  #: right after the list of that kind
        self.failures: list[Exception] = []  #: instead of an answer

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        if self.failures:
            raise self.failures.pop(0)
        async with super().open(request) as response:
            self.meanwhile.pop(route_of(request.path).plural, lambda: None)()
            yield response


@pytest.fixture
def kubernetes() -> BusyKubernetes:
    return BusyKubernetes()


@pytest.fixture
def operator(kubernetes: BusyKubernetes) -> Operator:
    kubernetes.add(a_queue())
    return Operator(kubernetes=kubernetes)


# --- who is looked at ---


async def queued(operator: Operator) -> list[str]:
    """Resync; return the names of the tasks that were queued."""
    operator.woken.clear()
    await operator.resync.once()
    return sorted(operator.woken)


async def test_the_first_resync_queues_what_there_is(operator: Operator) -> None:
    operator.kubernetes.add(a_task())
    operator.kubernetes.add(with_status(a_task("over", uid="2"), conditions=[FINISHED]))
    assert operator.health.why_not_ready() is not None
    assert await queued(operator) == ["report"], "not what is over"
    assert operator.health.why_not_ready() is None


def recorded(queue: str = "default", waiting: str | None = None) -> v1alpha1.LongTask:
    """Return a task whose status says all that there is to say of its waiting."""
    status = {"phase": v1alpha1.Phase.QUEUED, "queue": queue, "waiting": waiting}
    return with_status(
        a_task(container={"image": "x"}, queue=queue), observed_generation=1, **status
    )


def claimed() -> v1alpha1.LongTask:
    return with_status(a_task(), queue="default", attempts=[an_attempt()])


def finished(**status: Any) -> v1alpha1.LongTask:
    return with_status(a_task(), conditions=[FINISHED], **status)


FULL: dict[str, Any] = {"maxRunning": 0}
NO_SUCH_QUEUE = "there is no LongTaskQueue named mine"


@pytest.mark.parametrize(
    ("task", "limits", "is_due"),
    [
        pytest.param(claimed(), FULL, True, id="one-that-holds-a-place"),
        pytest.param(a_task(), FULL, True, id="one-that-is-not-recorded-yet"),
        pytest.param(recorded(), FULL, False, id="not-one-that-waits-and-is-recorded"),
        pytest.param(recorded(), {"maxRunning": 1}, True, id="one-that-may-start"),
        pytest.param(recorded(), {"paused": True}, False, id="not-in-a-paused-queue"),
        pytest.param(
            recorded("mine", NO_SUCH_QUEUE), FULL, False, id="not-one-that-was-told-of-no-queue"
        ),
        pytest.param(recorded("mine"), FULL, True, id="one-that-was-not-told-of-no-queue"),
        pytest.param(
            recorded("default", NO_SUCH_QUEUE), FULL, True, id="one-whose-queue-is-there-by-now"
        ),
        pytest.param(
            with_meta(recorded(), generation=2), FULL, True, id="one-whose-spec-was-changed"
        ),
        pytest.param(
            with_status(a_task(container={"image": "x"}, cancel=True), observed_generation=1),
            FULL,
            True,
            id="one-that-is-to-be-cancelled",
        ),
        pytest.param(finished(), FULL, False, id="not-one-that-is-over"),
        pytest.param(
            with_meta(a_task(), deletion_timestamp=NOW), FULL, False, id="not-one-that-is-going"
        ),
        pytest.param(
            with_meta(claimed(), deletion_timestamp=NOW),
            FULL,
            True,
            id="one-that-is-going-and-holds-a-place",
        ),
        pytest.param(finished(callback=PENDING), FULL, True, id="one-that-is-not-called-back"),
    ],
)
async def test_who_is_looked_at(
    operator: Operator, task: v1alpha1.LongTask, limits: dict[str, Any], is_due: bool
) -> None:
    operator.kubernetes.add(a_queue(**limits))
    operator.kubernetes.add(task)
    for _ in range(2):
        assert await queued(operator) == (["report"] if is_due else [])


@pytest.mark.parametrize(
    ("spec", "is_due"),
    [
        pytest.param({}, True, id="until-its-job-is-released"),
        pytest.param({"ttlSecondsAfterFinished": 600}, False, id="not-after-that"),
    ],
)
async def test_a_finished_task_is_looked_at(
    operator: Operator, spec: dict[str, Any], is_due: bool
) -> None:
    operator.kubernetes.add(finished(attempts=[an_attempt()]))
    labels = {names.TASK_LABEL: "report"}
    operator.kubernetes.put("jobs", an_attempt().job_name, metadata={"labels": labels}, spec=spec)
    await queued(operator)
    assert await queued(operator) == (["report"] if is_due else [])


async def test_a_change_that_no_watch_brought_is_looked_at(operator: Operator) -> None:
    operator.kubernetes.add(a_queue(**FULL))
    operator.kubernetes.add(recorded())
    await queued(operator)
    operator.kubernetes.cancel("report")
    assert await queued(operator) == ["report"]


async def test_a_deleted_task_is_forgotten(operator: Operator) -> None:
    operator.kubernetes.add(a_task())
    await queued(operator)
    operator.kubernetes.remove_task("report")
    assert await queued(operator) == []
    assert len(operator.mirror.tasks) == 0


# --- what the lists bring ---


async def one_of_each(operator: Operator) -> None:
    """Let there be a queue, a type, and a task with its Job and its pod."""
    operator.kubernetes.add(a_type("sleep"))
    await operator.submit(a_task())
    await operator.look()
    operator.kubernetes.make_pod(operator.job)
    operator.restart()


def known(operator: Operator) -> list[bool]:
    """Tell which of those the operator knows: queue, type, task, Job, pod."""
    seen = operator.mirror
    task = seen.tasks.get(REPORT)
    attempts = (task and task.status.attempts) or [an_attempt()]
    job = seen.job(REPORT.sibling(attempts[-1].job_name))
    pod = seen.pod_of(with_status(a_task(), attempts=attempts))
    first = (seen.queues.get(QUEUE), seen.types.get(SLEEP), task, job, pod)
    return [one is not None for one in first]


async def test_lists_bring_everything(operator: Operator) -> None:
    await one_of_each(operator)
    for _ in range(2):
        await operator.resync.absorb()
        assert known(operator) == [True] * 5


async def test_what_is_in_no_list_is_gone(operator: Operator) -> None:
    await one_of_each(operator)
    await operator.hear()
    operator.kubernetes.remove_task("report")
    operator.kubernetes.remove(names.LONGTASKQUEUES, "default")
    operator.kubernetes.remove(names.LONGTASKTYPES, "sleep")
    await operator.hear()
    assert known(operator) == [False] * 5


async def test_what_comes_while_the_lists_are_made_stays(
    operator: Operator, kubernetes: BusyKubernetes
) -> None:
    kubernetes.add(a_queue(maxRunning=1))
    await operator.hear()
    seen = operator.mirror

    def queue_is_paused() -> None:
        kubernetes.add(a_queue(paused=True))
        raw = kubernetes.stored(names.LONGTASKQUEUES, "default")
        seen.queues.put(kinds.QUEUES.read(raw))

    def type_is_made() -> None:
        kubernetes.add(a_type("sleep"))
        seen.types.put(kinds.TYPES.read(kubernetes.stored(names.LONGTASKTYPES, "sleep")))

    def task_is_made() -> None:
        kubernetes.add(claimed())
        seen.tasks.put(kinds.TASKS.read(kubernetes.stored(names.LONGTASKS, "report")))

    def pod_is_made() -> None:
        seen.put_pod(a_pod(version=kubernetes.version + 1))

    def job_is_made() -> None:
        seen.put_job(a_job(checked_at=kubernetes.now + timedelta(seconds=1)))

    kubernetes.meanwhile = {
        names.LONGTASKQUEUES: queue_is_paused,
        names.LONGTASKTYPES: type_is_made,
        names.LONGTASKS: task_is_made,
        "pods": pod_is_made,
        "jobs": job_is_made,
    }
    await operator.hear()
    assert known(operator) == [True] * 5
    queue = seen.queues.get(QUEUE)
    assert queue is not None
    assert queue.spec.paused


async def test_one_unreadable_object_does_not_stop_the_rest(operator: Operator) -> None:
    operator.kubernetes.put(names.LONGTASKS, "bad", spec={"type": 7})
    operator.kubernetes.put(names.LONGTASKQUEUES, "bad", spec={"maxRunning": "many"})
    operator.kubernetes.add(a_queue())
    operator.kubernetes.add(a_task())
    assert await queued(operator) == ["report"]
    assert list(operator.mirror.queues.keys()) == [QUEUE]


# --- a page at a time ---

MANY = 210  #: pages of 10, 100 and 100


class Items(list[Any]):
    """The objects of a page, of which can be told whether they are still there."""


class Page:
    """An answer with a page of a list, made anew as JSON is."""

    def __init__(self, answer: Response, kubernetes: "PagedKubernetes") -> None:
        self.status, self.headers, self.size = answer.status, answer.headers, 0
        self._answer = answer
        self._kubernetes = kubernetes

    async def json(self) -> Any:
        raw = await self._answer.json()
        return {**raw, "items": self._kubernetes.count(Items(raw["items"]))}


class PagedKubernetes(MemoryKubernetes):
    """Knows how many pages of its lists somebody has at once."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[weakref.ref[Items]] = []
        self.most_at_once = 0

    def count(self, page: Items) -> Items:
        self._given.append(weakref.ref(page))
        there = sum(given() is not None for given in self._given)
        self.most_at_once = max(self.most_at_once, there)
        return page

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        async with super().open(request) as answer:
            yield Page(answer, self)  # type: ignore[misc] - it is only read as JSON

    def add_many(self) -> None:
        """Let there be as many tasks, pods and Jobs."""
        for number in range(MANY):
            labels = {names.TASK_LABEL: f"t{number}"}
            self.add(a_task(f"t{number}", uid=f"t{number}"))
            for plural in ("pods", "jobs"):
                self.put(plural, f"t{number}", metadata={"labels": labels})


async def test_one_page_is_there_at_a_time() -> None:
    kubernetes = PagedKubernetes()
    operator = Operator(kubernetes=kubernetes)
    kubernetes.add_many()
    for _ in range(2):
        await operator.resync.absorb()
        assert kubernetes.most_at_once == 1
    assert kubernetes.calls.count("list pods") == 2 * 3
    seen = operator.mirror
    assert len(seen.tasks) == MANY
    keys = [ObjectKey(NAMESPACE, f"t{number}") for number in range(MANY)]
    assert all(seen.job(key) for key in keys)
    assert all(seen._pods[key] for key in keys)


async def test_everybody_else_has_turns_while_what_is_listed_is_read() -> None:
    kubernetes = PagedKubernetes()
    operator = Operator(kubernetes=kubernetes)
    kubernetes.add_many()
    await operator.resync.absorb()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(others())
    await operator.resync.absorb()
    running.cancel()
    # None of it waits for anything: of tasks, pods and Jobs two pages are longer than a slice.
    assert turns >= 3 * 200 // listing.SLICE - 1


async def test_what_a_list_brought_that_was_begun_anew_does_not_count(
    operator: Operator, kubernetes: BusyKubernetes
) -> None:
    def forgotten() -> None:
        kubernetes.remove("pods", "t0")
        kubernetes.compact()

    labels = {names.TASK_LABEL: "report"}
    for number in range(15):
        kubernetes.put("pods", f"t{number}", metadata={"labels": labels})
    kubernetes.meanwhile["pods"] = forgotten
    await operator.resync.absorb()
    found = {pod.name for pod in operator.mirror._pods[REPORT].values()}
    assert found == {f"t{number}" for number in range(1, 15)}


# --- whether the watches hear ---

HEARD = dict[str, int]


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(
            [({"a": 1}, {"a": 1}, 5, False), ({}, {"a": 1}, 6, False), ({}, {"a": 1}, 7, False)],
            id="a-watch-that-hears",
        ),
        pytest.param([({}, {"a": 1}, 5, False), ({"a": 1}, {"a": 1}, 6, False)], id="a-late-watch"),
        pytest.param(
            [({}, {"a": 1}, 5, False), ({}, {"a": 1}, 6, True), ({}, {"a": 1}, 7, True)],
            id="what-two-resyncs-found-and-no-watch-brought",
        ),
        pytest.param(
            [({}, {"a": 1}, 5, False), ({}, {"a": 1}, 6, True), ({"a": 1}, {"a": 1}, 7, False)],
            id="a-watch-that-hears-again",
        ),
        pytest.param(
            [({"a": 1}, {"a": 2}, 5, False), ({}, {"a": 2}, 6, True)],
            id="an-older-version-heard-is-not-enough",
        ),
        pytest.param(
            [({}, {"a": 1}, 5, False), ({}, {"a": 6}, 7, True)],
            id="one-that-goes-on-unheard",
        ),
        pytest.param(
            [({}, {"a": 1}, 5, False), ({}, {}, 6, False)], id="what-was-missed-and-is-gone"
        ),
        pytest.param(
            [({"a": 1}, {}, 5, False), ({}, {"a": 1}, 6, False), ({}, {"a": 1}, 7, True)],
            id="what-is-gone-is-not-remembered",
        ),
        pytest.param(
            [({"a": 9}, {}, 5, False), ({}, {"a": 9}, 10, False), ({}, {"a": 9}, 11, False)],
            id="what-was-brought-while-the-lists-were-made",
        ),
    ],
)
def test_is_deaf(rounds: list[tuple[HEARD, HEARD, int, bool]]) -> None:
    """Each round: what a watch brought, what the lists show then, how old they are, the answer."""
    hearing = resync.Hearing()
    for heard, present, oldest, is_deaf in rounds:
        for uid, version in heard.items():
            hearing.heard(uid, version)
        assert hearing.is_deaf(present, oldest) == is_deaf


def watches_bring(operator: Operator, plural: str) -> None:
    for raw in operator.kubernetes.objects(plural).values():
        operator.hearing.heard(raw["metadata"]["uid"], kinds.version_of(raw))


async def deaf_since(operator: Operator) -> float | None:
    """Resync; return since when the watches are deaf."""
    await operator.resync.once()
    return operator.health.deaf_since


@pytest.mark.parametrize("missed", [names.LONGTASKS, "pods"])
async def test_a_deaf_watch_is_found_out_and_well_again(operator: Operator, missed: str) -> None:
    await one_of_each(operator)
    await operator.resync.once()
    for plural in (names.LONGTASKS, "pods"):
        watches_bring(operator, plural)
    (pod,) = operator.kubernetes.objects("pods")
    operator.kubernetes.start_pod(pod.name)
    operator.kubernetes.cancel("report")
    heard = ({names.LONGTASKS, "pods"} - {missed}).pop()
    watches_bring(operator, heard)
    assert await deaf_since(operator) is None
    since = await deaf_since(operator)
    assert since is not None
    assert await deaf_since(operator) == since, "since it was first seen"
    watches_bring(operator, missed)
    assert await deaf_since(operator) is None


@pytest.mark.parametrize("plural", [names.LONGTASKS, "pods"])
async def test_what_a_watch_brings_while_lists_are_made_counts_as_heard(
    operator: Operator, kubernetes: BusyKubernetes, plural: str
) -> None:
    def made() -> None:
        if plural == "pods":
            kubernetes.make_pod(operator.job)
            raw = next(iter(kubernetes.objects("pods").values()))
            operator.mirror.put_pod(pods.Pod.parse(raw))
        else:
            kubernetes.add(a_task("late", uid="late"))
            raw = kubernetes.stored(names.LONGTASKS, "late")
            operator.mirror.tasks.put(kinds.TASKS.read(raw))
        watches_bring(operator, plural)

    await operator.submit(a_task())
    await operator.look()
    watches_bring(operator, names.LONGTASKS)
    kubernetes.meanwhile[plural] = made
    for _ in range(4):  # nothing changes any more
        assert await deaf_since(operator) is None


# --- for ever ---


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(errors.Unavailable("away"), id="an-api-server-that-is-away"),
        pytest.param(KeyError("a mistake"), id="a-mistake-of-ours"),
    ],
)
async def test_a_resync_that_fails_is_tried_again(
    operator: Operator, kubernetes: BusyKubernetes, failure: Exception
) -> None:
    kubernetes.failures = [failure] * 2
    kubernetes.add(a_task())
    failed = operator.metrics.resyncs.labels("failed")
    before = failed._value.get()
    listed = asyncio.Event()
    lister = resync.Resync(
        operator.mirror,
        Connection(kubernetes, user_agent="test"),
        NAMESPACE,
        state=operator.health,
        hearing=operator.hearing,
        tasks=operator.tasks,
        schedules=operator.schedules,
        watched_pods=operator.pods,
        admission=operator.admission,
        counted=operator.metrics,
        add=lambda _key: listed.set(),
        look_at_schedules=lambda: None,
        clock=lambda: kubernetes.now,
        ahead=operator.ahead,
    )
    running = asyncio.create_task(lister.run(0.001))
    await asyncio.wait_for(listed.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert failed._value.get() - before == 2
    assert operator.health.why_not_ready() is None

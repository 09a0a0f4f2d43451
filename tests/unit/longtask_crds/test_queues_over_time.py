"""Queues as time goes by: nobody starves, nobody is set back, limits are kept and made use of."""

import bisect
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing import Entry, Index, Standing
from longtask_crds.testing import (
    FINISHED,
    NAMESPACE,
    NOW,
    a_task,
    an_attempt,
    with_meta,
    with_status,
)

T = TypeVar("T", str, ObjectKey)

QUEUE = ObjectKey(NAMESPACE, "default")
QUEUES = [QUEUE, QUEUE.sibling("lane")]
TYPE = QUEUE.sibling("t")
MINUTE = 60
HUNDRED_MINUTES = 100 * MINUTE
NTH = st.integers(0, 99)

# --- nobody starves ---

PATIENT = QUEUE.sibling("patient")


def waits(*, since: int, priority: int) -> Entry:
    return Entry(Standing.WAITING, since, None, None, priority, "")


HOLDS = Entry(Standing.HOLDING, 0, None, None, None, "")


def seconds_waited(came: Iterable[int], freed: Iterable[int]) -> int:
    """Return for how long a task of priority 0 waits in a full queue that it joins at 0.

    Args:
        came: When tasks of priority 100 come, in order; at 0 stand those that wait already.
        freed: When one that runs ends, in order, and the next one takes its place.
    """
    index = Index()
    index.set_queue(QUEUE, v1alpha1.LongTaskQueueSpec(max_running=1))
    holder = QUEUE.sibling("first")
    index.update(holder, HOLDS)
    index.update(PATIENT, waits(since=0, priority=0))
    arrivals = ((at, QUEUE.sibling(f"hurried-{number}")) for number, at in enumerate(came))
    at, key = next(arrivals)
    for moment in freed:
        while at <= moment:
            index.update(key, waits(since=at, priority=100))
            at, key = next(arrivals)
        index.update(holder, None)
        (holder,) = index.startable(QUEUE)
        if holder == PATIENT:
            return moment
        index.update(holder, HOLDS)
    raise AssertionError("no task ends any more")


@given(
    slots=st.lists(st.integers(5 * MINUTE, 150 * MINUTE), min_size=1, max_size=5),
    at_once=st.integers(1, 3),
    data=st.data(),
)
def test_nobody_starves_while_no_more_come_than_start(
    slots: list[int], at_once: int, data: st.DataObject
) -> None:
    """Whenever those of the hundred minutes come, and however many without end after them."""
    ends = list(itertools.accumulate(itertools.islice(itertools.cycle(slots), 50)))
    starts = bisect.bisect_right(ends, HUNDRED_MINUTES)
    moments = st.integers(0, HUNDRED_MINUTES - 1)
    first = sorted(data.draw(st.lists(moments, min_size=starts, max_size=starts)))
    endless = (at for at in itertools.count(HUNDRED_MINUTES, 5 * MINUTE) for _ in range(at_once))
    assert seconds_waited(itertools.chain(first, endless), ends) <= ends[starts]


@pytest.mark.parametrize(
    ("a_slot", "in_line", "minutes"),
    [
        pytest.param(0, 50, 50, id="behind-a-line-and-nobody-comes"),
        pytest.param(1, 0, 100, id="as-many-come-as-start"),
        pytest.param(1, 50, 150, id="as-many-come-as-start-and-there-was-a-line"),
        pytest.param(2, 0, 200, id="twice-as-many-come-as-start"),
        pytest.param(3, 0, 300, id="three-times-as-many-come-as-start"),
        pytest.param(5, 20, 520, id="five-times-as-many-and-there-was-a-line"),
    ],
)
def test_under_overload_a_wait_grows_with_it_and_no_more(
    a_slot: int, in_line: int, minutes: int
) -> None:
    """With a start each minute, and so many of priority 100 that come before each of them."""
    each = (minute * MINUTE for minute in itertools.count() for _ in range(a_slot))
    came = itertools.chain([0] * in_line, each if a_slot else itertools.repeat(10**9))
    assert seconds_waited(came, itertools.count(MINUTE, MINUTE)) == (minutes + 1) * MINUTE


# --- what happens to a queue ---


def submitted(
    name: str, at: datetime, *, priority: int | None, owner: str, later: int = 0
) -> v1alpha1.LongTask:
    wish: dict[str, object] = {} if priority is None else {"priority": priority}
    if later:
        wish["notBefore"] = at + timedelta(minutes=later)
    labels = {names.OWNER_LABEL: owner}
    return with_meta(a_task(name, uid=name, type="t", **wish), creation_timestamp=at, labels=labels)


def with_spec(task: v1alpha1.LongTask, **spec: object) -> v1alpha1.LongTask:
    return task.model_copy(update={"spec": task.spec.model_copy(update=spec)})


def claimed(task: v1alpha1.LongTask, queue: ObjectKey) -> v1alpha1.LongTask:
    number = len(task.status.attempts or ()) + 1
    attempts = [*(task.status.attempts or ()), an_attempt(number)]
    return with_status(task, attempts=attempts, queue=queue.name, retry_at=None)


def to_be_tried_again(task: v1alpha1.LongTask, at: datetime) -> v1alpha1.LongTask:
    *before, last = task.status.attempts or ()
    ended = last.model_copy(update={"finished_at": NOW})
    return with_status(task, attempts=[*before, ended], retry_at=at)


def over(task: v1alpha1.LongTask) -> v1alpha1.LongTask:
    return with_status(task, conditions=[FINISHED])


PRIORITIES = st.sampled_from([None, 0, 49, 50, 51, 100])
OWNERS = st.sampled_from(["ann", "bob", "eve"])
LATER = st.sampled_from([0, 0, 0, 1, 5])
LANES = st.sampled_from([None, None, "lane"])
Wish = tuple[int | None, str, int, str | None]
WISHES = st.tuples(PRIORITIES, OWNERS, LATER, LANES)
LIMITS = st.builds(
    v1alpha1.LongTaskQueueSpec,
    max_running=st.sampled_from([1, 2, 3, 0, None]),
    max_running_per_owner=st.sampled_from([None, 1, 2]),
    paused=st.sampled_from([None] * 5 + [True]),
)


class Positions(RuleBasedStateMachine):
    """Who waits stands at 1 to n, and is set back by nobody but who comes or has other points.

    The index is told what an API is told: resources as they are stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, v1alpha1.LongTask] = {}
        self.waiting: set[str] = set()
        self.later: dict[str, datetime] = {}
        self.running: set[str] = set()
        self.now = NOW
        self.points = 50
        self.limits = v1alpha1.LongTaskQueueSpec()
        self.index = self.built_from([])

    def built_from(self, tasks: Iterable[str]) -> Index:
        index = Index()
        index.due(int(self.now.timestamp()))
        index.set_queue(QUEUE, self.limits)
        index.set_type(TYPE, v1alpha1.TypeDefaults(priority=self.points))
        for name in tasks:
            index.update(QUEUE.sibling(name), Entry.of(self.tasks[name]))
        return index

    def put(self, task: v1alpha1.LongTask) -> None:
        self.tasks[task.metadata.name] = task
        self.index.update(QUEUE.sibling(task.metadata.name), Entry.of(task))

    def positions(self) -> dict[str, int]:
        places = {name: self.index.place(QUEUE.sibling(name)) for name in self.tasks}
        return {name: place.position for name, place in places.items() if place is not None}

    @contextlib.contextmanager
    def others_keep_their_order(self, *others_than: str) -> Iterator[None]:
        before = self.positions()
        yield
        after = self.positions()
        stayed = (before.keys() & after.keys()) - set(others_than)
        assert sorted(stayed, key=before.__getitem__) == sorted(stayed, key=after.__getitem__)

    @contextlib.contextmanager
    def nobody_is_set_back(self) -> Iterator[None]:
        before = self.positions()
        yield
        after = self.positions()
        assert all(after[name] <= before[name] for name in before.keys() & after.keys())

    # What sets others back.

    @rule(priority=PRIORITIES, owner=OWNERS, later=LATER)
    def one_comes(self, priority: int | None, owner: str, later: int) -> None:
        name = f"t{len(self.tasks)}"
        task = submitted(name, self.now, priority=priority, owner=owner, later=later)
        with self.others_keep_their_order():
            self.put(task)
        self.joins(name, self.now + timedelta(minutes=later))

    def joins(self, name: str, at: datetime) -> None:
        if at > self.now:
            self.later[name] = at
        else:
            self.waiting.add(name)

    @precondition(lambda self: self.running)
    @rule(nth=NTH, later=LATER)
    def one_is_to_be_tried_again(self, nth: int, later: int) -> None:
        name = one_of(self.running, nth)
        self.running.remove(name)
        at = self.now + timedelta(minutes=later)
        with self.others_keep_their_order():
            self.put(to_be_tried_again(self.tasks[name], at))
        self.joins(name, at)

    @rule(seconds=st.sampled_from([1, 59, 60, 300]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        joined = {name for name, at in self.later.items() if at <= self.now}
        holds = self.others_keep_their_order() if joined else self.nobody_is_set_back()
        with holds:
            self.index.due(int(self.now.timestamp()))
        self.waiting |= joined
        for name in joined:
            del self.later[name]

    @precondition(lambda self: self.waiting)
    @rule(nth=NTH, priority=st.integers(0, 100))
    def one_gets_other_points(self, nth: int, priority: int) -> None:
        name = one_of(self.waiting, nth)
        with self.others_keep_their_order(name):
            self.put(with_spec(self.tasks[name], priority=priority))

    @rule(points=st.sampled_from([0, 50, 100]))
    def the_type_gives_other_points(self, points: int) -> None:
        self.points = points
        theirs = (n for n, task in self.tasks.items() if task.spec.priority is None)
        with self.others_keep_their_order(*theirs):
            self.index.set_type(TYPE, v1alpha1.TypeDefaults(priority=points))

    # What sets nobody back: not even another limit, which moves none of those that wait.

    @precondition(lambda self: self.waiting)
    @rule(nth=NTH)
    def one_starts(self, nth: int) -> None:
        name = one_of(self.waiting, nth)
        with self.nobody_is_set_back():
            self.put(claimed(self.tasks[name], QUEUE))
        self.waiting.remove(name)
        self.running.add(name)

    @precondition(lambda self: self.running)
    @rule(nth=NTH)
    def one_ends(self, nth: int) -> None:
        name = one_of(self.running, nth)
        with self.nobody_is_set_back():
            self.put(over(self.tasks[name]))
        self.running.remove(name)

    @precondition(lambda self: self.waiting)
    @rule(nth=NTH, change=st.sampled_from(["cancelled", "being deleted", "gone"]))
    def one_waits_no_longer(self, nth: int, change: str) -> None:
        name = one_of(self.waiting, nth)
        with self.nobody_is_set_back():
            if change == "cancelled":
                self.put(with_spec(self.tasks[name], cancel=True))
            elif change == "being deleted":
                self.put(with_meta(self.tasks[name], deletion_timestamp=self.now))
            else:
                self.index.update(QUEUE.sibling(name), None)
                self.tasks[name] = over(self.tasks[name])
        self.waiting.remove(name)

    @precondition(lambda self: self.running)
    @rule(nth=NTH)
    def one_that_runs_is_cancelled(self, nth: int) -> None:
        with self.nobody_is_set_back():
            self.put(with_spec(self.tasks[one_of(self.running, nth)], cancel=True))

    @rule(limits=LIMITS)
    def limits_change(self, limits: v1alpha1.LongTaskQueueSpec) -> None:
        self.limits = limits
        with self.nobody_is_set_back():
            self.index.set_queue(QUEUE, limits)

    @rule(order=st.randoms(use_true_random=False))
    def it_is_built_anew(self, order: Random) -> None:
        before, known = self.positions(), list(self.tasks)
        order.shuffle(known)
        self.index = self.built_from(known)
        assert self.positions() == before

    @invariant()
    def they_are_one_to_n_of_those_who_wait(self) -> None:
        positions = self.positions()
        assert positions.keys() == self.waiting
        assert sorted(positions.values()) == list(range(1, len(self.waiting) + 1))


def one_of(found: Iterable[T], nth: int) -> T:
    known = sorted(found)
    return known[nth % len(known)]


TestPositions = Positions.TestCase
TestPositions.settings = settings(max_examples=100, stateful_step_count=30)


class Admission(RuleBasedStateMachine):
    """No limit is exceeded and no place left free, by one who claims what the index says.

    It looks at those alone whom it is told of, has several claims under way, of which some fail,
    and dies with them: whether they were written is known to the next one by what is stored.
    """

    @initialize(limits=LIMITS, wishes=st.lists(WISHES, min_size=4, max_size=8))
    def begin(self, limits: v1alpha1.LongTaskQueueSpec, wishes: list[Wish]) -> None:
        self.tasks: dict[ObjectKey, v1alpha1.LongTask] = {}
        self.queues: dict[ObjectKey, v1alpha1.LongTaskQueueSpec | None] = {
            queue: limits for queue in QUEUES
        }
        self.defaults = v1alpha1.TypeDefaults()
        self.now = NOW
        self.begin_anew(list)
        self.some_come(wishes)

    def begin_anew(self, shuffled: Callable[[Iterable[ObjectKey]], list[ObjectKey]]) -> None:
        """Start an operator that knows what is stored."""
        self.index = Index()
        self.under_way: set[ObjectKey] = set()
        self.failing: set[ObjectKey] = set()
        self.index.due(int(self.now.timestamp()))
        for key in shuffled([TYPE, *QUEUES, *self.tasks]):
            if key == TYPE:
                self.index.set_type(TYPE, self.defaults)
            elif key in self.queues:
                self.index.set_queue(key, self.queues[key])
            else:
                self.index.update(key, Entry.of(self.tasks[key]))
        self.told = set(self.index.all_startable())

    # What others do.

    def put(self, key: ObjectKey, task: v1alpha1.LongTask) -> None:
        self.tasks[key] = task
        self.told.add(key)
        self.tell(self.index.update(key, Entry.of(task)))

    def tell(self, queues: Iterable[ObjectKey]) -> None:
        for queue in queues:
            self.told.update(self.index.startable(queue))

    @rule(wishes=st.lists(WISHES, min_size=1, max_size=3))
    def some_come(self, wishes: list[Wish]) -> None:
        for priority, owner, later, queue in wishes:
            key = QUEUE.sibling(f"t{len(self.tasks):03}")
            task = submitted(key.name, self.now, priority=priority, owner=owner, later=later)
            self.put(key, with_spec(task, queue=queue))

    @precondition(lambda self: self.running())
    @rule(nth=NTH, again=st.sampled_from([None, 0, 1]))
    def one_ends(self, nth: int, again: int | None) -> None:
        key = one_of(self.running(), nth)
        task = self.tasks[key]
        at = None if again is None else self.now + timedelta(minutes=again)
        self.put(key, over(task) if at is None else to_be_tried_again(task, at))

    @precondition(lambda self: self.waiting())
    @rule(nth=NTH, change=st.sampled_from([{"cancel": True}, {"priority": 0}, {"priority": 100}]))
    def one_that_waits_is_changed(self, nth: int, change: dict[str, object]) -> None:
        key = one_of(self.waiting(), nth)
        self.put(key, with_spec(self.tasks[key], **change))

    @rule(queue=st.sampled_from(QUEUES), limits=st.one_of(LIMITS, LIMITS, LIMITS, st.none()))
    def limits_change(self, queue: ObjectKey, limits: v1alpha1.LongTaskQueueSpec | None) -> None:
        self.queues[queue] = limits
        if self.index.set_queue(queue, limits):
            self.tell([queue])

    @rule(queue=st.sampled_from([None, "lane"]), priority=st.sampled_from([None, 0, 100]))
    def the_type_changes(self, queue: str | None, priority: int | None) -> None:
        self.defaults = v1alpha1.TypeDefaults(queue=queue, priority=priority)
        moved = self.index.set_type(TYPE, self.defaults)
        self.told |= moved.keys()
        self.tell(set(moved.values()))

    @rule(seconds=st.sampled_from([1, 60, 300]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.tell(self.index.due(int(self.now.timestamp())))

    # What the operator does.

    @precondition(lambda self: self.all_next())
    @rule(nths=st.lists(NTH, min_size=1, max_size=4))
    def claims_begin(self, nths: list[int]) -> None:
        for nth in nths:
            if able := self.all_next():
                self.begin_claim(one_of(able, nth))

    def begin_claim(self, key: ObjectKey) -> None:
        self.told.remove(key)
        self.failing.discard(key)
        self.index.release(key)
        if self.index.may_start(key):
            assert key in self.next_ones(self.queue_of(key)), "it is somebody else's turn"
            self.index.reserve(key)
            self.under_way.add(key)

    @precondition(lambda self: self.under_way)
    @rule(nth=NTH, fails=st.booleans())
    def a_claim_ends(self, nth: int, fails: bool) -> None:
        key = one_of(self.under_way, nth)
        if fails:
            self.under_way.remove(key)
            self.tell(self.index.release(key))
            if key in self.waiting():
                self.failing.add(key)
            self.tell(self.index.hold_back(key))
            return
        if self.index.may_start(key):
            self.write_claim(key)
            self.index.update(key, Entry.of(self.tasks[key]))
        self.under_way.remove(key)
        self.tell(self.index.release(key))

    def write_claim(self, key: ObjectKey) -> None:
        queue = self.queue_of(key)
        self.tasks[key] = claimed(self.tasks[key], queue)
        limits = self.queues[queue]
        assert limits is not None
        assert not limits.paused
        owners = self.owners(queue)
        assert limits.max_running is None or owners.total() <= limits.max_running
        share = limits.max_running_per_owner
        assert share is None or owners[owner_of(self.tasks[key])] <= share

    @rule(order=st.randoms(use_true_random=False))
    def it_dies_and_another_one_begins(self, order: Random) -> None:
        for key in sorted(self.under_way):
            if order.random() < 0.5 and self.index.may_start(key):
                self.write_claim(key)
        self.begin_anew(lambda keys: order.sample(keys, len(keys)))

    @precondition(lambda self: self.told | self.under_way | self.failing)
    @rule()
    def all_that_it_was_told_is_done(self) -> None:
        self.told |= self.failing
        while self.under_way or self.told:
            while self.told - self.under_way:
                self.begin_claim(min(self.told - self.under_way))
            if self.under_way:
                self.a_claim_ends(0, fails=False)
        assert self.all_next() == [], "there is a place, and one who may have it"

    @invariant()
    def whoever_may_start_was_told(self) -> None:
        assert set(self.all_next()) <= self.told

    # Who waits, who runs and who is next, from what is stored alone.

    def queue_of(self, key: ObjectKey) -> ObjectKey:
        task = self.tasks[key]
        held = task.status.queue if is_running(task) else None
        return key.sibling(held or task.spec.queue or self.defaults.queue or "default")

    def running(self) -> list[ObjectKey]:
        return [key for key, task in self.tasks.items() if is_running(task)]

    def waiting(self) -> list[ObjectKey]:
        return [key for key, task in self.tasks.items() if self.is_waiting(task)]

    def is_waiting(self, task: v1alpha1.LongTask) -> bool:
        since = task.status.retry_at if task.status.attempts else task.spec.not_before
        is_over = task.is_finished or task.spec.cancel or is_running(task)
        return not is_over and (since is None or since <= self.now)

    def owners(self, queue: ObjectKey) -> Counter[str]:
        """Count who has how many places in the queue."""
        return Counter(
            owner_of(self.tasks[key]) for key in self.running() if self.queue_of(key) == queue
        )

    def all_next(self) -> list[ObjectKey]:
        return [key for queue in QUEUES for key in self.next_ones(queue)]

    def next_ones(self, queue: ObjectKey) -> list[ObjectKey]:
        limits = self.queues[queue]
        if limits is None or limits.paused:
            return []
        waiting = set(self.waiting())
        claiming = [key for key in waiting & self.under_way if self.queue_of(key) == queue]
        owners = self.owners(queue) + Counter(owner_of(self.tasks[key]) for key in claiming)
        able = waiting - self.under_way - self.failing
        most, share = limits.max_running, limits.max_running_per_owner
        found = []
        for key in sorted(able, key=self.rank):
            owner = owner_of(self.tasks[key])
            has_room = most is None or owners.total() < most
            has_share = share is None or owners[owner] < share
            if self.queue_of(key) == queue and has_room and has_share:
                owners[owner] += 1
                found.append(key)
        return found

    def rank(self, key: ObjectKey) -> tuple[datetime, datetime, str]:
        task = self.tasks[key]
        since = task.spec.not_before or task.metadata.created_at
        wished = (task.spec.priority, self.defaults.priority, 50)
        points = next(wish for wish in wished if wish is not None)
        return since - timedelta(minutes=points), since, key.name


def is_running(task: v1alpha1.LongTask) -> bool:
    attempts = task.status.attempts
    return bool(attempts) and attempts[-1].finished_at is None and not task.is_finished


def owner_of(task: v1alpha1.LongTask) -> str:
    return task.metadata.labels[names.OWNER_LABEL]


TestAdmission = Admission.TestCase
TestAdmission.settings = settings(max_examples=100, stateful_step_count=40)

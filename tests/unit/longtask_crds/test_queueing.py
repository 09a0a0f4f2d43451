"""The one index of all queues: tables for its rules, and a brute-force recount for the rest."""

import dataclasses
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing import Counts, Entry, Index, Place, Standing
from longtask_crds.testing import FINISHED, NOW, a_task, an_attempt, with_meta, with_status

QUEUE = ObjectKey("ns", "default")
RUNS = with_status(a_task(), attempt=1, attempts=[an_attempt()], queue="lane")


# --- what a task is to its queue ---


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(a_task(), Standing.WAITING, id="a-new-one-waits"),
        pytest.param(RUNS, Standing.HOLDING, id="a-claimed-one-holds-a-place"),
        pytest.param(
            with_meta(RUNS, deletion_timestamp=NOW),
            Standing.HOLDING,
            id="a-deleted-one-holds-its-place-while-its-pod-ends",
        ),
        pytest.param(
            with_status(RUNS, attempts=[an_attempt(finished_at=NOW)]),
            Standing.WAITING,
            id="one-whose-attempt-has-ended-has-given-its-place-back",
        ),
        pytest.param(
            with_status(RUNS, conditions=[FINISHED]), Standing.OUT, id="a-finished-one-is-out"
        ),
        pytest.param(
            with_meta(a_task(), deletion_timestamp=NOW),
            Standing.OUT,
            id="a-deleted-one-that-waited-is-out",
        ),
        pytest.param(
            a_task(type="x", cancel=True), Standing.OUT, id="a-cancelled-one-that-waited-is-out"
        ),
    ],
)
def test_standing(task: v1alpha1.LongTask, expected: Standing) -> None:
    assert queueing.standing(task) is expected
    assert (Entry.of(task) is None) == (expected is Standing.OUT)


def test_an_entry_is_what_the_task_says() -> None:
    task = with_meta(a_task(type="t", priority=7), labels={names.OWNER_LABEL: "ann"})
    since = int(NOW.timestamp())
    assert Entry.of(task) == Entry(Standing.WAITING, since, "t", None, 7, "ann")


LATER = NOW + timedelta(hours=1)


def test_who_asks_for_a_later_time_is_in_the_queue_since_then() -> None:
    since = int(LATER.timestamp())
    entry = Entry.of(a_task(type="t", notBefore=LATER))
    assert entry == Entry(Standing.WAITING, since, "t", None, None, "", not_before=since)
    past = Entry.of(a_task(type="t", notBefore=NOW))
    assert past == Entry.of(a_task(type="t")), "what is past is as absent"


def test_a_place_stays_in_the_queue_where_it_was_taken() -> None:
    index = Index()
    index.set_type(ObjectKey("ns", "t"), v1alpha1.TypeDefaults(queue="lane"))
    held = with_status(
        a_task(type="t"), attempt=1, attempts=[an_attempt()], queue="lane", queued_at=NOW
    )
    index.update(ObjectKey("ns", "report"), Entry.of(held))
    index.set_type(ObjectKey("ns", "t"), v1alpha1.TypeDefaults(queue="other"))
    assert index.counts(ObjectKey("ns", "lane")) == Counts(running=1, waiting=0)
    assert index.counts(ObjectKey("ns", "other")) == Counts(running=0, waiting=0)


# --- one queue ---


def waits(*, minute: float = 0, priority: int = 50, owner: str = "", type: str = "") -> Entry:  # noqa: A002 - the field's name
    return Entry(Standing.WAITING, int(minute * 60), type or None, None, priority, owner)


def holds(*, owner: str = "") -> Entry:
    return Entry(Standing.HOLDING, 0, None, None, None, owner)


def spec(**limits: object) -> v1alpha1.LongTaskQueueSpec:
    return v1alpha1.LongTaskQueueSpec.model_validate(limits)


def an_index(entries: dict[str, Entry], limits: v1alpha1.LongTaskQueueSpec | None = None) -> Index:
    index = Index()
    index.set_queue(QUEUE, limits)
    for name, entry in entries.items():
        index.update(QUEUE.sibling(name), entry)
    return index


def startable(index: Index, queue: ObjectKey = QUEUE) -> str:
    return "".join(key.name for key in index.startable(queue))


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        pytest.param({"b": waits(minute=1), "a": waits()}, "ab", id="who-came-first-goes-first"),
        pytest.param(
            {"o": waits(), "u": waits(minute=9, priority=60)},
            "uo",
            id="ten-points-make-up-for-nine-minutes",
        ),
        pytest.param(
            {"o": waits(), "u": waits(minute=11, priority=60)},
            "ou",
            id="ten-points-do-not-make-up-for-eleven",
        ),
        pytest.param(
            {"l": waits(minute=10, priority=60), "e": waits()},
            "el",
            id="with-equal-head-starts-the-older-goes-first",
        ),
        pytest.param({"b": waits(), "a": waits()}, "ab", id="the-name-settles-what-is-left"),
    ],
)
def test_the_order(entries: dict[str, Entry], order: str) -> None:
    index = an_index(entries, spec())
    assert startable(index) == order
    assert "".join(key.name for key in index.waiting(QUEUE)) == order


THREE = {"c": waits(minute=2), "a": waits(), "b": waits(minute=1)}


@pytest.mark.parametrize(
    ("entries", "limits", "admitted"),
    [
        pytest.param(THREE, spec(), "abc", id="without-a-limit-all-start"),
        pytest.param(THREE | {"r": holds()}, spec(maxRunning=3), "ab", id="the-first-fill-it"),
        pytest.param(THREE | {"r": holds()}, spec(maxRunning=1), "", id="a-full-queue-starts-none"),
        pytest.param(THREE, spec(maxRunning=0), "", id="a-limit-of-zero-starts-none"),
        pytest.param(THREE, spec(paused=True), "", id="a-paused-queue-starts-none"),
        pytest.param(THREE, None, "", id="a-queue-that-is-not-there-starts-none"),
        pytest.param(
            {"a": waits(owner="ann"), "b": waits(owner="ann"), "c": waits(minute=9, owner="bob")},
            spec(maxRunning=2, maxRunningPerOwner=1),
            "ac",
            id="an-owner-at-the-limit-is-skipped-and-blocks-nobody",
        ),
        pytest.param(
            {"r": holds(owner="ann"), "a": waits(owner="ann"), "c": waits(minute=9, owner="bob")},
            spec(maxRunningPerOwner=1),
            "c",
            id="what-an-owner-runs-counts",
        ),
        pytest.param(
            {"a": waits(owner="ann"), "b": waits(owner="ann"), "c": waits(minute=9, owner="ann")},
            spec(maxRunning=9, maxRunningPerOwner=2),
            "ab",
            id="of-an-owners-own-the-first-start",
        ),
        pytest.param(
            {"r": holds(owner="ann"), "a": waits(owner="ann"), "b": waits(owner="ann")},
            spec(maxRunningPerOwner=2),
            "a",
            id="an-owner-gets-what-is-left-of-the-share",
        ),
        pytest.param(THREE, spec(maxRunningPerOwner=0), "", id="a-share-of-zero-starts-none"),
    ],
)
def test_startable(
    entries: dict[str, Entry], limits: v1alpha1.LongTaskQueueSpec | None, admitted: str
) -> None:
    index = an_index(entries, limits)
    assert startable(index) == admitted
    for name in entries:
        assert index.may_start(QUEUE.sibling(name)) == (name in admitted)


def test_a_claim_in_flight_holds_a_place() -> None:
    index = an_index(THREE, spec(maxRunning=1))
    a = QUEUE.sibling("a")
    index.reserve(a)
    assert startable(index) == ""
    assert index.may_start(a)
    assert index.place(a) is None
    index.update(a, holds())
    index.release(a)
    assert index.counts(QUEUE) == Counts(running=1, waiting=2)
    assert not index.may_start(a)


def test_a_claim_in_flight_may_not_end_in_a_queue_that_was_filled_or_paused_meanwhile() -> None:
    index = an_index(THREE, spec(maxRunning=1))
    a = QUEUE.sibling("a")
    index.reserve(a)
    index.set_queue(QUEUE, spec(maxRunning=1, paused=True))
    assert not index.may_start(a)
    index.set_queue(QUEUE, spec(maxRunning=0))
    assert not index.may_start(a)


@pytest.mark.parametrize("limits", [spec(maxRunning=1), spec(maxRunning=1, maxRunningPerOwner=1)])
def test_who_is_held_back_keeps_the_place_in_line_and_blocks_nobody(
    limits: v1alpha1.LongTaskQueueSpec,
) -> None:
    index = an_index(THREE, limits)
    a = QUEUE.sibling("a")
    assert index.hold_back(a) == {QUEUE}
    assert startable(index) == "b"
    assert not index.may_start(a)
    place = index.place(a)
    assert place is not None
    assert place.position == 1
    index.release(a)
    assert startable(index) == "a"


def test_who_is_made_anew_is_not_held_back() -> None:
    index = an_index(THREE, spec(maxRunning=1))
    a = QUEUE.sibling("a")
    index.hold_back(a)
    index.update(a, None)
    index.update(a, waits())
    assert startable(index) == "a"


def test_a_claim_in_flight_is_within_its_owners_limit_as_it_is_by_then() -> None:
    index = an_index({"a": waits(owner="ann")}, spec(maxRunningPerOwner=1))
    index.reserve(QUEUE.sibling("a"))
    assert index.may_start(QUEUE.sibling("a")), "it has the place that it may have"
    index.set_queue(QUEUE, spec(maxRunningPerOwner=0))
    assert not index.may_start(QUEUE.sibling("a"))


def test_how_many_of_each_owner_run_and_wait() -> None:
    entries = {
        "a": holds(owner="ann"),
        "b": waits(owner="ann"),
        "c": waits(owner="ann"),
        "d": waits(owner="bob"),
        "e": holds(owner="cid"),
    }
    index = an_index(entries, spec())
    assert index.shares(QUEUE) == {
        "ann": Counts(running=1, waiting=2),
        "bob": Counts(running=0, waiting=1),
        "cid": Counts(running=1, waiting=0),
    }
    assert index.shares(QUEUE.sibling("none")) == {}


def test_who_leaves_a_limited_queue_makes_room() -> None:
    index = an_index(THREE | {"r": holds()}, spec(maxRunning=1))
    r = QUEUE.sibling("r")
    assert index.update(r, holds()) == set()
    assert index.update(r, None) == {QUEUE}
    assert startable(index) == "a"
    index.set_queue(QUEUE, spec())
    assert index.update(QUEUE.sibling("a"), None) == set()


def test_who_starts_makes_no_room() -> None:
    index = an_index(THREE, spec(maxRunning=3))
    a = QUEUE.sibling("a")
    index.reserve(a)
    assert index.update(a, holds()) == set()
    assert index.release(a) == set()
    elsewhere = dataclasses.replace(holds(), queue="night")
    assert index.update(a, elsewhere) == {QUEUE}


def test_who_does_not_start_after_all_makes_room() -> None:
    index = an_index(THREE, spec(maxRunning=1))
    a = QUEUE.sibling("a")
    index.reserve(a)
    assert index.release(a) == {QUEUE}
    index.hold_back(a)
    assert index.release(a) == set()


def test_a_type_says_where_its_tasks_wait() -> None:
    index = an_index({"a": dataclasses.replace(waits(type="t"), priority=None)})
    kind = QUEUE.sibling("t")
    a, night = QUEUE.sibling("a"), QUEUE.sibling("night")
    assert index.queue_of(a) == QUEUE
    assert index.set_type(kind, v1alpha1.TypeDefaults(queue="night")) == {a: QUEUE}
    assert index.queue_of(a) == night
    assert index.set_type(kind, v1alpha1.TypeDefaults(queue="night", retry=None)) == {}
    before = index.rank(a)
    assert index.set_type(kind, v1alpha1.TypeDefaults(queue="night", priority=100)) == {a: night}
    assert index.rank(a) < before  # type: ignore[operator]
    assert index.set_type(kind, None) == {a: night}
    assert index.queue_of(a) == QUEUE


def test_who_joins_later_has_no_place_until_then() -> None:
    index = an_index(
        THREE | {"l": dataclasses.replace(waits(minute=-9), not_before=60)}, spec(maxRunning=1)
    )
    late = QUEUE.sibling("l")
    index.due(59)
    assert index.next_due() == 60
    assert index.is_deferred(late)
    assert index.queue_of(late) == QUEUE
    assert index.place(late) is None
    assert index.counts(QUEUE) == Counts(running=0, waiting=3)
    assert index.due(60) == {QUEUE}
    assert index.next_due() is None
    assert startable(index) == "l"
    assert index.due(30) == set(), "a clock that is set back takes nobody out"
    index.update(late, None)
    index.update(late, dataclasses.replace(waits(), not_before=60))
    assert not index.is_deferred(late), "its time has come already"


def test_a_queue_is_news_when_it_changed() -> None:
    index = Index()
    assert index.set_queue(QUEUE, spec(maxRunning=1))
    assert not index.set_queue(QUEUE, spec(maxRunning=1))
    assert index.set_queue(QUEUE, None)
    assert not index.set_queue(QUEUE, None)


def test_a_place() -> None:
    index = an_index(
        THREE | {"r": holds(owner="ann"), "d": waits(minute=7, owner="ann")},
        spec(maxRunning=2, maxRunningPerOwner=1),
    )
    assert index.place(QUEUE.sibling("d")) == Place(
        position=4,
        queue="default",
        running=1,
        max_running=2,
        owner_running=1,
        max_running_per_owner=1,
    )
    assert index.place(QUEUE.sibling("r")) is None
    assert index.place(QUEUE.sibling("nobody")) is None


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        pytest.param(Place(1, "q", 0, None), "next in queue q", id="nothing-in-the-way"),
        pytest.param(Place(1, "q", 2, 2), "next in queue q, 2 of 2 running", id="full"),
        pytest.param(Place(4, "q", 2, 2), "3 ahead in queue q, 2 of 2 running", id="others-first"),
        pytest.param(Place(4, "q", 1, 2), "3 ahead in queue q", id="room-in-a-moment"),
        pytest.param(Place(1, "q", 0, 2, paused=True), "queue q is paused", id="paused"),
        pytest.param(
            Place(1, "q", 0, None, exists=False), "there is no LongTaskQueue named q", id="missing"
        ),
        pytest.param(
            Place(2, "q", 2, 9, owner_running=2, max_running_per_owner=2),
            "1 ahead in queue q, your limit of 2 is reached",
            id="an-owners-share",
        ),
        pytest.param(
            Place(4, "q", 2, 2, owner_running=1, max_running_per_owner=1),
            "3 ahead in queue q, 2 of 2 running, your limit of 1 is reached",
            id="full-and-an-owners-share",
        ),
    ],
)
def test_sentence(place: Place, sentence: str) -> None:
    assert queueing.sentence(place) == sentence


def test_who_waits_behind_a_rank() -> None:
    index = an_index(THREE | {"r": holds()})
    lane = QUEUE.sibling("lane")
    index.update(lane.sibling("l"), dataclasses.replace(waits(minute=1.5), queue="lane"))

    def names_of(*queues: ObjectKey, after: str = "") -> str:
        rank = index.rank(QUEUE.sibling(after)) if after else None
        return "".join(key.name for key in index.waiting(*queues, after=rank))

    assert names_of(QUEUE, after="a") == "bc"
    assert names_of(QUEUE, after="c") == ""
    assert names_of(QUEUE, lane, QUEUE.sibling("none")) == "ablc"
    assert names_of(*index.queues(), after="b") == "lc"
    assert names_of() == ""


def test_who_has_waited_longest_is_not_always_next() -> None:
    index = an_index({"o": waits(minute=1, priority=0), "u": waits(minute=2), "r": holds()}, spec())
    assert startable(index) == "uo"
    assert index.oldest(QUEUE) == 60
    assert index.oldest(QUEUE.sibling("lane")) is None


# --- against a recount ---

QUEUES = [QUEUE, QUEUE.sibling("lane"), ObjectKey("other", "default")]
TASKS = [QUEUE.sibling(f"t{n}") for n in range(12)] + [ObjectKey("other", "t0")]
TYPES = [ObjectKey("ns", "t"), ObjectKey("other", "t")]
ENTRIES = st.builds(
    Entry,
    standing=st.sampled_from([Standing.WAITING, Standing.WAITING, Standing.HOLDING]),
    since=st.integers(0, 3).map(lambda minute: minute * 60),
    type=st.sampled_from([None, "t"]),
    queue=st.sampled_from([None, None, "default", "lane"]),
    priority=st.sampled_from([None, 49, 50, 51]),
    owner=st.sampled_from(["ann", "ann", "bob", "cid"]),
    not_before=st.sampled_from([None, None, None, 10, 20, 30]),
)
LIMITS = st.builds(
    v1alpha1.LongTaskQueueSpec,
    max_running=st.sampled_from([None, 0, 1, 2, 3, 4, 6]),
    max_running_per_owner=st.sampled_from([None, 0, 1, 2, 3]),
    paused=st.sampled_from([None] * 9 + [True]),
)
DEFAULTS = st.none() | st.builds(
    v1alpha1.TypeDefaults,
    queue=st.sampled_from([None, "lane"]),
    priority=st.sampled_from([None, 0, 100]),
)


class Recounted(RuleBasedStateMachine):
    """Whatever an index was told, in whatever order, it answers as a recount of all would."""

    @initialize(limits=st.tuples(*(LIMITS for _ in QUEUES)))
    def begin(self, limits: tuple[v1alpha1.LongTaskQueueSpec, ...]) -> None:
        self.index = Index()
        self.entries: dict[ObjectKey, Entry] = {}
        self.specs: dict[ObjectKey, v1alpha1.LongTaskQueueSpec] = {}
        self.defaults: dict[ObjectKey, v1alpha1.TypeDefaults] = {}
        self.reserved: set[ObjectKey] = set()
        self.held_back: set[ObjectKey] = set()
        self.now = 0
        for queue, given_limits in zip(QUEUES, limits, strict=True):
            self.queue_changes(queue, given_limits)

    @rule(entries=st.dictionaries(st.sampled_from(TASKS), ENTRIES, min_size=3))
    def tasks_come_or_change(self, entries: dict[ObjectKey, Entry]) -> None:
        for key, entry in entries.items():
            self.change(key, entry)

    @rule(key=st.sampled_from(TASKS))
    def task_goes(self, key: ObjectKey) -> None:
        self.change(key, None)

    def change(self, key: ObjectKey, entry: Entry | None) -> None:
        before = self.may_start()
        made_room = self.index.update(key, entry)
        keep(self.entries, key, entry)
        if entry is None:
            self.held_back.discard(key)
        self.check_all_are_told(before, made_room, key)

    def may_start(self) -> dict[ObjectKey, set[ObjectKey]]:
        return {queue: set(self.index.startable(queue)) for queue in QUEUES}

    def check_all_are_told(
        self, before: dict[ObjectKey, set[ObjectKey]], made_room: set[ObjectKey], key: ObjectKey
    ) -> None:
        for queue, after in self.may_start().items():
            news = after - before[queue] - {key}
            assert not news or queue in made_room, "somebody may start and nobody is told"

    @rule(queue=st.sampled_from(QUEUES), limits=LIMITS | st.none())
    def queue_changes(self, queue: ObjectKey, limits: v1alpha1.LongTaskQueueSpec | None) -> None:
        assert self.index.set_queue(queue, limits) == (self.specs.get(queue) != limits)
        keep(self.specs, queue, limits)

    @rule(kind=st.sampled_from(TYPES), defaults=DEFAULTS)
    def type_changes(self, kind: ObjectKey, defaults: v1alpha1.TypeDefaults | None) -> None:
        before = {key: (self.queue_of(key), self.rank(key)) for key in self.entries}
        first = {queue: set(self.index.startable(queue)) for queue in QUEUES}
        moved = self.index.set_type(kind, defaults)
        keep(self.defaults, kind, defaults)
        after = {key: (self.queue_of(key), self.rank(key)) for key in self.entries}
        assert moved.keys() == {key for key in self.entries if before[key] != after[key]}
        for queue in QUEUES:
            news = set(self.index.startable(queue)) - first[queue] - moved.keys()
            assert not news or queue in moved.values(), "somebody may start and nobody is told"

    @rule(key=st.sampled_from(TASKS), taken=st.booleans())
    def claim_begins_or_ends(self, key: ObjectKey, taken: bool) -> None:
        if taken:
            self.index.reserve(key)
            self.reserved.add(key)
        else:
            before = self.may_start()
            made_room = self.index.release(key)
            self.reserved.discard(key)
            self.held_back.discard(key)
            self.check_all_are_told(before, made_room, key)

    @rule(now=st.integers(0, 40))
    def time_passes(self, now: int) -> None:
        joining = [key for key in self.entries if self.is_deferred(key)]
        self.now = max(self.now, now)
        joined = {self.queue_of(key) for key in joining if not self.is_deferred(key)}
        assert self.index.due(now) == joined

    @rule(key=st.sampled_from(TASKS))
    def a_start_fails(self, key: ObjectKey) -> None:
        before = self.may_start()
        made_room = self.index.hold_back(key)
        if key in self.entries:
            self.held_back.add(key)
        self.check_all_are_told(before, made_room, key)

    # The recount: no structure, no memory.

    def wish(self, key: ObjectKey) -> v1alpha1.TypeDefaults:
        kind = self.entries[key].type
        return self.defaults.get(key.sibling(kind or ""), v1alpha1.TypeDefaults())

    def queue_of(self, key: ObjectKey) -> ObjectKey:
        return key.sibling(self.entries[key].queue or self.wish(key).queue or "default")

    def rank(self, key: ObjectKey) -> tuple[int, int, str]:
        entry = self.entries[key]
        wished = (entry.priority, self.wish(key).priority, 50)
        priority = next(p for p in wished if p is not None)
        return (entry.since - 60 * priority, entry.since, key.name)

    def is_holding(self, key: ObjectKey) -> bool:
        return self.entries[key].standing is Standing.HOLDING or key in self.reserved

    def is_deferred(self, key: ObjectKey) -> bool:
        not_before = self.entries[key].not_before
        return not_before is not None and not_before > self.now and not self.is_holding(key)

    def of(self, queue: ObjectKey) -> list[ObjectKey]:
        there = (key for key in self.entries if not self.is_deferred(key))
        return sorted((key for key in there if self.queue_of(key) == queue), key=self.rank)

    def startable(self, queue: ObjectKey) -> list[ObjectKey]:
        limits = self.specs.get(queue)
        if limits is None or limits.paused:
            return []
        holders = [key for key in self.of(queue) if self.is_holding(key)]
        owners = Counter(self.entries[key].owner for key in holders)
        running, found = len(holders), []
        for key in self.of(queue):
            owner = self.entries[key].owner
            if self.is_holding(key) or key in self.held_back:
                continue
            if limits.max_running is not None and running >= limits.max_running:
                continue
            share = limits.max_running_per_owner
            if share is not None and owners[owner] >= share:
                continue
            found.append(key)
            running += 1
            owners[owner] += 1
        return found

    @invariant()
    def it_answers_as_a_recount_does(self) -> None:
        for queue in QUEUES:
            waiting = [key for key in self.of(queue) if not self.is_holding(key)]
            expected = self.startable(queue)
            assert self.index.startable(queue) == expected
            assert list(self.index.waiting(queue)) == waiting
            held = len(self.of(queue)) - len(waiting)
            assert self.index.counts(queue) == Counts(held, len(waiting))
            for position, key in enumerate(waiting, start=1):
                place = self.index.place(key)
                assert place is not None
                assert (place.position, place.queue) == (position, queue.name)
                assert self.index.may_start(key) == (key in expected)
            assert all(self.index.waits(k) == (k in waiting) for k in self.of(queue))

    @invariant()
    def it_knows_who_joins_later(self) -> None:
        later = {key for key in self.entries if self.is_deferred(key)}
        times = [self.entries[key].not_before for key in later]
        assert self.index.next_due() == min(times, default=None)  # type: ignore[type-var]
        for key in self.entries:
            assert self.index.is_deferred(key) == (key in later)
            assert self.index.queue_of(key) == self.queue_of(key)
        for key in later:
            assert self.index.place(key) is None
            assert not self.index.waits(key)
            assert not self.index.may_start(key)

    @invariant()
    def it_keeps_nothing_of_what_is_gone(self) -> None:
        for key in set(TASKS) - self.entries.keys():
            assert self.index.place(key) is self.index.queue_of(key) is self.index.rank(key) is None
            assert not self.index.may_start(key)


def keep(known: dict, key: ObjectKey, value: object) -> None:  # type: ignore[type-arg]
    if value is None:
        known.pop(key, None)
    else:
        known[key] = value


TestRecounted = Recounted.TestCase
TestRecounted.settings = settings(max_examples=100, stateful_step_count=30)


@given(st.integers(0, 100), st.integers(0, 100))
def test_nobody_is_overtaken_for_longer_than_the_points_are_worth(low: int, high: int) -> None:
    """Whoever comes later by more than the difference in minutes goes behind."""
    later = max(0, high - low) + 1
    index = an_index(
        {"old": waits(priority=low), "new": waits(minute=later, priority=high)}, spec()
    )
    assert index.startable(QUEUE)[0] == QUEUE.sibling("old")
    assert timedelta(seconds=queueing.HEAD_START_SECONDS) == timedelta(minutes=1)

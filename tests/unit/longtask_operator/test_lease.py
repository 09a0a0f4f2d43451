"""Never do two believe at the same time that they may admit, however long either is frozen."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longtask_operator.rules import lease
from longtask_operator.rules.lease import Acquire, Renew, Seen, Step, Wait

ME, OTHER = "me", "other"


def seen(holder: str, *, since: float = 1000, seconds: float = 15) -> Seen:
    return Seen(holder, "7", seconds, since)


@pytest.mark.parametrize(
    ("there", "now", "step"),
    [
        pytest.param(None, 0, Acquire(), id="where-there-is-none-it-is-made"),
        pytest.param(seen(""), 1000, Acquire(), id="one-that-was-let-go-is-taken-at-once"),
        pytest.param(seen(OTHER), 1000, Wait(1015), id="the-first-look-counts-from-that-look"),
        pytest.param(seen(OTHER), 1014.9, Wait(1015), id="a-silent-holder-has-its-time"),
        pytest.param(seen(OTHER), 1015, Acquire(), id="after-which-it-is-taken"),
        pytest.param(seen(OTHER, seconds=60), 1015, Wait(1060), id="the-holder-names-that-time"),
        pytest.param(seen(ME), 1001, Renew(), id="the-holder-renews"),
        pytest.param(seen(ME), 9999, Renew(), id="however-late-if-nobody-took-it"),
    ],
)
def test_next_step(there: Seen | None, now: float, step: Step) -> None:
    assert lease.next_step(there, ME, now=now) == step


@pytest.mark.parametrize(
    ("version", "since"),
    [
        pytest.param("7", 1000, id="nothing-new-counts-from-the-first-look"),
        pytest.param("8", 1012, id="a-word-of-the-holder-counts-anew"),
    ],
)
def test_since_when_it_stands_like_that(version: str, since: float) -> None:
    later = Seen(OTHER, version, 15, since=1012)
    assert seen(OTHER).again(later).since == since


# --- two processes, and everything that may come between ------------------------------------------

#: Time goes in steps of this many seconds. Both limits are whole numbers of them.
STEP = 5
REFUSED = -1


@dataclasses.dataclass(frozen=True)
class Write:
    """A write on its way: it stands on a version, and arrives at any time or never."""

    upon: int
    holder: str
    age: int  #: how long ago it was begun
    made: int | None = None  #: the version that it made, or `REFUSED`; None: it has not arrived


@dataclasses.dataclass(frozen=True)
class Process:
    """One that stands for the lease. What it remembers is kept by its age."""

    name: str
    clock: float  #: what its clock would have said all the time, if it stood still
    seen: tuple[str, int, int] | None = None  #: holder, version, for how long
    renewed: int | None = None  #: how long ago the last renewal was begun
    asked: Write | None = None  #: what it waits for
    astray: Write | None = None  #: what it waits for no more, and may arrive all the same
    stops: bool = False

    @property
    def believes(self) -> bool:
        began = None if self.renewed is None else self.clock - self.renewed
        return began is not None and self.clock < lease.held_until(began)

    def but(self, **changes: Any) -> "Process":
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class World:
    """The lease, and both processes."""

    holder: str
    version: int
    processes: tuple[Process, ...]

    def but(self, me: Process) -> "World":
        ours = (me if p.name == me.name else p for p in self.processes)
        return dataclasses.replace(self, processes=tuple(ours))


def looks(world: World, me: Process) -> World | None:
    if me.asked is not None or me.stops:
        return None
    is_known = me.seen is not None and me.seen[1] == world.version
    return None if is_known else world.but(me.but(seen=(world.holder, world.version, 0)))


def begins_to_write(world: World, me: Process) -> World | None:
    if me.seen is None or me.asked is not None or me.stops:
        return None
    holder, version, age = me.seen
    there = Seen(holder, str(version), lease.DURATION, since=me.clock - age)
    if isinstance(lease.next_step(there, me.name, now=me.clock), Wait):
        return None
    return world.but(me.but(asked=Write(version, me.name, age=0)))


def lets_go(world: World, me: Process) -> World | None:
    """At a clean stop it believes no more, and then says so."""
    if me.seen is None or me.seen[0] != me.name or me.asked is not None or me.stops:
        return None
    return world.but(me.but(stops=True, renewed=None, asked=Write(me.seen[1], "", age=0)))


def its_write_arrives(world: World, me: Process) -> World | None:
    write = me.asked
    if write is None or write.made is not None:
        return None
    after = accepted(world, write)
    made = REFUSED if after is world else after.version
    return after.but(me.but(asked=dataclasses.replace(write, made=made)))


def its_lost_write_arrives(world: World, me: Process) -> World | None:
    return None if me.astray is None else accepted(world, me.astray).but(me.but(astray=None))


def accepted(world: World, write: Write) -> World:
    if write.upon != world.version:
        return world
    return dataclasses.replace(world, holder=write.holder, version=world.version + 1)


def it_hears_the_answer(world: World, me: Process) -> World | None:
    write = me.asked
    if write is None or write.made is None:
        return None
    if write.made != REFUSED and not me.stops:
        me = me.but(seen=(write.holder, write.made, 0), renewed=write.age)
    return world.but(me.but(asked=None))


def it_waits_no_more(world: World, me: Process) -> World | None:
    if me.asked is None or me.stops:
        return None
    is_under_way = me.asked.made is None
    astray = dataclasses.replace(me.asked, age=0) if is_under_way else me.astray
    return world.but(me.but(asked=None, astray=astray))


ACTIONS: tuple[Callable[[World, Process], World | None], ...] = (
    looks,
    begins_to_write,
    lets_go,
    its_write_arrives,
    its_lost_write_arrives,
    it_hears_the_answer,
    it_waits_no_more,
)


def time_passes(world: World) -> World:
    """Time passes for both. A process that did nothing meanwhile was frozen, or just slow."""

    def older(age: int) -> int:
        return min(age + STEP, lease.DURATION)

    def aged(me: Process) -> Process:
        return me.but(
            seen=me.seen and (*me.seen[:2], older(me.seen[2])),
            renewed=older(me.renewed or 0) if me.believes else None,
            asked=me.asked and dataclasses.replace(me.asked, age=older(me.asked.age)),
        )

    return dataclasses.replace(world, processes=tuple(map(aged, world.processes)))


def simplified(world: World) -> World:
    """Leave out what makes no difference: of an old version it does not matter how old it is."""
    now = world.version

    def write(old: Write | None) -> Write | None:
        if old is None:
            return None
        made = old.made if old.made in (None, REFUSED) else int(old.made == now)
        age = min(old.age, lease.RENEW_DEADLINE)
        return dataclasses.replace(old, upon=int(old.upon == now), made=made, age=age)

    def process(me: Process) -> Process:
        holder, version, age = me.seen or ("", 0, 0)
        counts = holder not in ("", me.name)
        return me.but(
            seen=me.seen and (holder, int(version == now), age if counts else 0),
            asked=write(me.asked),
            # One on top of what is gone will never be accepted.
            astray=write(me.astray) if me.astray and me.astray.upon == now else None,
        )

    return World(world.holder, 1, tuple(map(process, world.processes)))


def following(world: World) -> Iterator[tuple[str, World]]:
    yield "time passes", time_passes(world)
    for me in world.processes:
        for action in ACTIONS:
            if (after := action(world, me)) is not None:
                yield f"{me.name}: {action.__name__}", after


def test_never_do_two_believe_that_they_hold_it() -> None:
    first = World("", 1, (Process("a", 1000), Process("b", 50)))
    came_by: dict[World, tuple[World, str] | None] = {first: None}
    frontier = deque([first])
    changes_of_hands = 0
    while frontier:
        before = frontier.popleft()
        for name, after in following(before):
            after = simplified(after)
            if after in came_by:
                continue
            came_by[after] = (before, name)
            frontier.append(after)
            believing = [p.name for p in after.processes if p.believes]
            assert len(believing) <= 1, story(came_by, after)
            changes_of_hands += believing == ["b"] and after.holder == "b"
    assert len(came_by) > 8_000, "the search is smaller than it looks"
    assert changes_of_hands


def story(came_by: dict[World, tuple[World, str] | None], at: World) -> str:
    """Return how a state was reached, in words."""
    told: list[str] = []
    while (last := came_by[at]) is not None:
        at, name = last
        told.insert(0, name)
    return "; ".join(told)

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from api_support import eventually, key
from longtask_adapters.kube.cache import Cache
from longtask_api import errors
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.workers import teller
from longtask_crds import events, v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_task, an_attempt, with_meta, with_status

LONG_AGO = NOW - timedelta(hours=25)


class Everybody:
    """Wants to hear of each task whose name does not begin with a dash."""

    def __init__(self) -> None:
        self.asked = 0

    def may_care(self, task: v1alpha1.LongTask) -> bool:
        return not task.metadata.name.startswith("quiet")

    async def notices(self, task: v1alpha1.LongTask, event: events.Event) -> Iterable[Notice]:
        self.asked += 1
        if task.metadata.name == "poison":
            raise RuntimeError("of this one nothing can be said")
        return [Notice.of(task, event, channel=Channel.MAIL, recipient="a@b.test", document="{}")]


class Falling(Ledger):
    """A ledger whose database is away when it is told to be, and that cannot store some rows."""

    is_away = False

    async def note(self, notices: Iterable[Notice]) -> int:
        if self.is_away:
            raise errors.DatabaseAway
        notices = list(notices)
        if any(notice.task_name == "unstorable" for notice in notices):
            raise ValueError("no database takes this")
        return await super().note(notices)


class Room:
    """A teller, and what it stands on."""

    def __init__(self, database: Database) -> None:
        self.tasks: Cache[v1alpha1.LongTask] = Cache()
        self.ledger = Falling(database, clock=lambda: NOW)
        self.everybody = Everybody()
        self.slept: list[float] = []
        self.teller = teller.Teller(
            self.ledger, self.tasks, [self.everybody], clock=lambda: NOW, sleep=self.sleep
        )
        self.tasks.on_change(self.teller.notice)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def noted(self) -> list[tuple[str, str]]:
        """Return what is noted: whose, and what."""
        found = await self.ledger.page(Channel.MAIL, limit=99_999)
        return sorted((entry.task_name, entry.event) for entry in found)


@pytest.fixture
async def room(database: Database) -> Room:
    return Room(database)


@contextlib.contextmanager
def running(room: Room) -> Iterator[None]:
    loop = asyncio.create_task(room.teller.run())
    try:
        yield
    finally:
        loop.cancel()


def a_state(name: str, version: int = 1, **status: Any) -> v1alpha1.LongTask:
    task = with_meta(a_task(name, uid=f"uid-of-{name}"), resource_version=str(version))
    return with_status(task, **status)


def an_end(name: str, version: int = 9, at: Any = NOW) -> v1alpha1.LongTask:
    return a_state(
        name,
        version,
        phase=v1alpha1.Phase.SUCCEEDED,
        conditions=[FINISHED],
        queued_at=at,
        finished_at=at,
        attempt=1,
    )


async def test_what_happens_is_noted_once(room: Room) -> None:
    room.tasks.put(a_state("a", 1))
    room.tasks.put(a_state("a", 2, queued_at=NOW))
    await room.teller.catch_up()
    assert await room.noted() == [("a", "queued")]
    started = [an_attempt(started_at=NOW)]
    room.tasks.put(a_state("a", 3, queued_at=NOW, attempt=1, attempts=started))
    room.tasks.put(a_state("a", 4, queued_at=NOW, attempt=1, attempts=started))
    await room.teller.catch_up()
    room.tasks.put(an_end("a"))
    await room.teller.catch_up()
    assert await room.noted() == [("a", "queued"), ("a", "started"), ("a", "succeeded")]
    # Each was asked for once: what is known of a task is not looked at again.
    assert room.everybody.asked == 3


async def test_a_start_finds_what_nobody_noted(room: Room) -> None:
    room.tasks.put(an_end("a"))
    room.tasks.put(an_end("old", at=LONG_AGO))
    await room.teller.catch_up()
    again = Room(room.ledger._database)
    again.tasks.put(an_end("a"))
    again.tasks.put(an_end("b"))
    await again.teller.catch_up()
    assert await again.noted() == [
        *(("a", "queued"), ("a", "succeeded"), ("b", "queued"), ("b", "succeeded"))
    ]


async def test_what_nobody_asks_for_is_not_even_looked_at(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr(events, "of", fail)
    room.tasks.put(an_end("quiet"))
    room.teller.notice(None, an_end("quiet"))
    room.tasks.remove(key("quiet"), "uid-of-quiet")
    await room.teller.catch_up()
    assert room.everybody.asked == 0


async def test_each_tenth_of_the_work_is_news(room: Room) -> None:
    for version, percent in enumerate((None, 4, 9, 12, 18, 55), start=1):
        said = v1alpha1.Progress(percent=percent, updated_at=NOW)
        attempts = [an_attempt(started_at=NOW)]
        phase = v1alpha1.Phase.RUNNING
        room.tasks.put(
            a_state("a", version, phase=phase, attempt=1, attempts=attempts, progress=said)
        )
    await room.teller.catch_up()
    found = await room.ledger.page(Channel.MAIL, limit=99)
    assert sorted(entry.sequence for entry in found) == [1002, 1112, 1155]


async def test_while_the_database_is_away_it_is_remembered(room: Room) -> None:
    room.ledger.is_away = True
    with running(room):
        room.tasks.put(an_end("a"))
        # A task that is deleted meanwhile has had its end all the same.
        room.tasks.remove(key("a"), "uid-of-a")

        async def has_waited() -> bool:
            return len(room.slept) > 8

        await eventually(has_waited)
        assert room.slept[0] <= 1 < max(room.slept) <= 60
        room.ledger.is_away = False

        async def is_noted() -> bool:
            return len(await room.noted()) == 2

        await eventually(is_noted)
    assert await room.noted() == [("a", "queued"), ("a", "succeeded")]


async def test_of_too_much_to_remember_nothing_is_lost(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "MOST_PENDING", 5)
    monkeypatch.setattr(teller, "_BATCH", 3)
    room.ledger.is_away = True
    for number in range(20):
        room.tasks.put(an_end(f"t{number:02}", version=number + 1))
    for _ in range(2):
        with pytest.raises(errors.DatabaseAway):
            await room.teller.catch_up()
    room.ledger.is_away = False
    await room.teller.catch_up()
    assert len(await room.noted()) == 40


async def test_others_have_their_turn_while_all_is_read_anew(room: Room) -> None:
    for number in range(5 * teller._BATCH):
        room.tasks.put(an_end(f"old-{number}", at=LONG_AGO))
    room.teller._is_behind = True
    reading = asyncio.create_task(room.teller.catch_up())
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5


async def test_what_cannot_be_told_or_stored_keeps_no_other_back(room: Room) -> None:
    for version, name in enumerate(("a", "poison", "unstorable", "z"), start=1):
        room.tasks.put(an_end(name, version))
    await room.teller.catch_up()
    assert {name for name, _ in await room.noted()} == {"a", "z"}


# --- schedules


def a_schedule(reason: str, at: datetime = NOW) -> v1alpha1.LongTaskSchedule:
    """Return a schedule that starts runs, or none for a reason since then."""
    condition = {
        "type": "Suspended",
        "status": "False" if reason == "Active" else "True",
        "reason": reason,
        "lastTransitionTime": at.isoformat(),
    }
    return v1alpha1.LongTaskSchedule.model_validate(
        {
            "metadata": {"name": "nightly", "namespace": "longtasks", "uid": "u"},
            "spec": {"intervalSeconds": 60, "taskTemplate": {"spec": {"type": "t"}}},
            "status": {"conditions": [condition]},
        }
    )


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [
        pytest.param(a_schedule("Active"), a_schedule("MaxFailures"), True, id="just-now"),
        pytest.param(None, a_schedule("MaxFailures"), True, id="while-nobody-looked"),
        pytest.param(None, a_schedule("MaxFailures", LONG_AGO), False, id="long-ago"),
        pytest.param(
            a_schedule("MaxFailures"), a_schedule("MaxFailures"), False, id="it-was-before"
        ),
        pytest.param(
            a_schedule("MaxFailures", LONG_AGO), a_schedule("MaxFailures"), True, id="once-more"
        ),
        pytest.param(a_schedule("Active"), a_schedule("AsAsked"), False, id="as-asked"),
        pytest.param(a_schedule("MaxFailures"), None, False, id="deleted"),
    ],
)
async def test_a_schedule_that_suspends_itself_is_told_of_once(
    database: Database,
    before: v1alpha1.LongTaskSchedule | None,
    after: v1alpha1.LongTaskSchedule | None,
    is_told: bool,
) -> None:
    asked = []

    async def of_schedule(schedule: v1alpha1.LongTaskSchedule, at: datetime) -> list[Notice]:
        asked.append((schedule.metadata.name, at))
        return []

    ledger: Ledger = Falling(database, clock=lambda: NOW)
    told = teller.Teller(ledger, Cache(), [], clock=lambda: NOW, of_schedule=of_schedule)
    told.notice_schedule(before, after)
    await told.catch_up()
    await told.catch_up()
    assert asked == ([("nightly", NOW)] if is_told else [])


async def test_a_schedule_of_which_nothing_can_be_said_keeps_no_other_back(room: Room) -> None:
    async def of_schedule(_: v1alpha1.LongTaskSchedule, __: datetime) -> list[Notice]:
        raise RuntimeError("of this one nothing can be said")

    room.teller._of_schedule = of_schedule
    room.teller.notice_schedule(None, a_schedule("MaxFailures"))
    room.tasks.put(an_end("a"))
    await room.teller.catch_up()
    assert await room.noted() == [("a", "queued"), ("a", "succeeded")]

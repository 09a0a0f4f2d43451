"""The outbox, on a real server of each kind."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from clock_support import Clock
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import Channel, Entry, Ledger, Notice, State
from longtask_crds.testing import NOW

NOTICE = Notice(
    channel=Channel.MAIL,
    event_id="msg_1",
    event="succeeded",
    sequence=1900,
    task_uid="u",
    namespace="longtasks",
    task_name="report",
    owner="ada",
    recipient="ada@example.com",
    document='{"phase":"Succeeded"}',
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(database_url: str, clock: Clock) -> AsyncIterator[Ledger]:
    async with contextlib.aclosing(Database.at(database_url)) as database:
        yield Ledger(database, clock=clock)


@pytest.fixture
async def another(database_url: str, clock: Clock) -> AsyncIterator[Ledger]:
    """Another replica's, over the same database."""
    async with contextlib.aclosing(Database.at(database_url)) as database:
        yield Ledger(database, clock=clock)


def a_notice(event_id: str, **parts: object) -> Notice:
    return dataclasses.replace(NOTICE, event_id=event_id, **parts)  # type: ignore[arg-type]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event_id for entry in entries]


async def test_what_is_noted_by_many_is_there_once(ledger: Ledger, another: Ledger) -> None:
    notices = [a_notice(f"msg_{number}") for number in range(50)]
    counts = await asyncio.gather(
        *(each.note(order) for each in (ledger, another) for order in (notices, notices[::-1]))
    )
    assert sum(counts) == 50
    # To another, or in another way, is another matter.
    assert await ledger.note([a_notice("msg_1", recipient="eve@example.com")]) == 1
    assert await ledger.note([a_notice("msg_1", channel=Channel.WEBHOOK)]) == 1
    assert len(await ledger.page(Channel.MAIL, limit=99)) == 51


async def test_what_is_taken_says_all_that_was_noted(ledger: Ledger) -> None:
    await ledger.note([NOTICE])
    (taken,) = await ledger.take(Channel.MAIL, 9, 60)
    noted = {field.name: getattr(taken, field.name) for field in dataclasses.fields(Notice)}
    assert Notice(**noted) == NOTICE
    assert (taken.state, taken.tries, taken.created_at) == (State.PENDING, 0, NOW)
    assert await ledger.take(Channel.WEBHOOK, 9, 60) == []


async def test_of_many_at_once_one_takes_each_row(ledger: Ledger, another: Ledger) -> None:
    await ledger.note([a_notice(f"msg_{number}") for number in range(40)])
    taken = await asyncio.gather(
        *(each.take(Channel.MAIL, 10, 60) for each in (ledger, another) for _ in range(4))
    )
    found = [event_id for part in taken for event_id in ids(part)]
    assert len(found) == len(set(found))
    found += ids(await ledger.take(Channel.MAIL, 99, 60))
    assert sorted(found) == sorted(f"msg_{number}" for number in range(40))


async def test_one_recipient_is_served_by_one(ledger: Ledger, another: Ledger) -> None:
    for name in ("ada", "eve", "joe"):
        await ledger.note(
            [a_notice(f"{name}{n}", recipient=f"{name}@example.com") for n in range(3)]
        )
    taken = await asyncio.gather(
        *(each.take_of_one(Channel.MAIL, 2, 60) for each in (ledger, another) for _ in range(4))
    )
    served = [part[0].recipient for part in taken if part]
    assert sorted(served) == ["ada@example.com", "eve@example.com", "joe@example.com"]
    assert all(len({entry.recipient for entry in part}) == 1 for part in taken if part)
    # The third row of each is due, and waits until the two before it are told.
    ada = next(part for part in taken if part and part[0].recipient == "ada@example.com")
    await ledger.sent(ada, batch="b")
    (third,) = await another.take_of_one(Channel.MAIL, 2, 60)
    assert third.recipient == "ada@example.com"


async def test_who_dies_with_a_row_leaves_it_to_another(
    ledger: Ledger, another: Ledger, clock: Clock
) -> None:
    await ledger.note([NOTICE])
    first = await ledger.take(Channel.MAIL, 9, 60)
    clock.go(59)
    assert await another.take(Channel.MAIL, 9, 60) == []
    assert await another.next_due(Channel.MAIL) == NOW + timedelta(seconds=60)
    clock.go(1)
    second = await another.take(Channel.MAIL, 9, 60)
    # It counts as a try: nothing is tried for ever because it kills who tries.
    assert [entry.tries for entry in second] == [1]
    # Whoever comes back from the dead says nothing about it any more.
    assert await ledger.sent(first) == 0
    assert await ledger.again(first, clock(), "Timeout") == 0
    assert await another.sent(second, code=250, batch="b") == 1
    (told,) = await ledger.page(Channel.MAIL, limit=9)
    assert (told.state, told.tries, told.last_code, told.batch, told.settled_at) == (
        *(State.SENT, 2, 250, "b"),
        clock(),
    )
    assert await ledger.told_since(Channel.MAIL, NOTICE.recipient, NOW) == [(clock(), "u", "b")]


async def test_what_fails_is_tried_again_until_it_is_given_up(ledger: Ledger, clock: Clock) -> None:
    await ledger.note([NOTICE])
    taken = await ledger.take(Channel.MAIL, 9, 60)
    await ledger.again(taken, NOW + timedelta(seconds=300), "x" * 999, code=451)
    assert await ledger.next_due(Channel.MAIL) == NOW + timedelta(seconds=300)
    assert await ledger.take(Channel.MAIL, 9, 60) == []
    clock.go(300)
    (again,) = await ledger.take(Channel.MAIL, 9, 60)
    assert (again.tries, again.last_code, again.last_error) == (1, 451, "x" * 256)
    # Nobody tried: that counts for nothing.
    await ledger.put_off([again], NOW + timedelta(seconds=400))
    clock.go(100)
    (later,) = await ledger.take(Channel.MAIL, 9, 60)
    assert later.tries == 1
    await ledger.give_up([later], "Refused", code=550)
    assert await ledger.next_due(Channel.MAIL) is None
    (told,) = await ledger.page(Channel.MAIL, states=[State.GIVEN_UP], limit=9)
    assert (told.tries, told.last_code, told.last_error) == (2, 550, "Refused")


async def test_lists_are_of_what_is_asked_for_the_newest_first(
    ledger: Ledger, clock: Clock
) -> None:
    for number, owner in enumerate(("ada", "eve", "ada")):
        await ledger.note([a_notice(f"msg_{number}", owner=owner, task_name=f"t{number}")])
        clock.go(1)
    assert ids(await ledger.page(Channel.MAIL, limit=9)) == ["msg_2", "msg_1", "msg_0"]
    first, second = await ledger.page(Channel.MAIL, limit=2)
    place = (second.created_at, second.id)
    assert ids(await ledger.page(Channel.MAIL, behind=place, limit=2)) == ["msg_0"]
    assert ids(await ledger.page(Channel.MAIL, owner="ada", limit=9)) == ["msg_2", "msg_0"]
    assert ids(await ledger.page(Channel.MAIL, task="t1", limit=9)) == ["msg_1"]
    assert ids(await ledger.page(Channel.MAIL, recipient="nobody", limit=9)) == []
    assert first.event_id == "msg_2"


async def test_what_is_old_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    await ledger.note([a_notice("old")])
    clock.go(10)
    await ledger.note([a_notice("older"), a_notice("oldest")])
    clock.go(10)
    await ledger.note([a_notice("young")])
    until = clock() - timedelta(seconds=5)
    assert [await ledger.prune(until, limit=2) for _ in range(3)] == [2, 1, 0]
    assert ids(await ledger.page(Channel.MAIL, limit=9)) == ["young"]

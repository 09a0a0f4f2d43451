"""Subscriptions and what they are told, on a real server of each kind of database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api_support import eventually
from delivery_support import Rig, http_sender
from longtask_api.database.engine import Database
from longtask_api.stores.audit import Audit, Entry, Wanted
from longtask_api.stores.ledger import Channel, State
from longtask_api.stores.users import User, Users
from longtask_crds.testing import NOW
from receiver_support import Receiver, receiving


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with contextlib.aclosing(Database.at(database_url)) as made:
        yield made


@pytest.fixture
def rig(database: Database) -> Rig:
    return Rig(database)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_a_subscription_is_found_as_it_was_stored(rig: Rig) -> None:
    made = await rig.subscribe(
        "https://example.com/", filter={"queue": "gpu", "labels": {"a": "b"}}, description="x"
    )
    assert await rig.store.find(made.id) == made
    assert await rig.store.find("0" * 32) is None
    changed = await rig.store.change(made.id, events=("queued",), filter={}, paused=True)
    assert changed is not None
    assert (changed.events, changed.filter, changed.paused) == (("queued",), {}, True)
    assert await rig.store.find_to_tell(made.id) is None
    assert await rig.store.to_tell() == []
    assert await rig.store.change("0" * 32, paused=True) is None


async def test_texts_are_kept_as_they_are(rig: Rig) -> None:
    odd = {"type": "\x00", "labels": {"\u00e9\U0001f600": "'"}}
    made = await rig.subscribe("https://example.com/?\u00e9", filter=odd, description="\u00e9 '")
    assert await rig.store.find(made.id) == made


async def test_an_owner_has_only_so_many(rig: Rig) -> None:
    made = await rig.subscribe("https://example.com/")
    assert not await rig.store.add(made, most=1)


async def test_lists_come_page_by_page(rig: Rig) -> None:
    made = [await rig.subscribe(f"https://example.com/{n}") for n in range(5)]
    await rig.subscribe("https://example.com/", owner="eve")
    first = await rig.store.page(owner="ada", behind=None, limit=3)
    last = (first[-1].created_at, first[-1].id)
    second = await rig.store.page(owner="ada", behind=last, limit=3)
    assert sorted(one.id for one in first + second) == sorted(one.id for one in made)
    assert len(await rig.store.page(owner=None, behind=None, limit=9)) == 6


@pytest.mark.parametrize(
    ("change", "hears"),
    [
        ({}, {"own", "all"}),
        ({"role": "user"}, {"own"}),
        ({"role": "viewer"}, set()),
        ({"disabled_at": NOW}, set()),
    ],
)
async def test_who_is_told_follows_from_what_they_may(
    rig: Rig, database: Database, change: dict[str, Any], hears: set[str]
) -> None:
    await Users(database).add(User("boss", None, "admin", "x", NOW))
    for scope in ("own", "all"):
        await rig.subscribe("https://a.test/", owner="boss", is_local=True, scope=scope)
    if change:
        await Users(database).change("boss", **change)
    assert {one.scope for one in await rig.store.to_tell()} == hears
    assert await Users(database).remove("boss", at=NOW)
    assert await rig.store.to_tell() == []


async def test_what_goes_takes_its_deliveries_along(rig: Rig) -> None:
    made, other = [await rig.subscribe("https://a.test/") for _ in range(2)]
    await rig.note(made, "a", "b")
    await rig.note(other, "a")
    assert await rig.store.remove(made.id)
    assert not await rig.store.remove(made.id)
    assert await rig.rows(made) == {}
    assert set(await rig.rows(other)) == {"a"}


async def test_only_what_is_over_is_opened_again(rig: Rig) -> None:
    made = await rig.subscribe("https://a.test/")
    await rig.note(made, "early")
    rig.later(60)
    await rig.note(made, "sent", "up", "open")
    rows = await rig.rows(made)
    taken = {row.task_name: row for row in await rig.ledger.take(Channel.WEBHOOK, 9, 60)}
    await rig.ledger.sent([taken["sent"], taken["early"]])
    await rig.ledger.give_up([taken["up"]], "Exhausted")
    later = {"at": rig.now, "since": rig.began + timedelta(seconds=30)}
    assert await rig.store.reopen(made.id, states=(State.SENT,), **later) == 1
    assert await rig.store.reopen(made.id, ids=[rows["up"].id], at=rig.now) == 1
    assert await rig.store.reopen(made.id, ids=[rows["open"].id], at=rig.now) == 0
    assert await rig.store.reopen(made.id, at=rig.now, until=rig.began) == 0
    states = {name: row.state for name, row in (await rig.rows(made)).items()}
    assert states == {
        "early": State.SENT,
        "sent": State.PENDING,
        "up": State.PENDING,
        "open": State.PENDING,
    }


async def test_two_deliverers_send_nothing_doubly(
    database_url: str, rig: Rig, receiver: Receiver
) -> None:
    many = [await rig.subscribe(f"{receiver.url}/{n}") for n in range(6)]
    for n, to in enumerate(many):
        await rig.note(to, *(f"{n}-{k}" for k in range(25)))
    async with contextlib.aclosing(Database.at(database_url)) as another:
        replica = Rig(another)
        async with rig.delivering(), replica.delivering():

            async def are_sent() -> bool:
                if len(receiver.got) < 150:
                    return False  # a look at the database is in their way
                rows = [row for to in many for row in (await rig.rows(to)).values()]
                return all(row.state is State.SENT for row in rows)

            await eventually(are_sent)
    ids = [got.id for got in receiver.got]
    assert len(ids) == len(set(ids)) == 150


async def test_what_was_sent_and_never_recorded_comes_once_more(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing that comes twice: nobody can know whether the receiver had it."""
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    is_sent = asyncio.Event()

    async def dies(*_: Any, **__: Any) -> int:
        is_sent.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody rings")

    with monkeypatch.context() as patched:
        patched.setattr(rig.ledger, "sent", dies)
        async with http_sender() as sender:
            batch = await rig.ledger.take_of_one(Channel.WEBHOOK, 9, 300)
            dying = asyncio.create_task(rig.deliverer(sender).tell(batch))
            await is_sent.wait()
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
    async with rig.delivering():
        rig.later(299)
        assert (await rig.rows(to))["a"].state is State.PENDING
        assert len(receiver.got) == 1, "as long as it may be under way nobody sends it"
        rig.later(2)

        async def is_recorded() -> bool:
            return (await rig.rows(to))["a"].state is State.SENT

        await eventually(is_recorded)
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert (await rig.rows(to))["a"].tries == 2


# --- the audit


def an_act(number: int, **parts: Any) -> Entry:
    usual = {"door": "rest", "act": "createTask", "actor": "ada", "subject": "ada-1"}
    at = NOW + timedelta(seconds=number // 2)
    return Entry(f"{number:032x}", at, outcome="done", **usual | parts)


async def test_acts_are_found_as_they_were_stored_and_once(database: Database) -> None:
    audit = Audit(database)
    made = an_act(1, via="token", target="a", target_uid="u", status=202, detail={"ü": [1]})
    await audit.add([made])
    await audit.add([made, an_act(2)])
    await audit.add([])
    assert await audit.page(Wanted(), after=None, limit=9) == [an_act(2), made]


async def test_acts_come_the_newest_first_page_by_page(database: Database) -> None:
    audit = Audit(database)
    await audit.add([an_act(n, actor="ada" if n % 2 else "eve") for n in range(20)])
    found: list[Entry] = []
    while page := await audit.page(
        Wanted(), after=(found[-1].at, found[-1].id) if found else None, limit=7
    ):
        found += page
    assert [one.id for one in found] == [f"{n:032x}" for n in reversed(range(20))]
    eves = await audit.page(
        Wanted(actor="eve", since=NOW + timedelta(seconds=5)), after=None, limit=99
    )
    assert len(eves) == 5
    assert len(await audit.page(Wanted(actor="ada-1"), after=None, limit=99)) == 20
    assert await audit.remove(before=NOW + timedelta(seconds=5), limit=4) == 4
    assert await audit.remove(before=NOW + timedelta(seconds=5), limit=99) == 6
    assert len(await audit.page(Wanted(), after=None, limit=99)) == 10

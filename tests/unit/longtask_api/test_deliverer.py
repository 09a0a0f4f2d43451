"""Deliveries to subscriptions, over real sockets: what is sent, again, and given up."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp.abc
import pytest

from api_support import a_token, eventually
from delivery_support import KEY, LOOPBACK, Rig, http_sender
from longtask_adapters.testing import MemorySender
from longtask_api import errors
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import State
from longtask_api.stores.subscriptions import Subscription
from longtask_api.stores.users import Users
from longtask_crds import address_guard
from longtask_crds.testing import NOW
from receiver_support import Receiver, never, receiving, status


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
def rig(database: Database) -> Rig:
    return Rig(database)


async def until(rig: Rig, to: Subscription, name: str, **wanted: Any) -> None:
    """Wait until a row stands so."""

    async def is_so() -> bool:
        row = (await rig.rows(to))[name]
        return all(getattr(row, field) == value for field, value in wanted.items())

    await eventually(is_so)


async def test_a_receiver_gets_what_is_noted_and_can_verify_it(
    rig: Rig, receiver: Receiver
) -> None:
    to = await rig.subscribe(f"{receiver.url}/hook?a=b")
    await rig.note(to, "a")
    async with rig.delivering():
        await until(rig, to, "a", state=State.SENT)
    (got,) = receiver.got
    assert (got.path, got.id, got.said) == ("/hook?a=b", "msg_a", {"of": "a"})
    got.verify(KEY)
    assert rig.asked_keys_of == ["ada"]
    row = (await rig.rows(to))["a"]
    assert (row.tries, row.last_code, row.settled_at) == (1, 204, rig.began)


async def test_what_is_not_taken_comes_again_by_the_schedule(rig: Rig, receiver: Receiver) -> None:
    receiver.replies = [status(500), status(404), status(503)]
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    async with rig.delivering():
        await until(rig, to, "a", tries=1)
        row = (await rig.rows(to))["a"]
        assert (row.state, row.last_code) == (State.PENDING, 500)
        assert row.next_try_at is not None
        assert timedelta(seconds=4) <= row.next_try_at - rig.began <= timedelta(seconds=8)
        assert len(receiver.got) == 1, "not before it is due"
        rig.later(10)
        await until(rig, to, "a", tries=2)
        rig.later(400)
        await until(rig, to, "a", state=State.GIVEN_UP)
    row = (await rig.rows(to))["a"]
    assert (row.tries, row.last_code, row.last_error) == (3, 503, "Exhausted")
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    for got in receiver.got:
        got.verify(KEY)


async def test_who_asks_for_a_pause_gets_it(rig: Rig, receiver: Receiver) -> None:
    receiver.replies = [status(429, Retry_After="120")]
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    async with rig.delivering():
        await until(rig, to, "a", tries=1)
    row = (await rig.rows(to))["a"]
    assert row.next_try_at is not None
    assert row.next_try_at >= rig.began + timedelta(seconds=120)


async def test_who_is_gone_is_told_nothing_more(rig: Rig, receiver: Receiver) -> None:
    receiver.replies = [status(410)]
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    async with rig.delivering():
        await until(rig, to, "a", state=State.GIVEN_UP, last_error="Gone")

        async def is_paused() -> bool:
            found = await rig.store.find(to.id)
            return found is not None and (found.paused, found.paused_reason) == (True, "Gone")

        await eventually(is_paused)
        await rig.note(to, "b")
        await until(rig, to, "b", state=State.DROPPED)
    assert len(receiver.got) == 1


async def test_a_receiver_that_is_down_delays_no_other(rig: Rig, receiver: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        down = await rig.subscribe(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        up = await rig.subscribe(receiver.url)
        await rig.note(down, *(f"d{n}" for n in range(50)))
        await rig.note(up, *(f"u{n}" for n in range(50)))
        async with rig.delivering():
            for n in range(50):
                await until(rig, up, f"u{n}", state=State.SENT)

            async def is_known() -> bool:
                rows = (await rig.rows(down)).values()
                return any(row.last_error == "ConnectionFailed" for row in rows)

            await eventually(is_known)
    tried = [row for row in (await rig.rows(down)).values() if row.tries]
    assert len(tried) <= 6, "two of twenty that are taken together: the rest costs no try"
    assert all(row.state is State.PENDING for row in (await rig.rows(down)).values())


async def test_a_slow_receiver_delays_no_other(rig: Rig, receiver: Receiver) -> None:
    async with receiving() as slow, http_sender(seconds=10) as sender:
        slow.always = never
        waits = await rig.subscribe(slow.url)
        up = await rig.subscribe(receiver.url)
        await rig.note(waits, "a")
        await rig.note(up, "b")
        async with rig.delivering(sender):
            await until(rig, up, "b", state=State.SENT)
            assert (await rig.rows(waits))["a"].tries == 0
            await until(rig, waits, "a", tries=1, last_error="Timeout")


class LeadsInside(aiohttp.abc.AbstractResolver):
    """Leads every name to an address that may not be called."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        found = {
            "hostname": host,
            "host": "169.254.169.254",
            "port": port,
            "family": socket.AF_INET,
        }
        return [found | {"proto": 0, "flags": socket.AI_NUMERICHOST}]

    async def close(self) -> None:
        """Do nothing."""


async def test_a_name_that_leads_inside_gets_no_socket(rig: Rig) -> None:
    guard = address_guard.Guard.from_lists(allow=[])
    to = await rig.subscribe("https://inside.example.com/")
    await rig.note(to, "a")
    async with http_sender(guard=guard, resolver=LeadsInside()) as sender, rig.delivering(sender):
        await until(rig, to, "a", tries=1, last_error="ResolvedAddressRefused")


async def test_what_may_not_be_called_any_more_is_given_up(rig: Rig, receiver: Receiver) -> None:
    guard = address_guard.Guard.from_lists(allow=[])
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    async with http_sender(guard=guard) as sender, rig.delivering(sender):
        await until(rig, to, "a", state=State.GIVEN_UP, last_error="AddressRefused")
    assert receiver.got == []


async def test_a_redirect_is_followed_nowhere(rig: Rig, receiver: Receiver) -> None:
    receiver.replies = [status(302, Location=f"{receiver.url}/elsewhere")]
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    async with rig.delivering():
        await until(rig, to, "a", tries=1, last_code=302)
    assert len(receiver.got) == 1


async def test_who_may_hear_no_more_is_told_nothing(
    rig: Rig, receiver: Receiver, database: Database
) -> None:
    users = Users(database)
    await a_token(users, "boss", role="admin")
    of_all = await rig.subscribe(receiver.url, owner="boss", is_local=True, scope="all")
    own = await rig.subscribe(receiver.url, owner="boss", is_local=True)
    gone = dataclasses.replace(own, id="0" * 32)
    paused = await rig.subscribe(receiver.url, paused=True)
    await users.change("boss", role="user")
    for name, to in (("all", of_all), ("own", own), ("gone", gone), ("paused", paused)):
        await rig.note(to, name)
    async with rig.delivering():
        await until(rig, own, "own", state=State.SENT)
        for name, to in (("all", of_all), ("gone", gone), ("paused", paused)):
            await until(rig, to, name, state=State.DROPPED, last_error="Unwanted")
        await users.change("boss", disabled_at=NOW)
        await rig.note(own, "later")
        await until(rig, own, "later", state=State.DROPPED)
    assert [got.id for got in receiver.got] == ["msg_own"]


async def test_what_cannot_be_signed_waits_and_costs_no_try(rig: Rig, receiver: Receiver) -> None:
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    keys, is_away = rig.keys, True

    async def sometimes(owner: str) -> list[str]:
        if is_away:
            raise errors.Unavailable("The Secret is missing.")
        return await keys(owner)

    rig.keys = sometimes  # type: ignore[method-assign]
    async with rig.delivering():
        await until(rig, to, "a", next_try_at=rig.began + timedelta(minutes=1), tries=0)
        is_away = False
        rig.later(60)
        await until(rig, to, "a", state=State.SENT, tries=1)


async def test_what_nobody_can_send_keeps_no_other_back_and_is_given_up(rig: Rig) -> None:
    class Falling(MemorySender):
        async def send(self, *arguments: Any, webhook_id: str, **words: Any) -> Any:
            if webhook_id == "msg_bad":
                raise RuntimeError("of this one there is nothing to send")
            return await super().send(*arguments, webhook_id=webhook_id, **words)

    to = await rig.subscribe("https://example.com/")
    await rig.note(to, "bad", "a", "b", "c")
    async with rig.delivering(Falling()):
        for name in ("a", "b", "c"):
            await until(rig, to, name, state=State.SENT, tries=1)
        for tries in range(1, len(rig.schedule)):
            rig.later(300)
            await until(rig, to, "bad", state=State.PENDING, tries=tries)
        rig.later(300)
        await until(rig, to, "bad", state=State.GIVEN_UP, last_error="NeverNoted")


async def test_who_gets_no_turn_has_not_been_tried(rig: Rig) -> None:
    class Busy(MemorySender):
        async def send(self, *_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

    to = await rig.subscribe("https://example.com/")
    await rig.note(to, "a")
    async with rig.delivering(Busy(), turn_seconds=0.01):
        await until(rig, to, "a", next_try_at=rig.began + timedelta(minutes=1), tries=0)


async def test_a_database_that_comes_back_learns_what_was_sent(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a")
    sent, failures = rig.ledger.sent, 3

    async def sometimes(*arguments: Any, **words: Any) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.DatabaseAway
        return await sent(*arguments, **words)

    monkeypatch.setattr(rig.ledger, "sent", sometimes)
    async with rig.delivering():
        await until(rig, to, "a", state=State.SENT)
    assert len(receiver.got) == 1


async def test_what_was_asked_for_again_is_sent_again(rig: Rig, receiver: Receiver) -> None:
    to = await rig.subscribe(receiver.url)
    await rig.note(to, "a", "b")
    async with rig.delivering():
        for name in ("a", "b"):
            await until(rig, to, name, state=State.SENT)
        row = (await rig.rows(to))["a"]
        assert await rig.store.reopen(to.id, at=rig.now, ids=[row.id]) == 1

        async def is_there_again() -> bool:
            return [got.id for got in receiver.got].count("msg_a") == 2

        await eventually(is_there_again)
        await until(rig, to, "a", state=State.SENT, tries=1)
    assert len({got.body for got in receiver.got if got.id == "msg_a"}) == 1


def test_the_guard_of_these_tests_is_a_guard() -> None:
    with pytest.raises(address_guard.Refused):
        LOOPBACK.check_url("http://10.0.0.1/")

"""Mailers of several replicas over one database, on a real server of each kind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import smtp_support
from api_support import a_token
from clock_support import Clock
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import Channel
from longtask_api.stores.users import Users
from longtask_crds.testing import NOW
from mail_support import Replica, a_notice
from smtp_support import Server

SUPPORT = Path(__file__).parents[1] / "support"
#: A replica's process that is killed when the mail server has taken a mail, and nobody noted it.
KILLED = """
import asyncio, contextlib, os, signal, sys
from clock_support import Clock
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import Ledger
from mail_support import Replica

class Killed(Ledger):
    async def sent(self, entries, **values):
        os.kill(os.getpid(), signal.SIGKILL)

async def main(url, port):
    clock = Clock()
    async with contextlib.aclosing(Database.at(url)) as database:
        await Replica(database, clock, int(port), ledger=Killed(database, clock=clock)).serve()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with smtp_support.running() as made:
        yield made


@pytest.fixture
async def replicas(
    database_url: str, clock: Clock, server: Server
) -> AsyncIterator[tuple[Replica, Replica]]:
    async with contextlib.AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(contextlib.aclosing(Database.at(database_url)))
            for _ in range(2)
        ]
        yield Replica(one, clock, server.port), Replica(other, clock, server.port)


def pairs(server: Server) -> list[tuple[str, str]]:
    """Return which address got which mail."""
    return sorted((str(mail["To"]), str(mail["Message-ID"])) for mail in server.taken)


async def test_two_at_once_send_each_mail_once(
    replicas: tuple[Replica, Replica], server: Server
) -> None:
    notices = [
        a_notice(task=f"t{task}", to=f"{name}@b.test") for name in "abcdefgh" for task in range(4)
    ]
    # Both hear of everything, and both note it.
    await asyncio.gather(*(one.note(*notices) for one in replicas))
    await asyncio.gather(*(one.serve() for one in replicas for _ in range(3)))
    assert len(server.taken) == 32
    assert len(set(pairs(server))) == 32
    assert {state for _, state, _ in await replicas[0].states()} == {"sent"}


async def test_two_at_once_keep_to_one_mail_a_minute_and_twenty_an_hour(
    replicas: tuple[Replica, Replica], server: Server, clock: Clock
) -> None:
    for number in range(6):
        events = [a_notice(f"event-{number}", f"t{task}") for task in range(5)]
        await replicas[number % 2].note(*events)
        await asyncio.gather(*(one.serve() for one in replicas for _ in range(2)))
        clock.go(30)
    # Of five tasks a mail each minute: the first in which nobody waits, then two events in one.
    assert len(server.taken) == 15
    clock.go(60)
    await asyncio.gather(*(one.serve() for one in replicas for _ in range(2)))
    assert len(server.taken) == 20
    await replicas[0].note(*(a_notice(task=f"u{task}") for task in range(5)))
    clock.go(60)
    await asyncio.gather(*(one.serve() for one in replicas for _ in range(2)))
    assert len(server.taken) == 20
    clock.go(3600)
    await asyncio.gather(*(one.serve() for one in replicas for _ in range(2)))
    assert len(server.taken) == 25
    assert {state for _, state, _ in await replicas[0].states()} == {"sent"}


async def test_who_is_killed_leaves_at_most_one_double(
    database_url: str, replicas: tuple[Replica, Replica], server: Server, clock: Clock
) -> None:
    await replicas[0].note(a_notice())
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, database_url, str(server.port)),
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await killed.communicate()
    assert (killed.returncode, told) == (-signal.SIGKILL, b"")
    assert len(server.taken) == 1
    assert await replicas[0].states() == [("report succeeded", "pending", None)]
    for _ in range(4):
        await asyncio.gather(*(one.serve() for one in replicas for _ in range(2)))
        clock.go(200)
    assert len(server.taken) == 2
    # Whoever keeps mails sees that it is the same.
    assert len(set(pairs(server))) == 1
    (entry,) = await replicas[0].ledger.page(Channel.MAIL, limit=9)
    assert (str(entry.state), entry.tries) == ("sent", 2)


async def test_what_accounts_say_of_mails(
    database_url: str, replicas: tuple[Replica, Replica]
) -> None:
    store = replicas[0].store
    async with contextlib.aclosing(Database.at(database_url)) as database:
        users = Users(database)
        await a_token(users, "ann")
        assert await store.set_events("ann", ("failed", "queued"), at=NOW)
        assert not await store.set_events("nobody", (), at=NOW)
        # Nobody is mailed at an address that may be another's.
        assert await store.wishes() == []
        assert await store.verify("ann", "Ann@Home.test", at=NOW)
        (wish,) = await store.wishes()
        assert (wish.email, wish.events, wish.since) == ("Ann@Home.test", ("failed", "queued"), NOW)
        assert (await store.standing("ann@home.TEST")).is_verified
        for _ in range(2):
            await store.mute("ann@home.test", at=NOW)
        assert (await store.standing("Ann@home.test")).is_muted
        # Whoever confirms an address wants mails there.
        await store.verify("ann", "ann@home.test", at=NOW)
        assert not (await store.standing("ann@home.test")).is_muted
        await users.change("ann", disabled_at=NOW)
        assert await store.wishes() == []
        assert not (await store.standing("ann@home.test")).is_verified
        await users.change("ann", disabled_at=None)
        await users.remove("ann", at=NOW)
        assert await store.wish_of("ann") is None
        assert not (await store.standing("ann@home.test")).is_verified

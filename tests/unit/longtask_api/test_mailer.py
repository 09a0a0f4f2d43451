"""The mailer: each event once, against real mail servers. The clock is set, nobody waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

import smtp_support
from api_support import a_token, eventually
from clock_support import Clock
from longtask_api import errors
from longtask_api.database.engine import Database
from longtask_api.mail import addresses, message, smtp
from longtask_api.stores.ledger import Channel, Entry, Ledger
from longtask_api.stores.users import Users
from longtask_api.workers import mail_pace, mailer
from longtask_crds.testing import NOW
from mail_support import ADA, Replica, a_notice, subjects
from smtp_support import Server

NOBODY = addresses.Guard.of(domains=[], recipients=[])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with smtp_support.running() as made:
        yield made


@pytest.fixture
def down() -> Iterator[Server]:
    with smtp_support.down() as made:
        yield made


@pytest.fixture
def replica(database: Database, clock: Clock, server: Server) -> Replica:
    return Replica(database, clock, server.port)


async def test_an_event_is_mailed_once(replica: Replica, server: Server, clock: Clock) -> None:
    await replica.note(a_notice(), a_notice(to="eve@example.com"))
    for _ in range(3):
        await replica.serve()
        await replica.note(a_notice())
        clock.go(3600)
    assert sorted(server.recipients) == [ADA, "eve@example.com"]
    assert subjects(server.taken) == ["report: succeeded"] * 2
    assert [state for _, state, _ in await replica.states()] == ["sent", "sent"]
    assert (
        replica.metrics.registry.get_sample_value("longtask_api_mails_total", {"outcome": "sent"})
        == 2
    )


async def test_who_is_refused_is_given_up_and_it_is_seen(
    replica: Replica, server: Server, clock: Clock
) -> None:
    server.rcpt = ["550 5.1.1 there is no such user, and a secret of the server's"]
    await replica.note(a_notice())
    await replica.serve()
    clock.go(86_400)
    await replica.serve()
    assert server.taken == []
    assert await replica.states() == [("report succeeded", "given_up", "Refused 5.1.1")]
    (entry,) = await replica.ledger.page(Channel.MAIL, limit=9)
    assert (entry.last_code, entry.tries) == (550, 1)


async def test_greylisting_is_waited_for(replica: Replica, server: Server, clock: Clock) -> None:
    server.rcpt = ["451 4.7.1 Greylisted, come again"] * 2
    await replica.note(a_notice())
    await replica.serve()
    assert await replica.states() == [("report succeeded", "pending", "NotNow 4.7.1")]
    clock.go(59)
    await replica.serve()
    assert len(server.rcpt) == 1  # nobody came yet
    clock.go(60)
    await replica.serve()
    assert await replica.states() == [("report succeeded", "pending", "NotNow 4.7.1")]
    clock.go(360)
    await replica.serve()
    clock.go(86_400)
    await replica.serve()
    assert subjects(server.taken) == ["report: succeeded"]


async def test_a_server_that_is_down_for_a_while_misses_nothing(
    database: Database, clock: Clock, down: Server
) -> None:
    replica = Replica(database, clock, down.port)
    await replica.note(*(a_notice(task=f"t{number}", to=f"{number}@b.test") for number in range(3)))
    await replica.serve()
    assert {error for _, _, error in await replica.states()} == {"ConnectionFailed"}
    async with smtp_support.running(down):
        await replica.serve()
        assert down.taken == []
        clock.go(3600)
        await replica.serve()
        clock.go(86_400)
        await replica.serve()
    assert sorted(down.recipients) == ["0@b.test", "1@b.test", "2@b.test"]


async def test_a_server_that_is_away_is_asked_once_and_not_for_each_mail(
    database: Database, clock: Clock, down: Server
) -> None:
    replica = Replica(database, clock, down.port)
    await replica.note(*(a_notice(task=f"t{number}") for number in range(5)))
    await replica.serve()
    found = await replica.ledger.page(Channel.MAIL, limit=9)
    assert sorted(entry.tries for entry in found) == [0, 0, 0, 0, 1]
    async with smtp_support.running(down):
        clock.go(3600)
        await replica.serve()
    assert len(down.taken) == 5


async def test_after_a_day_it_is_given_up(database: Database, clock: Clock, down: Server) -> None:
    replica = Replica(database, clock, down.port)
    await replica.note(a_notice())
    while [state for _, state, _ in await replica.states()] == ["pending"]:
        due = await replica.ledger.next_due(Channel.MAIL)
        assert due is not None
        clock.now = due
        await replica.serve()
    assert timedelta(hours=23) < clock.now - NOW < timedelta(hours=30)
    (entry,) = await replica.ledger.page(Channel.MAIL, limit=9)
    assert (entry.state, entry.tries) == ("given_up", len(mailer.PAUSES) + 1)


async def test_a_slow_server_is_asked_again(
    database: Database, clock: Clock, server: Server
) -> None:
    replica = Replica(database, clock, server.port, seconds=10)
    server.wait = asyncio.Event().wait
    await replica.note(a_notice())
    await replica.serve()
    assert await replica.states() == [("report succeeded", "pending", "Timeout")]
    server.wait = None
    clock.go(3600)
    await replica.serve()
    assert subjects(server.taken) == ["report: succeeded"]


async def test_no_mail_is_begun_that_could_outlast_its_lease(
    replica: Replica, server: Server, clock: Clock
) -> None:
    async def take_long() -> None:
        clock.go(100)

    server.wait = take_long
    await replica.note(*(a_notice(task=f"t{number}") for number in range(5)))
    await replica.mailer.serve()
    # Three take 300 seconds, and the rows are held for 240.
    assert len(server.taken) == 3
    await replica.serve()
    assert sorted(subjects(server.taken)) == [f"t{number}: succeeded" for number in range(5)]


# --- when somebody dies


class Dying(Ledger):
    """Of a replica that is killed when the mail server has taken a mail, and nobody noted it."""

    async def sent(self, entries: Sequence[Entry], **_: Any) -> int:
        raise asyncio.CancelledError


async def test_who_is_killed_between_accepted_and_noted_makes_one_double(
    database: Database, clock: Clock, server: Server
) -> None:
    dying = Replica(database, clock, server.port, ledger=Dying(database, clock=clock))
    await dying.note(a_notice())
    with pytest.raises(asyncio.CancelledError):
        await dying.serve()
    assert len(server.taken) == 1
    heir = Replica(database, clock, server.port)
    clock.go(200)
    await heir.serve()
    assert len(server.taken) == 1  # who holds it may still be alive
    for _ in range(5):
        clock.go(3600)
        await heir.serve()
    # Once more, and whoever keeps mails sees that it is the same.
    first, second = server.taken
    assert first["Message-ID"] == second["Message-ID"]
    (entry,) = await heir.ledger.page(Channel.MAIL, limit=9)
    assert (entry.state, entry.tries) == ("sent", 2)


async def test_what_kills_whoever_sends_it_is_not_sent_for_ever(
    database: Database, clock: Clock, server: Server
) -> None:
    await Ledger(database, clock=clock).note([a_notice()])
    for _ in range(len(mailer.PAUSES) + 1):
        dying = Replica(database, clock, server.port, ledger=Dying(database, clock=clock))
        with pytest.raises(asyncio.CancelledError):
            await dying.serve()
        clock.go(240)
    heir = Replica(database, clock, server.port)
    await heir.serve()
    assert await heir.states() == [("report succeeded", "given_up", "NeverNoted")]
    assert len(server.taken) == len(mailer.PAUSES) + 1


async def test_what_was_sent_while_the_database_was_away_is_not_sent_again(
    database: Database, clock: Clock, server: Server
) -> None:
    class Away(Ledger):
        is_away = True

        async def sent(self, entries: Sequence[Entry], **values: Any) -> int:
            if self.is_away:
                raise errors.DatabaseAway
            return await super().sent(entries, **values)

    away = Away(database, clock=clock)
    replica = Replica(database, clock, server.port, ledger=away)
    await replica.note(a_notice())
    with pytest.raises(errors.DatabaseAway):
        await replica.serve()
    away.is_away = False
    clock.go(3600)
    await replica.serve()
    assert len(server.taken) == 1
    assert [state for _, state, _ in await replica.states()] == ["sent"]


# --- how much somebody gets


async def test_of_one_task_there_is_one_mail_a_minute(
    replica: Replica, server: Server, clock: Clock
) -> None:
    await replica.note(a_notice("queued"))
    await replica.serve()
    clock.go(2)
    await replica.note(a_notice("started", sequence=2), a_notice(task="another"))
    await replica.serve()
    clock.go(10)
    await replica.note(a_notice("failed", sequence=3))
    await replica.serve()
    assert subjects(server.taken) == ["report: queued", "another: succeeded"]
    clock.go(47)
    await replica.serve()
    assert len(server.taken) == 2
    clock.go(1)
    await replica.serve()
    assert subjects(server.taken)[2:] == ["report: failed"]
    text = server.taken[2].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert text.index("report: started") < text.index("report: failed")
    assert [state for _, state, _ in await replica.states()] == ["sent"] * 4
    (one, other) = [
        entry.batch
        for entry in await replica.ledger.page(Channel.MAIL, task="report", limit=9)
        if entry.event in ("started", "failed")
    ]
    assert one == other
    assert server.taken[2]["Message-ID"] == f"<{one}@example.org>"


async def test_above_twenty_an_hour_one_mail_tells_all(
    replica: Replica, server: Server, clock: Clock
) -> None:
    for number in range(25):
        await replica.note(a_notice(task=f"t{number:02}"))
        await replica.serve()
        clock.go(60)
    assert len(server.taken) == 20
    await replica.note(a_notice(task="other", to="eve@example.com"))
    await replica.serve()
    assert len(server.taken) == 21  # that is another's hour
    clock.now = NOW + timedelta(minutes=59, seconds=59)
    await replica.serve()
    assert len(server.taken) == 21
    clock.go(1)
    await replica.serve()
    assert subjects(server.taken)[21:] == ["5 events of 5 tasks"]
    assert {state for _, state, _ in await replica.states()} == {"sent"}


async def test_what_is_too_much_at_once_is_one_mail(replica: Replica, server: Server) -> None:
    await replica.note(*(a_notice(task=f"t{number:03}") for number in range(120)))
    await replica.serve()
    assert subjects(server.taken) == ["120 events of 120 tasks"]


# --- who may be mailed, and who wants to be


async def test_nobody_relays_through_it(database: Database, clock: Clock, server: Server) -> None:
    replica = Replica(
        database,
        clock,
        server.port,
        guard=addresses.Guard.of(domains=["example.com"], recipients=["joe@other.test"]),
    )
    users = Users(database)
    await a_token(users, "ann")
    await replica.store.verify("ann", "Ann@Home.test", at=NOW)
    await a_token(users, "bob")
    await users.change("bob", email="bob@home.test")
    allowed = ["a@example.com", "joe@other.test", "ann@home.test"]
    refused = ["eve@other.test", "bob@home.test"]
    for address in (
        *allowed,
        *refused,
        "no address",
        "a@b.test,c@d.test",
        "a@b.test\r\nBcc: e@f.g",
    ):
        await replica.note(a_notice(task=address[:20], to=address))
    await replica.serve()
    assert sorted(server.recipients) == sorted(allowed)
    assert [(error, state) for _, state, error in await replica.states() if error] == [
        *[("NotAnAddress", "dropped")] * 2,
        ("RecipientNotAllowed", "dropped"),
        ("RecipientNotAllowed", "dropped"),
        ("NotAnAddress", "dropped"),
    ]


async def test_who_wants_no_mails_gets_none(replica: Replica, server: Server) -> None:
    await replica.store.mute("ADA@example.com", at=NOW)
    await replica.store.mute(ADA, at=NOW)
    await replica.note(a_notice())
    await replica.serve()
    assert server.taken == []
    assert await replica.states() == [("report succeeded", "dropped", "Unsubscribed")]


async def test_a_code_is_alone_in_its_mail_and_goes_to_any_address(
    database: Database, clock: Clock, server: Server
) -> None:
    replica = Replica(database, clock, server.port, guard=NOBODY)
    await replica.store.mute(ADA, at=NOW)
    said = message.Said(event=message.VERIFICATION, kind="account", name="ada")
    await replica.note(
        a_notice(message.VERIFICATION, task="", document=said.document()), a_notice()
    )
    await replica.serve()
    (mail,) = server.taken
    assert mail["Subject"] == "Confirm this address for ada"
    assert "longtask mail confirm" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert mail["List-Unsubscribe"] is None


async def test_an_installation_that_sends_none_logs_them(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica(database, clock, 1, guard=NOBODY, door=smtp.LogDoor())
    await replica.note(a_notice())
    with caplog.at_level("INFO"):
        await replica.serve()
    assert await replica.states() == [("report succeeded", "logged", None)]
    assert [vars(one)["subject"] for one in caplog.records if one.message == "Logged mail"] == [
        "report: succeeded"
    ]


async def test_one_mail_that_cannot_be_made_keeps_no_other_back(
    replica: Replica, server: Server
) -> None:
    await replica.note(a_notice(task="bad", document="no JSON"), a_notice())
    await replica.serve()
    assert subjects(server.taken) == ["report: succeeded"]
    assert ("bad succeeded", "pending", "NotMade") in await replica.states()


async def test_the_loop_sends_what_it_is_woken_for(replica: Replica, server: Server) -> None:
    loop = asyncio.create_task(replica.mailer.run())
    try:
        await replica.note(a_notice())
        replica.mailer.wake()

        async def has_come() -> bool:
            return len(server.taken) == 1

        await eventually(has_come)
    finally:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop


# --- the pace alone


def an_entry(task: str, event: str = "succeeded") -> Entry:
    notice = a_notice(event, task)
    return Entry(
        **vars(notice),
        id=f"{task} {event}",
        state="pending",  # type: ignore[arg-type]
        tries=0,
        next_try_at=NOW,
        taken_by="me",
        last_code=None,
        last_error=None,
        batch=None,
        created_at=NOW,
        settled_at=None,
    )


def ids(groups: Iterable[Iterable[Entry]]) -> list[list[str]]:
    return [[entry.task_name for entry in group] for group in groups]


def told(*tasks: str, ago: float = 120) -> list[mail_pace.Told]:
    return [
        mail_pace.Told(NOW - timedelta(seconds=ago), f"uid-of-{task}", f"mail-{task}")
        for task in tasks
    ]


def test_who_was_told_nothing_is_told_at_once() -> None:
    plan = mail_pace.plan([an_entry("a"), an_entry("b"), an_entry("a", "x")], [], now=NOW)
    assert (ids(plan.mails), plan.later) == ([["a", "a"], ["b"]], ())


def test_a_digest_counts_as_one_mail() -> None:
    digest = [one._replace(batch="digest") for one in told(*map(str, range(30)))]
    many = [an_entry(f"t{number}") for number in range(19)]
    assert len(mail_pace.plan(many, digest, now=NOW).mails) == 19
    assert len(mail_pace.plan([*many, an_entry("u")], digest, now=NOW).mails) == 1


def test_what_is_an_hour_ago_counts_no_more() -> None:
    old = told(*map(str, range(30)), ago=3600)
    assert len(mail_pace.plan([an_entry("a")], old, now=NOW).mails) == 1

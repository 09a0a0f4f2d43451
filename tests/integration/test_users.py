"""Accounts as the databases keep them, on a real server of each kind."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from longtask_api.database.engine import Database
from longtask_api.stores.users import Invite, InviteUnknown, NameTaken, Token, User, Users
from longtask_crds.testing import NOW

ADA = User("ada", "ada@example.com", "user", "hash of a password", NOW)
TOKEN = Token("t", "sum", "ada", "personal", "nightly", ("read", "write"), NOW, NOW)
INVITE = Invite("i", "sum", "admin", "Ada", "root", NOW, NOW + timedelta(days=1))
LATER = NOW + timedelta(days=1)


@pytest.fixture
async def users(database_url: str) -> AsyncIterator[Users]:
    async with contextlib.aclosing(Database.at(database_url)) as database:
        yield Users(database)


def a_user(name: str) -> User:
    return dataclasses.replace(ADA, username=name)


def a_token(name: str, **parts: object) -> Token:
    made = dataclasses.replace(TOKEN, id=name, digest=f"sum of {name}", expires_at=LATER)
    return dataclasses.replace(made, **parts)  # type: ignore[arg-type]


async def test_a_user_is_found_as_they_were_stored(users: Users) -> None:
    assert await users.add(ADA) == ADA
    assert await users.find("ada") == ADA
    assert await users.find("eve") is None
    changed = await users.change("ada", role="admin", disabled_at=LATER)
    assert changed == dataclasses.replace(ADA, role="admin", disabled_at=LATER)
    assert await users.find("ada") == changed
    assert await users.change("eve", role="admin") is None


async def test_of_many_at_once_one_has_the_name(users: Users) -> None:
    added = await asyncio.gather(*(users.add(ADA) for _ in range(10)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in added) == ["NameTaken"] * 9 + ["User"]


async def test_of_many_at_once_one_has_the_invitation(users: Users) -> None:
    await users.add_invite(INVITE)
    names = [f"user-{number}" for number in range(10)]
    added = await asyncio.gather(
        *(users.add(a_user(name), invite="sum") for name in names), return_exceptions=True
    )
    (made,) = [one for one in added if isinstance(one, User)]
    assert made.role == "admin"
    assert sum(isinstance(one, InviteUnknown) for one in added) == 9
    assert [user.username for user in await users.page(after="", limit=50)] == [made.username]
    assert await users.invites(at=NOW, limit=9) == []


async def test_a_taken_name_leaves_the_invitation(users: Users) -> None:
    await users.add(ADA)
    await users.add_invite(INVITE)
    with pytest.raises(NameTaken):
        await users.add(ADA, invite="sum")
    assert await users.invites(at=NOW, limit=9) == [INVITE]
    assert await users.remove_invite("i")
    assert not await users.remove_invite("i")


async def test_users_come_in_the_order_of_their_names(users: Users) -> None:
    # As Python has it, whatever the server's language.
    names = sorted(["b_b", "b-a", "b.c", "ba", "a9", "aa", "eve"])
    for name in reversed(names):
        await users.add(a_user(name))
    found = [user.username for user in await users.page(after="", limit=4)]
    found += [user.username for user in await users.page(after=found[-1], limit=4)]
    assert found == names


async def test_a_token_tells_whose_it_is(users: Users) -> None:
    await users.add(ADA)
    token = a_token("a")
    assert await users.add_token(token, most=9)
    assert await users.bearer("sum of a") == (token, ADA)
    assert await users.bearer("another") is None
    assert await users.tokens_of("ada", at=NOW) == [token]
    assert await users.tokens_of("ada", at=LATER) == []
    assert not await users.remove_token("eve", "a")
    assert await users.remove_token("ada", "a")
    assert await users.bearer("sum of a") is None


async def test_no_more_tokens_than_may_be_even_at_once(users: Users) -> None:
    await users.add(ADA)
    tokens = [a_token(f"t{number}") for number in range(10)]
    added = await asyncio.gather(*(users.add_token(token, most=3) for token in tokens))
    assert sum(added) == 3
    # A session takes the place of the oldest.
    sessions = [
        a_token(f"s{number}", kind="session", created_at=NOW + timedelta(seconds=number))
        for number in range(5)
    ]
    for session in sessions:
        assert await users.add_token(session, most=3)
    left = [token.id for token in await users.tokens_of("ada", at=NOW) if token.kind == "session"]
    assert left == ["s4", "s3", "s2"]


async def test_who_is_kept_out_or_gone_gets_no_token(users: Users) -> None:
    for name in ("ada", "eve"):
        await users.add(a_user(name))
    await users.change("ada", disabled_at=NOW)
    await users.remove("eve", at=NOW)
    for name in ("ada", "eve", "nobody"):
        assert not await users.add_token(a_token(name, username=name), most=9)


async def test_a_password_is_changed_by_who_knew_it(users: Users) -> None:
    await users.add(ADA)
    for token in (a_token("a"), a_token("b", kind="session"), a_token("c", kind="session")):
        await users.add_token(token, most=9)
    assert await users.set_password(ADA, "new", ends=["session"], but="c")
    assert {token.id for token in await users.tokens_of("ada", at=NOW)} == {"a", "c"}
    # Whoever looked before that has another in mind.
    assert not await users.set_password(ADA, "newer", ends=["session", "personal"])
    assert len(await users.tokens_of("ada", at=NOW)) == 2
    await users.rehash(ADA, "newest")
    found = await users.find("ada")
    assert found is not None
    assert found.password_hash == "new"
    await users.rehash(found, "newest")
    assert await users.find("ada") == dataclasses.replace(ADA, password_hash="newest")


async def test_of_who_is_removed_the_name_alone_is_left(users: Users) -> None:
    await users.add(ADA)
    await users.add_token(a_token("a"), most=9)
    assert await users.remove("ada", at=NOW)
    assert not await users.remove("ada", at=NOW)
    assert await users.find("ada") is None
    assert await users.page(after="", limit=9) == []
    assert await users.bearer("sum of a") is None
    assert await users.tokens_of("ada", at=NOW) == []
    with pytest.raises(NameTaken):
        await users.add(ADA)


async def test_what_has_expired_is_forgotten(users: Users) -> None:
    await users.add(ADA)
    await users.add_token(a_token("old", expires_at=NOW), most=9)
    await users.add_token(a_token("young"), most=9)
    await users.add_invite(dataclasses.replace(INVITE, expires_at=NOW))
    assert await users.remove_expired(before=NOW) == 2
    assert await users.remove_expired(before=NOW) == 0
    assert [token.id for token in await users.tokens_of("ada", at=NOW)] == ["young"]

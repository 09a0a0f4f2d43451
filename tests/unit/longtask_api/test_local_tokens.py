"""Who bears a token of a user of LongTask's own, and for how long that is believed."""

from datetime import timedelta

import pytest

from api_support import a_token
from longtask_api import errors
from longtask_api.auth.callers import Act, Role, Via
from longtask_api.database.engine import Database
from longtask_api.services.accounts import local_tokens
from longtask_api.services.accounts.local_tokens import LocalTokens
from longtask_api.stores.users import Token, User, Users
from longtask_crds.testing import NOW


class Desk:
    """Where tokens are shown, at times of the test's choice; as at one of several replicas."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.now = NOW
        self.seconds = 100.0
        self.tokens = LocalTokens(users, clock=lambda: self.now, monotonic=lambda: self.seconds)

    async def is_known(self, token: str) -> bool:
        try:
            return await self.tokens.caller(token) is not None
        except errors.Unauthenticated:
            return False


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(Users(database))


@pytest.mark.parametrize(
    ("role", "kind", "scopes", "acts", "sees_all"),
    [
        pytest.param("viewer", "session", Act, {Act.READ}, False, id="a-viewer"),
        pytest.param("user", "session", Act, {Act.READ, Act.WRITE}, False, id="a-user"),
        pytest.param("admin", "session", Act, set(Act), True, id="an-admin"),
        pytest.param("user", "personal", ["read"], {Act.READ}, False, id="a-token-to-read"),
        pytest.param("viewer", "personal", Act, {Act.READ}, False, id="no-more-than-the-role"),
        pytest.param(
            "admin",
            "personal",
            ["read", "write"],
            {Act.READ, Act.WRITE},
            False,
            id="an-admins-token-to-work-with",
        ),
    ],
)
async def test_what_a_bearer_may(
    desk: Desk, role: str, kind: str, scopes: list[str], acts: set[Act], sees_all: bool
) -> None:
    token = await a_token(desk.users, "ada", role=role, kind=kind, scopes=scopes)
    caller = await desk.tokens.caller(token)
    assert caller is not None
    assert (caller.subject, caller.name, caller.role) == ("ada", "ada", Role(role))
    assert (caller.acts, caller.sees_all) == (acts, sees_all)
    assert caller.via is (Via.SESSION if kind == "session" else Via.TOKEN)


async def test_a_revoked_one_is_refused_within_five_seconds(desk: Desk) -> None:
    token = await a_token(desk.users, "ada")
    assert await desk.is_known(token)
    # At another replica.
    (stored,) = await desk.users.tokens_of("ada", at=NOW)
    await desk.users.remove_token("ada", stored.id)
    desk.seconds += 4.9
    assert await desk.is_known(token)
    desk.seconds += 0.1
    assert not await desk.is_known(token)


async def test_what_is_changed_during_a_look_is_not_believed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await a_token(desk.users, "ada")
    bearer = desk.users.bearer

    async def slowly(digest: str) -> tuple[Token, User] | None:
        found = await bearer(digest)
        assert found is not None
        await desk.users.remove_token("ada", found[0].id)
        desk.tokens.forget()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(desk.users, "bearer", slowly)
        await desk.is_known(token)
    assert not await desk.is_known(token)


async def test_what_was_changed_here_is_so_at_once(desk: Desk) -> None:
    token = await a_token(desk.users, "ada")
    assert await desk.is_known(token)
    await desk.users.change("ada", disabled_at=NOW)
    desk.tokens.forget()
    assert not await desk.is_known(token)
    await desk.users.change("ada", disabled_at=None)
    assert await desk.is_known(token)


async def test_the_five_seconds_begin_before_the_look(desk: Desk) -> None:
    token = await a_token(desk.users, "ada")
    find = desk.users.bearer

    async def slow(digest: str) -> object:
        found = await find(digest)
        desk.seconds += 4.0
        return found

    desk.users.bearer = slow  # type: ignore[method-assign,assignment]
    assert await desk.is_known(token)
    await desk.users.remove("ada", at=NOW)
    desk.seconds += 1.0
    assert not await desk.is_known(token)


async def test_an_expired_one_is_refused_at_its_second(desk: Desk) -> None:
    token = await a_token(desk.users, "ada", expires_at=NOW + timedelta(seconds=1))
    assert await desk.is_known(token)
    desk.now += timedelta(seconds=1)
    assert not await desk.is_known(token)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("lt_", id="nothing-behind-it"),
        pytest.param("lt_" + "a" * 42, id="too-short"),
        pytest.param("lt_" + "a" * 44, id="too-long"),
        pytest.param("lt_" + "a" * 42 + "\0", id="a-nul"),
        pytest.param("lt_" + "a" * 42 + "\N{LATIN SMALL LETTER E WITH ACUTE}", id="a-letter"),
    ],
)
async def test_what_cannot_be_one_asks_nobody(token: str) -> None:
    desk = Desk(None)  # type: ignore[arg-type]
    assert not await desk.is_known(token)


@pytest.mark.parametrize("token", ["", "LT_" + "a" * 43, "eyJ.eyJ.x", "lti_" + "a" * 43])
async def test_other_kinds_are_for_others(token: str) -> None:
    desk = Desk(None)  # type: ignore[arg-type]
    assert await desk.tokens.caller(token) is None


async def test_only_so_many_are_believed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_tokens, "_MOST_BELIEVED", 2)
    tokens = [await a_token(desk.users, "ada") for _ in range(3)]
    for token in tokens:
        assert await desk.is_known(token)
    await desk.users.remove("ada", at=NOW)
    assert [await desk.is_known(token) for token in tokens] == [False, True, True]

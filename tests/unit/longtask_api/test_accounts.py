"""Accounts as people meet them: register, log in, tokens, and what admins do."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api_support import TOKEN, bearing, eventually, put_task
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_adapters.testing.kubernetes import Refusal
from longtask_api import app, settings, wiring
from longtask_api.auth import passwords
from longtask_api.services.accounts import local_tokens
from longtask_api.settings import Registration
from longtask_crds import names, signing_keys
from longtask_crds.testing import FINISHED, NOW

PASSWORD = "correct horse battery"
OTHER = "staple of my own"
ADA = {"username": "ada", "password": PASSWORD, "email": "ada@example.com"}
ROOT = bearing(TOKEN)
ORDER = {"type": "fibonacci", "input": {"n": 1}}


class Clock:
    """A time of the test's choice."""

    def __init__(self) -> None:
        self.now = NOW


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registration() -> Registration:
    return Registration.OPEN


@pytest.fixture
def logins_per_minute() -> int:
    """As many as one likes."""
    return 0


@pytest.fixture
def services_of() -> list[wiring.Services]:
    """Hold what the client's API stands on."""
    return []


@pytest.fixture
async def client(
    kubernetes: MemoryKubernetes,
    configured: settings.Settings,
    sender: MemorySender,
    registration: Registration,
    logins_per_minute: int,
    clock: Clock,
    services_of: list[wiring.Services],
) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that bears no token by itself."""
    changed = configured.model_copy(
        update={"registration": registration, "logins_per_minute": logins_per_minute}
    )
    async with wiring.running(
        kubernetes, changed, clock=lambda: clock.now, sender=sender
    ) as services:
        await services.health.synced()
        services_of.append(services)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test/api/v1",
        ) as made:
            yield made


async def log_in(
    client: httpx.AsyncClient, username: str = "ada", password: str = PASSWORD
) -> dict[str, str]:
    """Return the headers of a session."""
    answer = await client.post("/login", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return bearing(answer.json()["token"])


async def registered(client: httpx.AsyncClient, username: str = "ada") -> dict[str, str]:
    """Return the headers of the first session of a new user."""
    answer = await client.post("/register", json=ADA | {"username": username})
    assert answer.status_code == 201, answer.text
    return await log_in(client, username)


async def status(client: httpx.AsyncClient, bearer: dict[str, str], path: str = "/me") -> int:
    return (await client.get(path, headers=bearer)).status_code


# --- register ---


async def test_register_and_log_in(client: httpx.AsyncClient) -> None:
    answer = await client.post("/register", json=ADA)
    assert answer.status_code == 201
    assert answer.json() == {
        "username": "ada",
        "email": "ada@example.com",
        "role": "user",
        "disabled": False,
        "createdAt": "2026-01-02T03:04:05Z",
    }
    answer = await client.post("/login", json={"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "expiresAt"}
    assert answer.json()["expiresAt"] == "2026-01-02T15:04:05Z"
    assert answer.headers["Cache-Control"] == "no-store"
    session = bearing(answer.json()["token"])
    assert (await client.get("/me", headers=session)).json() == {
        "name": "ada",
        "username": "ada",
        "subject": "ada",
        "role": "user",
        "acts": ["read", "write"],
        "seesAll": False,
        "email": "ada@example.com",
        "via": "session",
    }


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        pytest.param({"username": "a"}, "/username", id="too-short-a-name"),
        pytest.param({"username": "a" * 41}, "/username", id="too-long-a-name"),
        pytest.param({"username": "Ada"}, "/username", id="capitals"),
        pytest.param({"username": "-ada"}, "/username", id="begins-with-no-letter"),
        pytest.param({"username": "ada."}, "/username", id="ends-with-no-letter"),
        pytest.param({"username": "ada\n"}, "/username", id="a-line-end"),
        pytest.param({"username": "k8s-ada"}, "/username", id="as-an-account-of-kubernetes"),
        pytest.param({"username": "oidc-ada"}, "/username", id="as-one-of-a-provider"),
        pytest.param({"username": "default"}, "/username", id="as-tasks-without-an-owner"),
        pytest.param({"username": "installation"}, "/username", id="as-the-installation"),
        pytest.param({"password": "x" * 9}, "/password", id="too-short-a-password"),
        pytest.param({"password": "x" * 257}, "/password", id="too-long-a-password"),
        pytest.param(
            {"username": "ada-lovelace", "password": "Ada-Lovelace"}, "/password", id="no-secret"
        ),
        pytest.param({"email": "ada"}, "/email", id="no-address"),
        pytest.param({"email": "ada@x\0"}, "/email", id="a-nul-in-the-address"),
        pytest.param({"role": "admin"}, "/role", id="a-role-of-ones-own-choice"),
        pytest.param({"invite": "lti_x"}, "/invite", id="no-invitation"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(
    client: httpx.AsyncClient, given: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/register", json=ADA | given)
    assert answer.status_code == 422
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == [pointer]
    assert (await client.get("/users", headers=ROOT)).json()["items"] == []


async def test_a_name_is_given_once(client: httpx.AsyncClient) -> None:
    await registered(client)
    answer = await client.post("/register", json=ADA | {"password": OTHER})
    assert answer.status_code == 409
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == ["/username"]
    # It is not given again either: the tasks of whoever had it bear it still.
    assert (await client.delete("/users/ada", headers=ROOT)).status_code == 204
    assert (await client.post("/register", json=ADA)).status_code == 409
    answer = await client.post("/users", json={"username": "ada"}, headers=ROOT)
    assert answer.status_code == 409


class TestOff:
    @pytest.fixture
    def registration(self) -> Registration:
        return Registration.OFF

    async def test_nobody_registers(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/register", json=ADA)
        assert answer.status_code == 403
        assert answer.json()["detail"] == "Administrators make the accounts here."


class TestByInvitation:
    @pytest.fixture
    def registration(self) -> Registration:
        return Registration.INVITE

    async def test_an_invitation_is_taken_once(self, client: httpx.AsyncClient) -> None:
        order = {"role": "viewer", "note": "Ada", "expiresInDays": 1}
        answer = await client.post("/invites", json=order, headers=ROOT)
        assert answer.status_code == 201
        made = answer.json()
        invite = made.pop("invite")
        assert made == {
            "id": made["id"],
            "role": "viewer",
            "note": "Ada",
            "createdBy": "installation",
            "createdAt": "2026-01-02T03:04:05Z",
            "expiresAt": "2026-01-03T03:04:05Z",
        }
        assert (await client.get("/invites", headers=ROOT)).json()["items"] == [made]
        wrong = await client.post("/register", json=ADA)
        assert [w["pointer"] for w in wrong.json()["errors"]] == ["/invite"]
        answer = await client.post("/register", json=ADA | {"invite": invite})
        assert (answer.status_code, answer.json()["role"]) == (201, "viewer")
        again = await client.post("/register", json=ADA | {"username": "eve", "invite": invite})
        assert again.status_code == 422
        assert (await client.get("/invites", headers=ROOT)).json()["items"] == []

    async def test_a_taken_name_leaves_the_invitation(self, client: httpx.AsyncClient) -> None:
        await client.post("/users", json={"username": "ada"}, headers=ROOT)
        invite = (await client.post("/invites", headers=ROOT)).json()["invite"]
        assert (await client.post("/register", json=ADA | {"invite": invite})).status_code == 409
        other = ADA | {"username": "eve", "invite": invite}
        assert (await client.post("/register", json=other)).status_code == 201

    async def test_one_that_is_old_or_taken_back_is_none(
        self, client: httpx.AsyncClient, clock: Clock
    ) -> None:
        old = (await client.post("/invites", headers=ROOT)).json()["invite"]
        clock.now += timedelta(days=7)
        back = (await client.post("/invites", headers=ROOT)).json()
        assert (await client.delete(f"/invites/{back['id']}", headers=ROOT)).status_code == 204
        assert (await client.delete(f"/invites/{back['id']}", headers=ROOT)).status_code == 404
        for invite in (old, back["invite"]):
            answer = await client.post("/register", json=ADA | {"invite": invite})
            assert answer.status_code == 422


# --- log in and out ---


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"password": "wrong"}, id="a-wrong-password"),
        pytest.param({"username": "eve"}, id="an-unknown-user"),
        pytest.param({"username": "ADA"}, id="another-spelling"),
        pytest.param({"username": "ada\0"}, id="a-nul"),
        pytest.param({"username": ""}, id="nobody"),
    ],
)
async def test_who_is_wrong_is_told_no_more_than_that(
    client: httpx.AsyncClient, given: dict[str, str]
) -> None:
    await registered(client)
    right = {"username": "ada", "password": PASSWORD}
    answer = await client.post("/login", json=right | given)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The username or the password is wrong."


class TestTries:
    @pytest.fixture
    def logins_per_minute(self) -> int:
        return 3

    async def test_passwords_are_not_tried_out(self, client: httpx.AsyncClient) -> None:
        session = await registered(client)
        login = {"username": "ada", "password": "wrong"}
        assert (await client.post("/login", json=login)).status_code == 401
        change = {"current": PASSWORD, "new": OTHER}
        for answer in (
            await client.post("/login", json=login | {"password": PASSWORD}),
            await client.post("/register", json=ADA),
            await client.post("/me/password", json=change, headers=session),
        ):
            assert answer.status_code == 429
            assert 0 < int(answer.headers["Retry-After"]) <= 60
        # Others are not kept from it.
        await registered(client, "eve")


async def test_log_out(client: httpx.AsyncClient) -> None:
    one, other = await registered(client), await log_in(client)
    assert (await client.post("/logout", headers=one)).status_code == 204
    assert [await status(client, session) for session in (one, other)] == [401, 200]
    assert (await client.post("/logout", headers=ROOT)).status_code == 403


async def test_a_session_ends_by_itself(client: httpx.AsyncClient, clock: Clock) -> None:
    session = await registered(client)
    clock.now += timedelta(hours=12) - timedelta(seconds=1)
    assert await status(client, session) == 200
    clock.now += timedelta(seconds=1)
    assert await status(client, session) == 401


async def test_of_too_many_sessions_the_oldest_end(
    client: httpx.AsyncClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtask_api.services.accounts.own._MOST_SESSIONS", 2)
    sessions = [await registered(client)]
    for _ in range(2):
        clock.now += timedelta(seconds=1)
        sessions.append(await log_in(client))
    assert [await status(client, session) for session in sessions] == [401, 200, 200]


async def test_another_password_ends_all_other_sessions(client: httpx.AsyncClient) -> None:
    session, other = await registered(client), await log_in(client)
    made = await client.post("/tokens", json={"name": "nightly"}, headers=session)
    change = {"current": PASSWORD, "new": OTHER}
    answer = await client.post("/me/password", json=change, headers=session)
    assert answer.status_code == 204
    bearers = (session, other, bearing(made.json()["token"]))
    assert [await status(client, bearer) for bearer in bearers] == [200, 401, 200]
    await log_in(client, password=OTHER)
    answer = await client.post("/login", json={"username": "ada", "password": PASSWORD})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        pytest.param({"current": "wrong", "new": OTHER}, "/current", id="not-the-password"),
        pytest.param({"current": PASSWORD, "new": "short"}, "/new", id="too-short"),
        pytest.param({"new": OTHER}, "/current", id="without-the-one-before"),
    ],
)
async def test_a_password_is_not_changed(
    client: httpx.AsyncClient, change: dict[str, str], pointer: str
) -> None:
    session = await registered(client)
    answer = await client.post("/me/password", json=change, headers=session)
    assert answer.status_code == 422
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == [pointer]
    await log_in(client)


# --- tokens ---


async def test_a_token_for_programs(client: httpx.AsyncClient, clock: Clock) -> None:
    session = await registered(client)
    order = {"name": "nightly", "scopes": ["read"], "expiresInDays": 30}
    answer = await client.post("/tokens", json=order, headers=session)
    assert answer.status_code == 201
    made = answer.json()
    token = made.pop("token")
    assert made == {
        "id": made["id"],
        "kind": "personal",
        "name": "nightly",
        "scopes": ["read"],
        "createdAt": "2026-01-02T03:04:05Z",
        "expiresAt": "2026-02-01T03:04:05Z",
        "current": False,
    }
    bearer = bearing(token)
    assert (await client.get("/me", headers=bearer)).json()["via"] == "token"
    assert await status(client, bearer, "/tasks") == 200
    assert (await client.post("/tasks", json=ORDER, headers=bearer)).status_code == 403
    listed = (await client.get("/tokens", headers=session)).json()["items"]
    assert {one["kind"]: one["current"] for one in listed} == {"personal": False, "session": True}
    assert token not in str(listed)
    answer = await client.delete(f"/tokens/{made['id']}", headers=session)
    assert answer.status_code == 204
    assert await status(client, bearer) == 401
    answer = await client.delete(f"/tokens/{made['id']}", headers=session)
    assert answer.status_code == 404


async def test_what_a_token_is_if_nothing_is_said(client: httpx.AsyncClient) -> None:
    session = await registered(client)
    made = (await client.post("/tokens", json={"name": "a"}, headers=session)).json()
    assert (made["scopes"], made["expiresAt"]) == (["read", "write"], "2026-04-02T03:04:05Z")


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        pytest.param({}, "/name", id="without-a-name"),
        pytest.param({"name": "a\nb"}, "/name", id="two-lines"),
        pytest.param({"name": "a", "scopes": []}, "/scopes", id="for-nothing"),
        pytest.param({"name": "a", "scopes": ["manage"]}, "/scopes", id="beyond-ones-own"),
        pytest.param({"name": "a", "scopes": ["root"]}, "/scopes/0", id="for-something-else"),
        pytest.param({"name": "a", "expiresInDays": 366}, "/expiresInDays", id="for-too-long"),
        pytest.param({"name": "a", "expiresInDays": 0}, "/expiresInDays", id="for-no-time"),
    ],
)
async def test_no_such_token(
    client: httpx.AsyncClient, order: dict[str, Any], pointer: str
) -> None:
    session = await registered(client)
    answer = await client.post("/tokens", json=order, headers=session)
    assert answer.status_code == 422
    assert [wrong["pointer"] for wrong in answer.json()["errors"]] == [pointer]


async def test_a_token_that_was_lost_makes_no_others_and_ends_none(
    client: httpx.AsyncClient,
) -> None:
    session = await registered(client)
    made = (await client.post("/tokens", json={"name": "a"}, headers=session)).json()
    bearer = bearing(made["token"])
    change = {"current": PASSWORD, "new": OTHER}
    for answer in (
        await client.post("/tokens", json={"name": "b"}, headers=bearer),
        await client.post("/me/password", json=change, headers=bearer),
        await client.delete(f"/tokens/{made['id']}", headers=bearer),
    ):
        assert answer.status_code == 403
    # But itself.
    assert (await client.post("/logout", headers=bearer)).status_code == 204
    assert await status(client, bearer) == 401


async def test_tokens_are_ones_own(client: httpx.AsyncClient) -> None:
    ada, eve = await registered(client), await registered(client, "eve")
    made = (await client.post("/tokens", json={"name": "a"}, headers=ada)).json()
    for token_id in (made["id"], "nothing", "%00"):
        answer = await client.delete(f"/tokens/{token_id}", headers=eve)
        assert answer.status_code == 404
    assert await status(client, bearing(made["token"])) == 200


async def test_only_so_many_tokens(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtask_api.services.accounts.own._MOST_TOKENS", 1)
    session = await registered(client)
    answers = [await client.post("/tokens", json={"name": "a"}, headers=session) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 409]


# --- admins ---


async def test_the_first_admin(client: httpx.AsyncClient) -> None:
    order = {"username": "root", "role": "admin"}
    answer = await client.post("/users", json=order, headers=ROOT)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["username"], made["role"], made["email"]) == ("root", "admin", None)
    session = await log_in(client, "root", made["password"])
    me = (await client.get("/me", headers=session)).json()
    assert (me["acts"], me["seesAll"]) == (["read", "write", "manage"], True)
    assert await status(client, session, "/users/root") == 200
    answer = await client.post("/queues/default:pause", headers=session)
    assert answer.status_code == 200


async def test_users_page_by_page(client: httpx.AsyncClient) -> None:
    for name in ("eve", "ada", "b_b"):
        await client.post("/users", json={"username": name}, headers=ROOT)
    first = (await client.get("/users?limit=2", headers=ROOT)).json()
    assert [user["username"] for user in first["items"]] == ["ada", "b_b"]
    rest = await client.get(f"/users?limit=2&cursor={first['nextCursor']}", headers=ROOT)
    assert [user["username"] for user in rest.json()["items"]] == ["eve"]
    assert rest.json()["nextCursor"] is None
    assert await status(client, ROOT, "/users?cursor=x") == 400


async def test_who_is_kept_out_and_let_in_again(client: httpx.AsyncClient) -> None:
    session = await registered(client)

    async def change(**what: Any) -> httpx.Response:
        return await client.patch("/users/ada", json=what, headers=ROOT)

    assert (await change(disabled=True)).json()["disabled"] is True
    assert await status(client, session) == 401
    right = {"username": "ada", "password": PASSWORD}
    assert (await client.post("/login", json=right)).status_code == 403
    # Who does not know the password does not hear of it.
    wrong = right | {"password": "wrong"}
    assert (await client.post("/login", json=wrong)).status_code == 401
    assert (await change(disabled=False)).json()["disabled"] is False
    assert await status(client, session) == 200
    assert (await change(role="viewer")).json()["role"] == "viewer"
    assert (await client.post("/tasks", json=ORDER, headers=session)).status_code == 403
    assert (await change()).json()["role"] == "viewer"
    assert (await change(password="x")).status_code == 422


async def test_a_forgotten_password(client: httpx.AsyncClient) -> None:
    session = await registered(client)
    made = (await client.post("/tokens", json={"name": "a"}, headers=session)).json()
    answer = await client.post("/users/ada:reset-password", headers=ROOT)
    assert answer.status_code == 200
    for bearer in (session, bearing(made["token"])):
        assert await status(client, bearer) == 401
    await log_in(client, password=answer.json()["password"])


async def test_who_is_deleted_is_gone_with_all_tokens(client: httpx.AsyncClient) -> None:
    session = await registered(client)
    assert (await client.delete("/users/ada", headers=ROOT)).status_code == 204
    assert await status(client, session) == 401
    right = {"username": "ada", "password": PASSWORD}
    assert (await client.post("/login", json=right)).status_code == 401
    for answer in (
        await client.delete("/users/ada", headers=ROOT),
        await client.get("/users/ada", headers=ROOT),
        await client.patch("/users/ada", json={"role": "user"}, headers=ROOT),
        await client.post("/users/ada:reset-password", headers=ROOT),
        await client.get("/users/%00", headers=ROOT),
    ):
        assert answer.status_code == 404


async def test_the_callback_key_of_who_is_deleted_goes_with_the_last_task(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services_of: list[wiring.Services]
) -> None:
    place = names.ObjectKey("longtask", signing_keys.KEYS_SECRET)
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {"eve": "whsec_x"}, namespace="longtask")
    for user in ("ada", "bob"):
        session = await registered(client, user)
        assert await status(client, session, "/me/callback-key") == 200
    labels = {names.OWNER_LABEL: "bob"}
    put_task(kubernetes, "a", metadata={"labels": labels})
    (services,) = services_of

    async def is_known() -> bool:
        return services.resources.catalogue.count_of("bob") == (1, 1)

    await eventually(is_known)
    for user in ("ada", "bob"):
        assert (await client.delete(f"/users/{user}", headers=ROOT)).status_code == 204
    # What bob's task has to tell is signed as its receiver knows it.
    assert set(kubernetes.objects("secrets")[place]["data"]) == {"bob", "eve"}


async def test_a_key_that_has_no_room_is_refused_in_words(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    def refuse(write: str, moment: str) -> None:
        if (write, moment) == ("add_to_secret", "before"):
            raise Refusal(422, "Invalid", "data: Too long: may not be more than 1048576 bytes")

    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    session = await registered(client)
    kubernetes.interrupt = refuse
    answer = await client.get("/me/callback-key", headers=session)
    assert answer.status_code == 503
    assert "no room for another key" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/logout", "/users/ada:reset-password"])
async def test_a_session_that_ended_elsewhere_leaves_no_token_behind(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is believed for some seconds yet at this replica, which has not heard of it."""
    session = await registered(client)
    assert await status(client, session) == 200
    monkeypatch.setattr(local_tokens.LocalTokens, "forget", lambda _: None)
    bearer = ROOT if path.startswith("/users") else session
    assert (await client.post(path, headers=bearer)).is_success
    assert await status(client, session, "/tokens") == 200
    answer = await client.post("/tokens", json={"name": "for ever"}, headers=session)
    assert answer.status_code == 401


async def test_a_password_that_is_changed_while_it_is_looked_at_begins_no_session(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(client)
    check = passwords.Passwords.check

    async def slowly(self: passwords.Passwords, *known: Any) -> tuple[bool, str | None]:
        found = await check(self, *known)
        assert (await client.post("/users/ada:reset-password", headers=ROOT)).is_success
        return found

    monkeypatch.setattr(passwords.Passwords, "check", slowly)
    right = {"username": "ada", "password": PASSWORD}
    assert (await client.post("/login", json=right)).status_code == 401


# --- whose tasks ---


async def test_a_task_is_its_makers(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    ada, eve = await registered(client), await registered(client, "eve")
    made = (await client.post("/tasks", json=ORDER | {"name": "mine"}, headers=ada)).json()
    assert made["owner"] == "ada"
    assert made["ownerName"] is None
    stored = kubernetes.stored(names.LONGTASKS, "mine")["metadata"]
    assert stored["labels"] == {names.OWNER_LABEL: "ada"}
    assert "annotations" not in stored
    # The name is taken, and no more is told.
    for key in ({}, {"Idempotency-Key": "k"}):
        answer = await client.post("/tasks", json=ORDER | {"name": "mine"}, headers=eve | key)
        assert answer.status_code == 409
        assert answer.json()["detail"] == "A task named mine exists."
    # Keys are each caller's own.
    same = [
        (await client.post("/tasks", json=ORDER, headers=who | {"Idempotency-Key": "k"})).json()
        for who in (ada, eve, ada)
    ]
    assert same[0]["id"] == same[2]["id"] != same[1]["id"]
    forged = ORDER | {"labels": {names.OWNER_LABEL: "ada"}}
    answer = await client.post("/tasks", json=forged, headers=eve)
    assert answer.status_code == 422
    assert [w["pointer"] for w in answer.json()["errors"]] == ["/labels/longtask.dev~1owner"]
    listed = (await client.get("/tasks", headers=eve)).json()["items"]
    assert [task["id"] for task in listed] == [same[1]["id"]]
    assert len((await client.get("/tasks", headers=ROOT)).json()["items"]) == 3
    assert len((await client.get("/tasks?owner=ada", headers=eve)).json()["items"]) == 0


async def test_the_installations_tasks_have_no_owner(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    made = (await client.post("/tasks", json=ORDER | {"name": "ours"}, headers=ROOT)).json()
    assert made["owner"] is None
    assert "labels" not in kubernetes.stored(names.LONGTASKS, "ours")["metadata"]
    assert await status(client, await registered(client), "/tasks/ours") == 404


async def test_who_does_a_task_again_has_the_new_one(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    ada = await registered(client)
    labels = {names.OWNER_LABEL: "ada", "team": "x"}
    ended = {"phase": "Failed", "conditions": [FINISHED.to_json()]}
    put_task(kubernetes, "old", spec=ORDER, status=ended, metadata={"labels": labels})
    for who, owner in ((ada, "ada"), (ROOT, None)):
        made = await client.post("/tasks/old:retry", headers=who)
        assert made.status_code == 202
        assert made.json()["owner"] == owner
        assert made.json()["labels"]["team"] == "x"


async def test_callbacks_are_signed_with_ones_own_key(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    ada, eve = await registered(client), await registered(client, "eve")
    keys = [(await client.get("/me/callback-key", headers=who)).json() for who in (ada, eve, ada)]
    assert keys[0] == keys[2] != keys[1]
    secret = kubernetes.objects("secrets")[names.ObjectKey("longtask", signing_keys.KEYS_SECRET)]
    assert set(secret["data"]) == {"ada", "eve"}


# --- what is told to whom ---


async def test_every_change_is_told_with_who_made_it_and_no_secret(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "longtask_api")
    session = await registered(client)
    secrets = [PASSWORD, OTHER, session["Authorization"].split()[1], TOKEN]
    made = (await client.post("/tokens", json={"name": "a"}, headers=session)).json()
    invite = (await client.post("/invites", headers=ROOT)).json()
    await client.post("/tasks", json=ORDER | {"name": "a"}, headers=session)
    await client.patch("/tasks/a", json={"priority": 1}, headers=session)
    await client.post("/tasks/a:cancel", headers=session)
    await client.delete("/tasks/a", headers=session)
    await client.post("/queues/default:pause", headers=ROOT)
    await client.delete(f"/tokens/{made['id']}", headers=session)
    change = {"current": PASSWORD, "new": OTHER}
    await client.post("/me/password", json=change, headers=session)
    await client.post("/logout", headers=session)
    user = (await client.post("/users", json={"username": "eve"}, headers=ROOT)).json()
    await client.patch("/users/eve", json={"role": "admin"}, headers=ROOT)
    reset = (await client.post("/users/eve:reset-password", headers=ROOT)).json()
    await client.delete("/users/eve", headers=ROOT)
    await client.delete(f"/invites/{invite['id']}", headers=ROOT)
    told = [(r.getMessage(), r.__dict__["by"]) for r in caplog.records if "by" in r.__dict__]
    assert told == [
        ("Registered user", "ada"),
        ("Logged in", "ada"),
        ("Made token", "ada"),
        ("Made invitation", "installation"),
        ("Created task", "ada"),
        ("Changed priority", "ada"),
        ("Cancelled task", "ada"),
        ("Deleted task", "ada"),
        ("Paused queue", "installation"),
        ("Deleted token", "ada"),
        ("Changed password", "ada"),
        ("Logged out", "ada"),
        ("Made user", "installation"),
        ("Changed user", "installation"),
        ("Reset password", "installation"),
        ("Deleted user", "installation"),
        ("Deleted invitation", "installation"),
    ]
    secrets += [made["token"], invite["invite"], user["password"], reset["password"]]
    for record in caplog.records:
        assert not any(secret in str(record.__dict__) for secret in secrets)


async def test_while_the_database_is_away_the_installations_token_goes_on(
    kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    away = configured.model_copy(update={"database_url": "sqlite:////nowhere/longtask.db"})
    async with wiring.running(kubernetes, away, clock=lambda: NOW) as services:
        await services.health.synced()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test/api/v1",
        ) as client:
            assert await status(client, ROOT, "/queues") == 200
            answer = await client.get("/queues", headers=bearing("lt_" + "a" * 43))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            login = {"username": "ada", "password": PASSWORD}
            assert (await client.post("/login", json=login)).status_code == 503

"""Who did what: each change leaves one entry, whichever door it came by, and holds no secret."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from account_support import ADMIN, EDITOR, know
from api_support import (
    TOKEN,
    a_token,
    bearing,
    eventually,
    put_ended_task,
    put_schedule,
    put_task,
)
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, deeds, errors, settings, wiring
from longtask_api.database.engine import Database
from longtask_api.mail import links
from longtask_api.metrics import Metrics
from longtask_api.settings import Registration
from longtask_api.stores import addresses
from longtask_api.stores.audit import Audit, Entry, Wanted
from longtask_api.stores.users import Users
from longtask_api.workers.auditor import Auditor
from longtask_client.models import ActOutcome, Role, Via
from longtask_crds import names, signing_keys
from longtask_crds.testing import NOW

PASSWORD = "correct horse battery"
LINK_KEY = "the key of links in mails"
SECRETS = (PASSWORD, LINK_KEY, "another of those words", TOKEN, "whsec_", "ltp_", "hidden-path")


@dataclasses.dataclass(frozen=True)
class Asked:
    """How a route is asked, so that it does what it is for."""

    path: str = ""  #: in place of the route's
    body: Any = None
    target: str | None = ""  #: what the entry must name; empty: anything but nothing
    public: bool = False  #: nobody has to be known
    own: bool = False  #: about oneself: whoever is known may


_TEMPLATE = {"spec": {"type": "fibonacci", "input": {"n": 1}}}
SCHEDULE = {"schedule": "@daily", "taskTemplate": _TEMPLATE}
#: Every route that changes something. A new one is missed by the test until it stands here.
ROUTES = {
    ("POST", "/api/v1/tasks"): Asked(
        body={"name": "made", "type": "fibonacci", "input": {"n": 1}}, target="made"
    ),
    ("POST", "/api/v1/tasks:batch"): Asked(
        body={"items": [{"name": "of-many", "type": "fibonacci", "input": {"n": 1}}]},
        target="of-many",
    ),
    ("POST", "/api/v1/tasks:cancel"): Asked(
        body={"labels": {"project": "alpha"}}, target="to-cancel"
    ),
    ("PATCH", "/api/v1/tasks/{task_id}"): Asked(
        path="/api/v1/tasks/waits", body={"priority": 90}, target="waits"
    ),
    ("POST", "/api/v1/tasks/{task_id}:cancel"): Asked(
        path="/api/v1/tasks/waits:cancel", target="waits"
    ),
    ("POST", "/api/v1/tasks/{task_id}:retry"): Asked(path="/api/v1/tasks/ended:retry"),
    ("POST", "/api/v1/tasks/{task_id}/callbacks:redeliver"): Asked(
        path="/api/v1/tasks/ended/callbacks:redeliver", target="ended"
    ),
    ("DELETE", "/api/v1/tasks/{task_id}"): Asked(path="/api/v1/tasks/waits", target="waits"),
    ("POST", "/api/v1/callbacks:redeliver"): Asked(
        body={"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, target="ended"
    ),
    ("POST", "/api/v1/callbacks:test"): Asked(
        body={"url": "https://hooks.test:9000/hidden-path"}, target="hooks.test"
    ),
    ("POST", "/api/v1/subscriptions"): Asked(body={"url": "https://hooks.test:9000/hidden-path"}),
    ("PATCH", "/api/v1/subscriptions/{subscription_id}"): Asked(
        path="/api/v1/subscriptions/{subscription}",
        body={"url": "https://hooks.test:9000/hidden-path/2"},
    ),
    ("POST", "/api/v1/subscriptions/{subscription_id}/deliveries:redeliver"): Asked(
        path="/api/v1/subscriptions/{subscription}/deliveries:redeliver",
        body={"state": "given_up"},
    ),
    ("DELETE", "/api/v1/subscriptions/{subscription_id}"): Asked(
        path="/api/v1/subscriptions/{subscription}"
    ),
    ("POST", "/api/v1/me/callback-key:rotate"): Asked(target=None),
    ("POST", "/api/v1/queues/{name}:pause"): Asked(
        path="/api/v1/queues/default:pause", target="default"
    ),
    ("POST", "/api/v1/queues/{name}:resume"): Asked(
        path="/api/v1/queues/default:resume", target="default"
    ),
    ("POST", "/api/v1/users"): Asked(body={"username": "grace"}, target="grace"),
    ("PATCH", "/api/v1/users/{username}"): Asked(
        path="/api/v1/users/eve", body={"disabled": True}, target="eve"
    ),
    ("POST", "/api/v1/users/{username}:reset-password"): Asked(
        path="/api/v1/users/eve:reset-password", target="eve"
    ),
    ("DELETE", "/api/v1/users/{username}"): Asked(path="/api/v1/users/eve", target="eve"),
    ("POST", "/api/v1/invites"): Asked(body={}),
    ("DELETE", "/api/v1/invites/{invite_id}"): Asked(path="/api/v1/invites/{invite}"),
    ("POST", "/api/v1/tokens"): Asked(body={"name": "nightly"}, own=True),
    ("DELETE", "/api/v1/tokens/{token_id}"): Asked(path="/api/v1/tokens/{token}", own=True),
    ("POST", "/api/v1/me/password"): Asked(
        body={"current": PASSWORD, "new": "another of those words"}, target=None, own=True
    ),
    ("POST", "/api/v1/register"): Asked(
        body={"username": "mary", "password": PASSWORD, "email": "mary@example.com"},
        target="mary",
        public=True,
    ),
    ("POST", "/api/v1/login"): Asked(
        body={"username": "root", "password": PASSWORD}, target=None, public=True
    ),
    ("POST", "/api/v1/schedules"): Asked(body={"name": "weekly", **SCHEDULE}, target="weekly"),
    ("PATCH", "/api/v1/schedules/{schedule_name}"): Asked(
        path="/api/v1/schedules/nightly", body={"maxFailures": 3}, target="nightly"
    ),
    **{
        ("POST", f"/api/v1/schedules/{{schedule_name}}:{act}"): Asked(
            path=f"/api/v1/schedules/nightly:{act}", target="nightly"
        )
        for act in ("pause", "resume", "trigger", "reset-attempts")
    },
    ("POST", "/api/v1/schedules/{schedule_name}:backfill"): Asked(
        path="/api/v1/schedules/nightly:backfill?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
        target="nightly",
    ),
    ("DELETE", "/api/v1/schedules/{schedule_name}"): Asked(
        path="/api/v1/schedules/nightly", target="nightly"
    ),
    ("PUT", "/api/v1/me/notices"): Asked(body={"events": []}, target=None, own=True),
    ("POST", "/api/v1/me/email:verify"): Asked(
        body={"email": "root@example.com"}, target=None, own=True
    ),
    ("POST", "/api/v1/me/email:confirm"): Asked(body={"code": "{code}"}, target=None, own=True),
    ("POST", "/api/v1/logout"): Asked(target=None, own=True),
}
#: By a link in a mail, from nobody who is known.
BY_LINKS = {("POST", "/api/v1/unsubscribe/{token}")}
#: Of pages: what shows a part of one, and forms, which do what a route of REST does.
OF_PAGES = {
    *(("POST", path) for path in ("/new/order", "/new/calls")),
    *(("POST", path) for path in ("/new/schedule/order", "/new/schedule/calls")),
    *(("POST", path) for path in ("/login", "/register", "/logout")),
}
#: What takes the ground away from under others comes last, in this order.
LAST = [
    "/api/v1/schedules/{schedule_name}",
    "/api/v1/subscriptions/{subscription_id}",
    "/api/v1/tasks/{task_id}",
    "/api/v1/users/{username}",
    "/api/v1/logout",
]


@pytest.fixture
def configured(configured: settings.Settings) -> settings.Settings:
    free = {"registration": Registration.OPEN, "logins_per_minute": 0}
    return configured.model_copy(update=free)


@pytest.fixture
async def application(services: wiring.Services, kubernetes: MemoryKubernetes) -> FastAPI:
    """Return an application in which each route finds what it is for."""
    keys = {addresses._LINKS: LINK_KEY}
    kubernetes.add_secret(signing_keys.KEYS_SECRET, keys, namespace="longtask")
    told = {"id": "msg_a", "event": "succeeded", "state": "Exhausted"}
    put_ended_task(kubernetes, "ended", callback=told)
    put_task(kubernetes, "waits", status={"phase": "Queued"})
    put_schedule(kubernetes, "nightly")
    put_task(kubernetes, "to-cancel", metadata={"labels": {"project": "alpha"}})
    users = Users(services.database)
    await a_token(users, "eve")
    made = app.for_users(services)
    async with a_client(made, TOKEN) as client:
        order = {"username": "root", "role": "admin"}
        password = (await client.post("/api/v1/users", json=order)).json()["password"]

        async def are_listed() -> bool:
            return len((await client.get("/api/v1/tasks")).json()["items"]) == 3

        await eventually(are_listed)
    async with a_client(made, None) as client:
        login = {"username": "root", "password": password}
        token = (await client.post("/api/v1/login", json=login)).json()["token"]
    async with a_client(made, token) as client:
        change = {"current": password, "new": PASSWORD}
        assert (await client.post("/api/v1/me/password", json=change)).status_code == 204
    return made


@pytest.fixture
async def root(application: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator who is logged in."""
    async with a_client(application, None) as client:
        login = {"username": "root", "password": PASSWORD}
        token = (await client.post("/api/v1/login", json=login)).json()["token"]
        client.headers.update(bearing(token))
        yield client


def a_client(application: FastAPI, token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application),
        base_url="http://api.test",
        headers=bearing(token),
    )


def changing(application: FastAPI) -> dict[tuple[str, str], str]:
    """Return the act of each route that is not for reading."""
    found = {
        (method, context.path or ""): context.original_route.operation_id
        for context in iter_route_contexts(application.routes)
        for method in context.methods or ()
        if method not in ("GET", "HEAD", "OPTIONS")
        and (method, context.path) not in BY_LINKS | OF_PAGES
    }
    order = sorted(found, key=lambda one: (LAST.index(one[1]) if _is_last(one) else -1, one))
    return {one: found[one] for one in order}


def filled(body: Any, ids: dict[str, str]) -> Any:
    return (
        {
            key: value.format(**ids) if isinstance(value, str) and value[:1] == "{" else value
            for key, value in body.items()
        }
        if body
        else body
    )


def _is_last(route: tuple[str, str]) -> bool:
    return route[1] in LAST and route[0] in ("DELETE", "POST")


async def entries(services: wiring.Services, **wanted: Any) -> list[Entry]:
    """Return what is written down."""
    await services.auditor.write()
    return await Audit(services.database).page(Wanted(**wanted), after=None, limit=500)


async def test_every_change_leaves_one_entry(
    application: FastAPI,
    services: wiring.Services,
    root: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert set(changing(application)) == set(ROUTES)
    caplog.set_level(logging.INFO)
    code = links.code(LINK_KEY.encode(), "root", "root@example.com", now=NOW)
    ids = {
        "code": code,
        "invite": (await root.post("/api/v1/invites", json={})).json()["id"],
        "token": (await root.post("/api/v1/tokens", json={"name": "a"})).json()["id"],
        "subscription": (
            await root.post("/api/v1/subscriptions", json={"url": "https://hooks.test:9000/"})
        ).json()["id"],
    }
    for (method, route), act in changing(application).items():
        asked = ROUTES[method, route]
        known = {one.id for one in await entries(services)}
        answer = await root.request(
            method,
            (asked.path or route).format(**ids),
            json=filled(asked.body, ids),
            headers={"X-Request-ID": "a" * 32},
        )
        assert answer.is_success, (method, route, answer.text)
        (made,) = [one for one in await entries(services) if one.id not in known]
        who = "mary" if act == "register" else "root"
        assert (made.act, made.actor, made.subject) == (act, who, who)
        assert (made.outcome, made.status) == (ActOutcome.DONE, answer.status_code)
        assert (made.door, made.via) == ("rest", Via.SESSION)
        assert (made.request_id, made.address) == ("a" * 32, "127.0.0.1")
        assert made.target if asked.target == "" else made.target == asked.target, route
        (line,) = [one for one in caplog.records if getattr(one, "audit", "") == made.id]
        assert (line.act, line.actor) == (act, who)  # type: ignore[attr-defined]
    # A mail that nobody sends stands in the log, with its code.
    lines = [one.__dict__ for one in caplog.records if one.name != "longtask_api.mail.smtp"]
    told = repr(await entries(services)) + repr(lines)
    assert not any(secret in told for secret in (*SECRETS, code))


async def test_forms_leave_the_entries_of_what_they_do(
    application: FastAPI, services: wiring.Services
) -> None:
    known = {one.id for one in await entries(services)}
    async with a_client(application, None) as client:
        client.base_url = client.headers["Origin"] = "https://api.test"
        for path, form in (
            ("/register", {"username": "mary", "password": PASSWORD, "email": "m@example.com"}),
            ("/login", {"username": "root", "password": PASSWORD}),
            ("/logout", {}),
        ):
            answer = await client.post(path, data=form)
            assert answer.status_code == 303, path
            # By the clock of this test it is good, by that of the client it never was.
            client.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
    made = [one for one in await entries(services) if one.id not in known]
    assert {(one.act, one.actor) for one in made} == {
        ("register", "mary"),
        ("login", "root"),
        ("logout", "root"),
    }


async def test_every_change_that_somebody_may_not_make_leaves_one_entry(
    application: FastAPI, services: wiring.Services
) -> None:
    token = await a_token(Users(services.database), "vic", role="viewer")
    for (method, route), act in changing(application).items():
        asked = ROUTES[method, route]
        if asked.public or asked.own:
            continue
        known = {one.id for one in await entries(services)}
        async with a_client(application, token) as client:
            answer = await client.request(method, asked.path or route, json=asked.body)
        assert answer.status_code == 403
        (made,) = [one for one in await entries(services) if one.id not in known]
        assert (made.act, made.actor, made.outcome) == (act, "vic", ActOutcome.REFUSED)


async def test_what_was_wrong_in_itself_and_who_is_not_known_leave_none(
    application: FastAPI, services: wiring.Services, root: httpx.AsyncClient
) -> None:
    known = await entries(services)
    for method, path, body, status in (
        ("POST", "/api/v1/tasks", {"type": "nonsense"}, 422),
        ("POST", "/api/v1/tasks", {"name": "ended", "type": "fibonacci", "input": {"n": 1}}, 409),
        ("DELETE", "/api/v1/tasks/nobody", None, 404),
        ("PUT", "/api/v1/tasks/ended", None, 405),
        ("POST", "/api/v1/nothing", None, 404),
        ("POST", "/api/v1/login", {"username": "nobody-is-called-so", "password": "x"}, 401),
    ):
        assert (await root.request(method, path, json=body)).status_code == status
    async with a_client(application, "garbage") as client:
        assert (await client.delete("/api/v1/tasks/ended")).status_code == 401
    assert await entries(services) == known


async def test_a_login_with_a_wrong_password_is_an_act_of_whom_it_is_for(
    application: FastAPI, services: wiring.Services
) -> None:
    async with a_client(application, None) as client:
        answer = await client.post(
            "/api/v1/login", json={"username": "root", "password": "hidden-path"}
        )
    assert answer.status_code == 401
    (made,) = [one for one in await entries(services, act="login") if one.status == 401]
    assert (made.actor, made.outcome) == ("root", ActOutcome.REFUSED)


async def test_what_failed_on_the_way_may_be_done(
    application: FastAPI, services: wiring.Services, root: httpx.AsyncClient
) -> None:
    object.__setattr__(services, "keys", None)
    assert (await root.post("/api/v1/me/callback-key:rotate")).status_code == 500
    (made,) = await entries(services, act="rotateCallbackKey")
    assert made.outcome == ActOutcome.UNKNOWN


async def test_of_many_at_once_each_has_its_entry(
    application: FastAPI, services: wiring.Services, root: httpx.AsyncClient
) -> None:
    items = [{"name": f"n{n}", "type": "fibonacci", "input": {"n": n}} for n in range(20)]
    items.append({"type": "nonsense"})
    assert (await root.post("/api/v1/tasks:batch", json={"items": items})).is_success
    made = await entries(services, act="createTasks")
    assert {one.target for one in made} == {f"n{n}" for n in range(20)}
    assert len({one.request_id for one in made}) == 1
    assert all(one.target_uid for one in made)


async def test_a_word_about_what_was_changed(
    services: wiring.Services, root: httpx.AsyncClient
) -> None:
    await root.patch("/api/v1/tasks/waits", json={"priority": 90})
    await root.patch("/api/v1/users/eve", json={"role": Role.VIEWER})
    (task,) = await entries(services, act="changeTask")
    (user,) = await entries(services, act="changeUser")
    assert task.detail == {"priority": 90}
    assert user.detail == {"role": "viewer", "disabled": False}


async def test_admins_list_who_did_what_page_by_page(
    services: wiring.Services, root: httpx.AsyncClient
) -> None:
    for name in ("a", "b", "c", "d"):
        order = {"name": name, "type": "fibonacci", "input": {"n": 1}}
        assert (await root.post("/api/v1/tasks", json=order)).status_code == 202
    await root.delete("/api/v1/tasks/c")
    await services.auditor.write()
    asked = {"actor": "root", "act": "createTask", "limit": "3"}
    first = (await root.get("/api/v1/audit", params=asked)).json()
    cursor = first["nextCursor"]
    second = (await root.get("/api/v1/audit", params=asked | {"cursor": cursor})).json()
    found = [one["target"] for one in first["items"] + second["items"]]
    assert sorted(found) == ["a", "b", "c", "d"]
    assert second["nextCursor"] is None
    assert (await root.get("/api/v1/audit", params={"cursor": cursor})).status_code == 400
    of_c = (await root.get("/api/v1/audit", params={"target": "c"})).json()["items"]
    assert {one["act"] for one in of_c} == {"createTask", "deleteTask"}
    later = {"since": (NOW + timedelta(seconds=1)).isoformat()}
    assert (await root.get("/api/v1/audit", params=later)).json()["items"] == []
    assert (await root.get("/api/v1/audit?target=%00")).status_code == 422
    before = {"until": NOW.isoformat()}
    assert (await root.get("/api/v1/audit", params=before)).json()["items"] == []


async def test_nobody_else_sees_who_did_what(
    application: FastAPI, services: wiring.Services, kubernetes: MemoryKubernetes
) -> None:
    users = Users(services.database)
    for token in (
        await a_token(users, "ann"),
        await a_token(users, "boss", role="admin", kind="personal", scopes=["read", "write"]),
        know(kubernetes, "system:serviceaccount:eve:eve", *ADMIN),
        know(kubernetes, "system:serviceaccount:eve:ed", *EDITOR),
    ):
        async with a_client(application, token) as client:
            assert (await client.get("/api/v1/audit")).status_code == 403


# --- while the database is away


class Away:
    """A store that is away until it is told otherwise."""

    def __init__(self) -> None:
        self.is_away = True
        self.kept: list[Entry] = []

    async def add(self, entries: list[Entry]) -> None:
        if self.is_away:
            raise errors.DatabaseAway
        self.kept.extend(entries)


def noted(auditor: Auditor, name: str) -> None:
    deed = deeds.Deed(actor=deeds.Actor("ada", "ada", Via.SESSION))
    auditor.note(deed, "deleteTask", ActOutcome.DONE, 204, name, "", "")


async def test_what_the_database_does_not_take_is_written_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store, woken = Away(), asyncio.Event()

    async def sleep(_: float) -> None:
        await woken.wait()

    auditor = Auditor(store, Metrics(), clock=lambda: NOW, sleep=sleep)  # type: ignore[arg-type]
    running = asyncio.create_task(auditor.run())
    noted(auditor, "a")
    assert [record.target for record in caplog.records if record.message == "Audit"] == ["a"]  # type: ignore[attr-defined]

    async def is_heard() -> bool:
        return "Could not write the audit yet" in caplog.messages

    await eventually(is_heard)
    noted(auditor, "b")
    store.is_away = False
    woken.set()

    async def are_kept() -> bool:
        return [one.target for one in store.kept] == ["a", "b"]

    await eventually(are_kept)
    noted(auditor, "c")  # not written yet when the process ends
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [one.target for one in store.kept] == ["a", "b", "c"]


async def test_of_too_many_the_oldest_stand_in_the_log_alone() -> None:
    store, metrics = Away(), Metrics()
    auditor = Auditor(store, metrics, clock=lambda: NOW, most_waiting=3)  # type: ignore[arg-type]
    for name in "abcde":
        noted(auditor, name)
    store.is_away = False
    await auditor.write()
    assert [one.target for one in store.kept] == ["c", "d", "e"]
    assert metrics.registry.get_sample_value("longtask_api_audit_entries_lost_total") == 2


async def test_no_change_fails_for_want_of_the_database(
    services: wiring.Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise errors.DatabaseAway

    monkeypatch.setattr(Audit, "add", away)
    order = {"type": "fibonacci", "input": {"n": 1}}
    assert (await client.post("/api/v1/tasks", json=order)).status_code == 202


# --- by Kubernetes itself


def written_by(manager: str, fields: dict[str, Any], at: str = "2026-01-02T03:04:05Z") -> Any:
    return {"manager": manager, "operation": "Update", "time": at, "fieldsV1": fields}


MADE = {"f:spec": {".": {}, "f:type": {}}}


async def test_what_is_made_and_changed_by_kubectl_is_seen(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    created = {"uid": "uid-of-k", "creationTimestamp": "2026-01-02T03:04:05Z"}
    fields = [written_by("kubectl-create", MADE)]
    put_task(kubernetes, "k", metadata=created | {"managedFields": fields})
    later = "2026-01-02T03:05:00Z"
    cancelled = [*fields, written_by("kubectl-patch", {"f:spec": {"f:cancel": {}}}, later)]
    operators = written_by("longtask-operator", {"f:status": {"f:phase": {}}}, later)
    operators["subresource"] = "status"
    put_task(
        kubernetes,
        "k",
        metadata={"managedFields": [*fields, operators]},
        status={"phase": "Queued"},
    )
    put_task(kubernetes, "k", spec={"cancel": True}, metadata={"managedFields": cancelled})

    async def are_seen() -> bool:
        return len(await entries(services, target="k")) == 2

    await eventually(are_seen)
    made, ended = sorted(await entries(services, target="k"), key=lambda one: one.at)
    assert (made.act, made.actor, made.door) == ("createTask", "kubectl-create", "kubernetes")
    assert (made.subject, made.via, made.target_uid) == ("", None, "uid-of-k")
    assert (ended.act, ended.actor) == ("cancelTask", "kubectl-patch")


async def test_how_long_kubectl_lets_a_task_stay_is_seen(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_task(kubernetes, "k")
    patched = {"f:spec": {"f:ttlSecondsAfterFinished": {}}}
    fields = [written_by("kubectl-patch", patched)]
    put_task(
        kubernetes,
        "k",
        spec={"ttlSecondsAfterFinished": 60},
        metadata={"managedFields": fields, "generation": 2},
    )

    async def is_seen() -> bool:
        return bool(await entries(services, target="k"))

    await eventually(is_seen)
    (one,) = await entries(services, target="k")
    assert (one.act, one.actor) == ("changeTask", "kubectl-patch")
    assert one.detail == {"ttlSecondsAfterFinished": 60}


def annotated(name: str) -> dict[str, Any]:
    return {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}


async def test_what_kubectl_does_to_a_schedule_is_seen(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    made = {"f:spec": {".": {}, "f:schedule": {}, "f:taskTemplate": {}}}
    known: list[Any] = [written_by("kubectl-create", made)]
    put_schedule(kubernetes, metadata={"managedFields": known})
    reset = {names.RESET_ANNOTATION: "2026-01-02T03:04:05Z ada"}
    once = {names.RUN_AT_ANNOTATION: "2026-01-01T00:00:00Z"}
    more = {
        names.RUN_AT_ANNOTATION: "2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,2026-01-01T02:00:00Z"
    }
    steps: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, str]]] = [
        ("a", {"f:spec": {"f:suspend": {}}}, {"suspend": True}, {}),
        ("b", {"f:spec": {"f:suspend": {}}}, {"suspend": False}, {}),
        ("c", {"f:spec": {"f:maxFailures": {}}}, {"maxFailures": 3}, {}),
        ("d", annotated(names.RUN_AT_ANNOTATION), {}, once),
        ("e", annotated(names.RUN_AT_ANNOTATION), {}, more),
        ("longtask-operator", annotated(names.RUN_AT_ANNOTATION), {}, once),
        ("longtask-api", {"f:spec": {"f:suspend": {}}}, {"suspend": True}, {}),
        (
            "f",
            annotated(names.RESET_ANNOTATION) | {"f:spec": {"f:suspend": {}}},
            {"suspend": False},
            reset,
        ),
    ]
    for number, (who, fields, spec, annotations) in enumerate(steps, start=1):
        known.append(written_by(who, fields, f"2026-01-02T03:05:{number:02}Z"))
        meta = {"managedFields": [*known], "generation": number + 1, "annotations": annotations}
        put_schedule(kubernetes, spec=spec, metadata=meta)

    async def are_seen() -> bool:
        return len(await entries(services, target="s")) == 7

    await eventually(are_seen)
    found = sorted(await entries(services, target="s"), key=lambda one: one.at)
    assert [(one.actor, one.act, one.detail) for one in found] == [
        ("kubectl-create", "createSchedule", {}),
        ("a", "pauseSchedule", {}),
        ("b", "resumeSchedule", {}),
        ("c", "changeSchedule", {"fields": ["maxFailures"]}),
        ("d", "triggerSchedule", {"runs": 1}),
        ("e", "backfillSchedule", {"runs": 2}),
        ("f", "resetScheduleAttempts", {}),
    ]
    assert {one.door for one in found} == {"kubernetes"}


async def test_what_we_write_ourselves_is_no_act_of_others(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    for manager in ("longtask-api", "longtask-operator", "kubectl-create"):
        meta = {"managedFields": [written_by(manager, MADE)]}
        put_task(kubernetes, f"by-{manager}", metadata=meta)

    async def is_seen() -> bool:
        return bool(await entries(services, target="by-kubectl-create"))

    await eventually(is_seen)
    assert [one.target for one in await entries(services)] == ["by-kubectl-create"]


async def test_a_new_start_says_nothing_twice(
    kubernetes: MemoryKubernetes, configured: settings.Settings, database: Database
) -> None:
    put_task(kubernetes, "k", metadata={"managedFields": [written_by("kubectl-create", MADE)]})
    long_ago = {"creationTimestamp": "2026-01-01T03:04:04Z"}
    fields = {"managedFields": [written_by("kubectl-create", MADE)]}
    put_task(kubernetes, "old", metadata=long_ago | fields)
    for _ in range(2):
        async with wiring.running(kubernetes, configured, clock=lambda: NOW) as services:
            await services.health.synced()
    found = await Audit(database).page(Wanted(), after=None, limit=9)
    assert [(one.act, one.target) for one in found] == [("createTask", "k")]

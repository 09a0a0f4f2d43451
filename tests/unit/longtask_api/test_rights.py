"""Every route of the application, asked with every kind of token: who may what, and sees what.

A new route is asked by itself; it gets a line in `BODIES` if it wants a body. A new kind of token
is a line in `KINDS`.
"""

import asyncio
import copy
import dataclasses
import enum
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

import issuer_support
from account_support import ADMIN, EDITOR, SUBMITTER, VIEWER, a_kubernetes_token, know
from api_support import (
    TOKEN,
    a_token,
    an_identity,
    bearing,
    eventually,
    put_ended_task,
    put_schedule,
    put_task,
)
from issuer_support import RunningIssuer, SigningKey
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.services.accounts import local_tokens
from longtask_api.settings import Registration
from longtask_api.stores.archive import Archive
from longtask_api.stores.users import Users
from longtask_crds import names, runner_contract, signing_keys, v1alpha1
from longtask_crds.testing import NOW

#: The identity provider's.
KEY = SigningKey("first", "EdDSA")
#: Whose tasks and account are there; no answer to anybody else may hold this.
OWNER = "ada-the-owner"
RUNNING, ENDED, ARCHIVED = "a-runs-of-ada", "b-ended-of-ada", "c-archived-of-ada"
SCHEDULE = "d-scheduled-of-ada"
OF_ADA = "of-ada"


class May(enum.IntEnum):
    """What the bearer of a token may."""

    NOTHING = 0  #: for nobody knows who it is
    KNOWN = 1  #: and nothing but to hear of themselves
    LOOK = 2  #: at what is theirs
    WORK = 3
    QUEUES = 4  #: and sees everybody's
    ALL = 5  #: and accounts


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a token is made with."""

    users: Users
    kubernetes: MemoryKubernetes
    provider: RunningIssuer


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of token."""

    may: May
    make: Callable[[Stage], Awaitable[str | None]]
    is_owner: bool = False  #: of the tasks that are there
    is_seeing: bool = False  #: everybody's, whatever else they may

    @property
    def sees_all(self) -> bool:
        return self.is_seeing or self.may >= May.QUEUES


async def _none(_: Stage) -> None:
    return None


async def _garbage(_: Stage) -> str:
    return "garbage"


async def _unknown(_: Stage) -> str:
    return local_tokens.new_token()


async def _installation(_: Stage) -> str:
    return TOKEN


async def _revoked(stage: Stage) -> str:
    token = await a_token(stage.users, "eve")
    (stored,) = await stage.users.tokens_of("eve", at=NOW)
    assert await stage.users.remove_token("eve", stored.id)
    return token


async def _disabled(stage: Stage) -> str:
    token = await a_token(stage.users, "eve")
    assert await stage.users.change("eve", disabled_at=NOW)
    return token


async def _deleted(stage: Stage) -> str:
    token = await a_token(stage.users, "eve")
    assert await stage.users.remove("eve", at=NOW)
    return token


def _user(username: str, **parts: Any) -> Callable[[Stage], Awaitable[str]]:
    async def make(stage: Stage) -> str:
        return await a_token(stage.users, username, **parts)

    return make


def _of_kubernetes(*rights: str) -> Callable[[Stage], Awaitable[str]]:
    async def make(stage: Stage) -> str:
        return know(stage.kubernetes, "system:serviceaccount:eve:eve", *rights)

    return make


async def _unknown_to_kubernetes(_: Stage) -> str:
    return a_kubernetes_token("eve", aud=["another"])


async def _runners(stage: Stage) -> str:
    token = a_kubernetes_token("eve", aud=[runner_contract.REPORT_AUDIENCE])
    stage.kubernetes.tokens[token] = an_identity()
    stage.kubernetes.rights[an_identity()["user"]["username"]] = ADMIN
    return token


def _of_provider(key: SigningKey = KEY, **claims: Any) -> Callable[[Stage], Awaitable[str]]:
    async def make(stage: Stage) -> str:
        return key.sign(stage.provider.claims(**claims))

    return make


KINDS = {
    "none": Kind(May.NOTHING, _none),
    "garbage": Kind(May.NOTHING, _garbage),
    "unknown": Kind(May.NOTHING, _unknown),
    "expired": Kind(May.NOTHING, _user("eve", expires_at=NOW)),
    "revoked": Kind(May.NOTHING, _revoked),
    "of-a-disabled-user": Kind(May.NOTHING, _disabled),
    "of-a-deleted-user": Kind(May.NOTHING, _deleted),
    "of-a-viewer": Kind(May.LOOK, _user("eve", role="viewer")),
    "of-another-user": Kind(May.WORK, _user("eve")),
    "of-another-user-to-read": Kind(May.LOOK, _user("eve", kind="personal", scopes=["read"])),
    "of-an-admin-to-work": Kind(
        May.WORK, _user("eve", role="admin", kind="personal", scopes=["read", "write"])
    ),
    "of-the-owner": Kind(May.WORK, _user(OWNER), is_owner=True),
    "of-the-owner-to-read": Kind(
        May.LOOK, _user(OWNER, kind="personal", scopes=["read"]), is_owner=True
    ),
    "of-an-admin": Kind(May.ALL, _user("root", role="admin")),
    "of-the-installation": Kind(May.ALL, _installation),
    "unknown-to-kubernetes": Kind(May.NOTHING, _unknown_to_kubernetes),
    "of-a-tasks-pod": Kind(May.NOTHING, _runners),
    "of-kubernetes-without-rights": Kind(May.KNOWN, _of_kubernetes()),
    "of-kubernetes-to-see": Kind(May.LOOK, _of_kubernetes(*VIEWER), is_seeing=True),
    "of-kubernetes-to-submit": Kind(May.WORK, _of_kubernetes(*SUBMITTER)),
    "of-kubernetes-to-edit": Kind(May.WORK, _of_kubernetes(*EDITOR), is_seeing=True),
    "of-kubernetes-to-administer": Kind(May.QUEUES, _of_kubernetes(*ADMIN)),
    "of-a-provider": Kind(May.WORK, _of_provider(preferred_username="eve")),
    "of-a-provider-for-an-admin": Kind(May.ALL, _of_provider(groups=["boss"])),
    "of-a-provider-and-expired": Kind(May.NOTHING, _of_provider(exp=1)),
    "of-a-provider-for-others": Kind(May.NOTHING, _of_provider(aud="another")),
    "of-a-provider-and-forged": Kind(May.NOTHING, _of_provider(SigningKey("first", "EdDSA"))),
}

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/{name}"),
    ("POST", "/api/v1/register"),
    ("POST", "/api/v1/login"),
    ("GET", "/api/v1/unsubscribe/{token}"),
    ("POST", "/api/v1/unsubscribe/{token}"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/register"),
    ("POST", "/register"),
    ("GET", "/assets/{name}"),
}
#: What browsers are shown: whoever is not known is led to the login.
PAGES = {
    ("GET", "/"),
    ("GET", "/live"),
    ("GET", "/tasks/{task_id}"),
    ("GET", "/tasks/{task_id}/input.json"),
    ("GET", "/tasks/{task_id}/task.yaml"),
    ("GET", "/new"),
    ("GET", "/queues"),
    ("GET", "/queues/{name}"),
    ("GET", "/types"),
    ("GET", "/types/{name}"),
    ("GET", "/health"),
    ("GET", "/schedules"),
    ("GET", "/schedules/{schedule_name}"),
    ("GET", "/new/schedule"),
    ("GET", "/told"),
    ("GET", "/trends"),
    ("GET", "/subscriptions"),
    ("GET", "/subscriptions/{subscription_id}"),
    ("GET", "/audit"),
    ("GET", "/account"),
    ("GET", "/admin"),
    ("POST", "/logout"),
}
#: About oneself: for whoever is known.
OWN = {
    ("POST", "/api/v1/logout"),
    ("GET", "/api/v1/me"),
    ("POST", "/api/v1/me/password"),
    ("GET", "/api/v1/tokens"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{token_id}"),
    ("GET", "/api/v1/me/notices"),
    ("PUT", "/api/v1/me/notices"),
    ("POST", "/api/v1/me/email:verify"),
    ("POST", "/api/v1/me/email:confirm"),
    ("GET", "/account"),
    ("POST", "/logout"),
}
#: Read, and all the same not for who may only look.
SECRET = {("GET", "/api/v1/me/callback-key"), ("GET", "/new"), ("GET", "/new/schedule")}
FOR_ADMINS = ("/api/v1/users", "/api/v1/invites", "/api/v1/audit", "/admin", "/audit")
QUEUES_FOR_ADMINS = ("/api/v1/queues/{name}:pause", "/api/v1/queues/{name}:resume")

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/v1/tasks"): {"type": "fibonacci", "input": {"n": 1}},
    ("PATCH", "/api/v1/tasks/{task_id}"): {"priority": 10},
    ("POST", "/api/v1/callbacks:redeliver"): {
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
    },
    ("POST", "/api/v1/callbacks:test"): {"url": "https://hooks.test:9000/"},
    ("POST", "/api/v1/users"): {"username": "somebody"},
    ("PATCH", "/api/v1/users/{username}"): {"disabled": True},
    ("POST", "/api/v1/invites"): {},
    ("POST", "/api/v1/tokens"): {"name": "a"},
    ("PUT", "/api/v1/me/notices"): {"events": ["failed"]},
    ("POST", "/api/v1/me/email:verify"): {"email": "eve@example.com"},
    ("POST", "/api/v1/me/email:confirm"): {"code": "no code"},
}
BODIES |= {
    ("POST", "/api/v1/tasks:batch"): {"items": [{"type": "fibonacci", "input": {"n": 1}}]},
    ("POST", "/api/v1/tasks:cancel"): {"all": True},
    ("POST", "/api/v1/subscriptions"): {"url": "https://hooks.test:9000/"},
    ("PATCH", "/api/v1/subscriptions/{subscription_id}"): {"paused": True},
    ("POST", "/api/v1/subscriptions/{subscription_id}/deliveries:redeliver"): {"state": "sent"},
    ("POST", "/new/order"): {"text": "type: fibonacci"},
    ("POST", "/new/calls"): {"type": "fibonacci"},
    ("POST", "/new/schedule/order"): {"text": "schedule: '@daily'"},
    ("POST", "/new/schedule/calls"): {"name": "another"},
}
_SCHEDULE = {"schedule": "@daily", "taskTemplate": {"spec": {"type": "fibonacci"}}}
BODIES |= {
    ("POST", "/api/v1/schedules"): {"name": "another", **_SCHEDULE},
    ("PATCH", "/api/v1/schedules/{schedule_name}"): {"maxFailures": 3},
}
#: The kinds of which there is something of the owner's.
OWNED = (names.LONGTASKS, names.LONGTASKSCHEDULES)
#: They go on; of these the beginning is looked at.
STREAMS = {
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/tasks/{task_id}/events"),
    ("GET", "/live"),
}
#: What a route must be asked with.
PARAMETERS = {
    (
        "POST",
        "/api/v1/schedules/{schedule_name}:backfill",
    ): "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
}
#: Other ways to ask for the same.
VARIANTS = {
    ("GET", "/api/v1/tasks"): (
        "?sort=queuePosition",
        "?archived=true",
        f"?owner={OWNER}",
        "?search=ada",
    ),
    ("GET", "/api/v1/schedules"): (f"?owner={OWNER}",),
    ("GET", "/"): ("?search=ada",),
    ("GET", "/tasks/{task_id}"): ("?live=true",),
}
PARTS = {
    "{name}": "default",
    "{schedule_name}": SCHEDULE,
    "{username}": OWNER,
    "{token_id}": "0" * 32,
    "{invite_id}": "0" * 32,
    "{subscription_id}": "0" * 32,
}


def routes(application: FastAPI) -> list[tuple[str, str]]:
    """Return method and path of every route; what takes things away comes last."""
    found = [
        (method, context.path or "")
        for context in iter_route_contexts(application.routes)
        for method in context.methods or ()
    ]
    return sorted(found, key=lambda route: (route[0] == "DELETE", route[1], route[0]))


def guarded(application: FastAPI) -> list[tuple[str, str]]:
    return [route for route in routes(application) if route not in PUBLIC]


def needed(path: str) -> May:
    """Return what one must be able to do to have it done."""
    if path.startswith(FOR_ADMINS):
        return May.ALL
    return May.QUEUES if path in QUEUES_FOR_ADMINS else May.KNOWN


def places(method: str, path: str) -> list[str]:
    """Return where a route is asked: for each task, and in each way."""
    path += PARAMETERS.get((method, path), "")
    for part, value in PARTS.items():
        path = path.replace(part, value)
    tasks = (RUNNING, ENDED, ARCHIVED) if "{task_id}" in path else ("",)
    variants = ("", *VARIANTS.get((method, path), ()))
    return [path.replace("{task_id}", task) + way for task in tasks for way in variants]


def expected(kind: Kind, method: str, path: str) -> int | None:
    """Return the status that the answer must have; None: whatever who is let in gets."""
    if kind.may is May.NOTHING:
        return 303 if (method, path) in PAGES else 401
    if (method, path) in OWN:
        return None
    if kind.may is May.KNOWN:
        return 403
    if kind.may is May.LOOK and (method != "GET" or (method, path) in SECRET):
        return 403
    if kind.may < needed(path):
        return 403
    is_of_ada = "{task_id}" in path or "{schedule_name}" in path
    if is_of_ada and not (kind.is_owner or kind.sees_all):
        return 404
    return None


@pytest.fixture
async def provider() -> AsyncIterator[RunningIssuer]:
    async with issuer_support.running(KEY) as made:
        yield made


@pytest.fixture
def configured(configured: settings.Settings, provider: RunningIssuer) -> settings.Settings:
    trusted = {
        "oidc_issuer": provider.url,
        "oidc_audience": issuer_support.AUDIENCE,
        "oidc_roles_claim": "groups",
        "oidc_admin_value": "boss",
    }
    return configured.model_copy(update={"registration": Registration.OPEN} | trusted)


@pytest.fixture
async def application(
    services: wiring.Services, kubernetes: MemoryKubernetes, archive: Archive
) -> FastAPI:
    """Return an application with three tasks, a schedule and an account of the owner's."""
    users = Users(services.database)
    await a_token(users, OWNER)
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    labels = {names.OWNER_LABEL: OWNER}
    put_ended_task(kubernetes, ARCHIVED, labels=labels)
    _with_a_uid(kubernetes, ARCHIVED)
    stored = kubernetes.stored(names.LONGTASKS, ARCHIVED)
    await archive.put(v1alpha1.LongTask.model_validate(stored), queue="default", at=NOW)
    kubernetes.remove(names.LONGTASKS, ARCHIVED)
    told = {"id": "msg_a", "event": "succeeded", "state": "Exhausted"}
    put_ended_task(kubernetes, ENDED, labels=labels, result={"value": 1}, callback=told)
    _with_a_uid(kubernetes, ENDED)
    put_task(kubernetes, RUNNING, metadata={"labels": labels}, status={"phase": "Queued"})
    put_schedule(kubernetes, SCHEDULE, metadata={"labels": labels})
    client = a_client(app.for_users(services), TOKEN)
    async with client:

        async def are_listed() -> bool:
            tasks = (await client.get("/api/v1/tasks")).json()["items"]
            schedules = (await client.get("/api/v1/schedules")).json()["items"]
            return (len(tasks), len(schedules)) == (3, 1)

        await eventually(are_listed)
    kubernetes.requests.clear()
    return app.for_users(services)


def _with_a_uid(kubernetes: MemoryKubernetes, name: str) -> None:
    """Let a task have a uid as Kubernetes gives them: the ids of events are made of it."""
    put_task(kubernetes, name, metadata={"uid": str(uuid.uuid4())})


def a_client(application: FastAPI, token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application),
        base_url="http://api.test",
        headers=bearing(token),
    )


async def beginning(application: FastAPI, path: str, token: str | None) -> httpx.Response:
    """Return an answer up to the first of its body that comes."""
    messages: list[Any] = []
    begun = asyncio.Event()
    headers = [(k.lower().encode(), v.encode()) for k, v in bearing(token).items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("api.test", 80),
    }

    coming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not coming:
            await asyncio.Event().wait()  # nobody leaves
        return coming.pop()

    async def send(message: Any) -> None:
        messages.append(message)
        is_whole = not message.get("more_body", False)
        if message["type"] == "http.response.body" and (message.get("body") or is_whole):
            begun.set()
            await asyncio.Event().wait()

    answering = asyncio.create_task(application(scope, receive, send))
    async with asyncio.timeout(60):
        await begun.wait()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    start, *bodies = messages
    return httpx.Response(
        start["status"],
        headers=start["headers"],
        content=b"".join(body["body"] for body in bodies),
        request=httpx.Request("GET", f"http://api.test{path}"),
    )


def test_the_table_knows_its_routes(services: wiring.Services) -> None:
    there = set(routes(app.for_users(services)))
    assert PUBLIC | OWN | SECRET | STREAMS | PAGES | set(BODIES) <= there
    assert len(there) >= 40


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
async def test_who_may_what(
    application: FastAPI,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    provider: RunningIssuer,
    kind: Kind,
) -> None:
    token = await kind.make(Stage(Users(services.database), kubernetes, provider))
    before = {plural: copy.deepcopy(kubernetes.objects(plural)) for plural in OWNED}
    wrong: list[Any] = []
    async with a_client(application, token) as client:
        for method, path in guarded(application):
            if path in ("/api/v1/logout", "/logout") and kind.may is not May.NOTHING:
                continue  # there would be no token for the rest
            for where in places(method, path):
                if (method, path) in STREAMS:
                    answer = await beginning(application, where, token)
                else:
                    answer = await client.request(method, where, json=BODIES.get((method, path)))
                status = expected(kind, method, path)
                if status is not None:
                    is_right = answer.status_code == status
                elif (method, path) in OWN:
                    is_right = answer.status_code != 401
                else:
                    is_right = not _is_kept_out(answer)
                if not is_right or (not (kind.sees_all or kind.is_owner) and _leaks(answer)):
                    wrong.append((method, where, answer.status_code, answer.text))
    assert wrong == []
    if not (kind.is_owner or kind.sees_all):
        for plural, objects in before.items():
            after = kubernetes.objects(plural)
            assert {key: after[key] for key in objects} == objects


def _is_kept_out(answer: httpx.Response) -> bool:
    """Tell whether it says that one may not, or that there is nothing for one."""
    told = answer.json() if "problem" in answer.headers.get("Content-Type", "") else {}
    nothing = {"There is no such task.", "There is no such schedule."} & {
        told.get("detail"),
        *_said_by_page(answer),
    }
    return answer.status_code in (401, 403) or nothing


def _said_by_page(answer: httpx.Response) -> list[str]:
    return re.findall(r'<p class="say"><bdi>(.*?)</bdi>', answer.text)


def _leaks(answer: httpx.Response) -> bool:
    """Tell whether it holds anything of the owner's but the path that was asked for."""
    path = answer.request.url.path
    return OF_ADA in answer.text.replace(path, "") or OWNER in answer.text.replace(path, "")


@pytest.mark.parametrize("kind", ["none", "garbage", "of-another-user"])
async def test_public_routes_ask_for_nothing(
    application: FastAPI,
    services: wiring.Services,
    kubernetes: MemoryKubernetes,
    provider: RunningIssuer,
    kind: str,
) -> None:
    token = await KINDS[kind].make(Stage(Users(services.database), kubernetes, provider))
    async with a_client(application, token) as client:
        for method, path in PUBLIC:
            answer = await client.request(method, path, headers={"Origin": "http://api.test"})
            assert answer.status_code not in (401, 403), path
            assert not _leaks(answer)

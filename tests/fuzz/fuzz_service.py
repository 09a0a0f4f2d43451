"""The service to fuzz: uvicorn over a Kubernetes in memory, with the tasks of two users.

They register and log in as everybody does, over HTTP, and stand in a real SQLite file. Each sees
the tasks of the other in the description of what may be asked for, by name, and must not see
them anywhere else: in all that is theirs stands a word that nobody else knows.
"""

import asyncio
import collections
import contextlib
import dataclasses
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_support import (
    TOKEN,
    UNLIMITED,
    bearing,
    key,
    put_ended_task,
    put_schedule,
    put_task,
)
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, versions, wiring
from longtask_api.http import event_streams
from longtask_api.http.connections import Bounds, bounded
from longtask_crds import names, signing_keys

USERS: Final = ("ann", "bob")

_SLOW_SECONDS = 5.0
#: A stream ends after so long here: some have no end.
_STREAM_SECONDS = 1.0
_PHASES = ("Queued", "Running", "Ended")
_LEFT_OUT = (versions.HEADER, "fields")
#: What would end the login with which all is asked for.
_ENDING = {("/api/v1/logout", "post"), ("/api/v1/tokens/{token_id}", "delete")}
_INPUT = {
    "type": "object",
    "required": ["n"],
    "additionalProperties": False,
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 100_000}},
}


@dataclasses.dataclass(frozen=True)
class User:
    """One of the two."""

    name: str
    token: str = dataclasses.field(repr=False)
    word: str  #: stands in all that is theirs, and nowhere else


@dataclasses.dataclass
class Seen:
    """What went over the wire."""

    requests: int = 0
    codes: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    broken: list[str] = dataclasses.field(default_factory=list)  #: what was answered with a 5xx
    slow: list[str] = dataclasses.field(default_factory=list)  #: what took long
    told: list[str] = dataclasses.field(default_factory=list)  #: what told of another's task
    asked: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    own: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def is_well(self) -> bool:
        return not (self.broken or self.told)

    def lines(self) -> Iterator[str]:
        """Yield what there is to say of it."""
        codes = ", ".join(f"{count} of {code}" for code, count in sorted(self.codes.items()))
        yield f"{self.requests} requests: {codes}"
        for user in sorted(self.asked):
            yield (
                f"{user} sent {self.asked[user]}, was told of tasks of their own in"
                f" {self.own[user]}, and asked {self.others[user]} times for another's by its name"
            )
        for told, found in (
            ("broke", self.broken),
            ("took long", self.slow),
            ("told of another's task", self.told),
        ):
            yield from (f"{told}: {what}" for what in found)


def _task_of(user: str, phase: str) -> str:
    return f"{phase.lower()}-of-{user}"


#: All tasks that are there by these names, however often they are deleted.
TASKS: Final = {_task_of(user, phase): user for user in USERS for phase in _PHASES}


class _Watched:
    """Looks at all answers, as who sent the request should see them."""

    def __init__(self, inner: ASGIApp, seen: Seen, kubernetes: MemoryKubernetes) -> None:
        self._inner = inner
        self._seen = seen
        self._kubernetes = kubernetes
        self.words = {user: f"only-{user}-knows-{secrets.token_hex(4)}" for user in USERS}
        self.users: dict[bytes, str] = {}  #: by what their requests carry

    def know(self, user: str, token: str) -> User:
        """Take note of somebody's token."""
        self.users[f"Bearer {token}".encode()] = user
        return User(user, token, self.words[user])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        what = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}"
        user = self.users.get(dict(scope["headers"]).get(b"authorization", b""))
        body, status, is_stream, is_over = bytearray(), 0, asyncio.Event(), False

        async def looked_at(message: Message) -> None:
            nonlocal status, is_over
            if message["type"] == "http.response.start":
                status = message["status"]
                body.extend(str(message["headers"]).encode())
                if event_streams.MEDIA_TYPE.encode() in body:
                    is_stream.set()
            else:
                is_over = not message.get("more_body", False)
            body.extend(message.get("body", b""))
            await send(message)

        async def received() -> Message:
            coming = asyncio.ensure_future(receive())
            if is_stream.is_set():
                await asyncio.wait({coming}, timeout=_STREAM_SECONDS)
                if not coming.done():
                    coming.cancel()
                    return {"type": "http.disconnect"}
            return await coming

        began = time.monotonic()
        await self._inner(scope, received, looked_at)
        if is_stream.is_set() and not is_over:
            await send({"type": "http.response.body", "body": b""})
        took = time.monotonic() - began
        self._judge(scope, what, user, status, bytes(body))
        if took > _SLOW_SECONDS:
            self._seen.slow.append(f"{took:.0f} s {what}")
        put_missing(self._kubernetes, self.words)

    def _judge(self, scope: Scope, what: str, user: str | None, status: int, body: bytes) -> None:
        seen = self._seen
        seen.requests += 1
        seen.codes[status] += 1
        if status >= 500:
            seen.broken.append(f"{status} {what}")
        if user is not None:
            seen.asked[user] += 1
            seen.own[user] += self.words[user].encode() in body
        named = re.match(r"/api/v1/tasks/([^/:]+)", scope["path"])
        whose = TASKS.get(named[1]) if named else None
        if user is not None and whose not in (None, user):
            seen.others[user] += 1
        is_told = any(word.encode() in body for one, word in self.words.items() if one != user)
        # Which methods there are is no secret.
        is_done = status < 400 and scope["method"] != "OPTIONS"
        if is_told or (whose not in (None, user) and is_done):
            seen.told.append(f"{user} by {what}, {status}")


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self._ready.set()


def described(url: str, user: User) -> dict[str, Any]:
    """Return the description without what tells the fuzz nothing, and with what tells it more.

    Made-up versions are nearly all refused; with `fields` an answer is a part of what is described,
    which is the whole so that clients can be made of it. And a made-up task is never there: those
    of the other are the first that come to mind.
    """
    document: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=60).json()
    for path, method in _ENDING:
        del document["paths"][path][method]
    known = sorted(TASKS, key=lambda task: TASKS[task] == user.name)
    for path in document["paths"].values():
        for operation in path.values():
            parameters = operation.get("parameters", ())
            operation["parameters"] = [p for p in parameters if p["name"] not in _LEFT_OUT]
            for parameter in operation["parameters"]:
                if parameter["name"] == "task_id":
                    parameter["schema"] = {"anyOf": [{"enum": known}, {"type": "string"}]}
    return document


def _kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    made.put(names.LONGTASKTYPES, "fibonacci", spec={"inputSchema": _INPUT})
    made.add_secret(signing_keys.KEYS_SECRET, namespace="longtask")
    return made


def put_missing(kubernetes: MemoryKubernetes, words: Mapping[str, str]) -> None:
    """Make the tasks by which each is known, or make them anew: they may be deleted."""
    there = kubernetes.objects(names.LONGTASKS)
    for user in USERS:
        _put_missing_schedule(kubernetes, user, words[user])
        for phase in _PHASES:
            name = _task_of(user, phase)
            if key(name) in there:
                continue
            labels = {names.OWNER_LABEL: user, "text": words[user]}
            if phase == "Ended":
                result: dict[str, Any] = {"value": words[user]}
                put_ended_task(kubernetes, name, message=words[user], labels=labels, result=result)
            else:
                spec = {"type": "fibonacci", "input": {"n": 1}}
                metadata = {"labels": labels}
                put_task(kubernetes, name, spec=spec, status={"phase": phase}, metadata=metadata)


def _put_missing_schedule(kubernetes: MemoryKubernetes, user: str, word: str) -> None:
    """Make a schedule of somebody, with a run that has ended."""
    name, labels = f"hourly-{user}", {names.OWNER_LABEL: user, "text": word}
    if key(name) not in kubernetes.objects(names.LONGTASKSCHEDULES):
        put_schedule(kubernetes, name, metadata={"labels": labels})
    if key(f"run-{user}") not in kubernetes.objects(names.LONGTASKS):
        labels |= {names.SCHEDULE_LABEL: name}
        put_ended_task(kubernetes, f"run-{user}", labels=labels, result={"value": word})


def _logged_in(url: str, user: str, watched: _Watched) -> User:
    """Register, log in, and hand over a task, as everybody does."""
    given = {"username": user, "password": f"the very long word of {user}"}
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        made = {**given, "email": f"{user}@example.com"}
        client.post("/register", json=made).raise_for_status()
        token = client.post("/login", json=given).raise_for_status().json()["token"]
        known = watched.know(user, token)
        order = {"type": "fibonacci", "input": {"n": 1}, "labels": {"text": known.word}}
        client.post("/tasks", json=order, headers=bearing(token)).raise_for_status()
    return known


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, list[User], Seen]]:
    """Serve in a thread; yield where, to whom, and what is seen there."""
    seen, ready = Seen(), threading.Event()
    kubernetes = _kubernetes()
    servers: list[_Server] = []
    watches: list[_Watched] = []

    async def serve(folder: Path) -> None:
        token_file = folder / "token"
        token_file.write_text(TOKEN)
        configured = settings.Settings(
            token_file=token_file,
            data_directory=folder,
            registration=settings.Registration.OPEN,
            logins_per_minute=0,
            **UNLIMITED,
        )
        running = wiring.running(kubernetes, configured, start_patience=0.05, sender=MemorySender())
        async with running as made:
            await made.health.synced()
            watches.append(_Watched(app.for_users(made), seen, kubernetes))
            put_missing(kubernetes, watches[0].words)
            config = uvicorn.Config(
                watches[0],
                port=0,
                http=bounded(Bounds()),
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
            servers.append(_Server(config, ready))
            await servers[0].serve()

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=lambda: asyncio.run(serve(Path(folder))))
        thread.start()
        try:
            assert ready.wait(60), "it does not start"
            port = servers[0].servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            yield url, [_logged_in(url, user, watches[0]) for user in USERS], seen
        finally:
            if servers:
                servers[0].should_exit = True
            thread.join()

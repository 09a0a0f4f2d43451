"""The service to fuzz: uvicorn over a Kubernetes in memory, with the tasks of two people."""

import asyncio
import collections
import contextlib
import dataclasses
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_support import TOKEN, Named, put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes, MemorySender
from longtask_api import app, settings, versions, wiring
from longtask_api.auth import credentials
from longtask_api.http.connections import Bounds, bounded
from longtask_crds import names, signing_keys

#: Who sends all that is made up, and whose tasks they must never see.
CALLER, STRANGER = "ann", "bob"
#: Stands in all that is the stranger's, and nowhere else.
SECRET = f"only-{STRANGER}-knows-{secrets.token_hex(4)}"

_SLOW_SECONDS = 5.0
_LEFT_OUT = (versions.HEADER, "fields")
_INPUT = {
    "type": "object",
    "required": ["n"],
    "additionalProperties": False,
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 100_000}},
}


@dataclasses.dataclass
class Seen:
    """What went over the wire."""

    requests: int = 0
    codes: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    broken: list[str] = dataclasses.field(default_factory=list)  #: what was answered with a 5xx
    slow: list[str] = dataclasses.field(default_factory=list)  #: what took long
    told: list[str] = dataclasses.field(default_factory=list)  #: what answered with the secret

    @property
    def is_well(self) -> bool:
        return not (self.broken or self.told)


class _Watched:
    """Looks at all answers."""

    def __init__(self, inner: ASGIApp, seen: Seen) -> None:
        self._inner = inner
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        what = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}"
        body = bytearray()

        async def looked_at(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._seen.requests += 1
                self._seen.codes[message["status"]] += 1
                if message["status"] >= 500:
                    self._seen.broken.append(f"{message['status']} {what}")
                body.extend(str(message["headers"]).encode())
            body.extend(message.get("body", b""))
            await send(message)

        began = time.monotonic()
        await self._inner(scope, receive, looked_at)
        if (took := time.monotonic() - began) > _SLOW_SECONDS:
            self._seen.slow.append(f"{took:.0f} s {what}")
        if SECRET.encode() in body:
            self._seen.told.append(what)


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self._ready.set()


def _leave_out(users: FastAPI) -> None:
    """Take parameters out of the description that tell the fuzz nothing.

    Made-up versions are nearly all refused; with `fields` an answer is a part of what is described,
    which is the whole so that clients can be made of it.
    """
    for path in users.openapi()["paths"].values():
        for operation in path.values():
            parameters = operation.get("parameters", ())
            operation["parameters"] = [p for p in parameters if p["name"] not in _LEFT_OUT]


def _kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    made.put(names.LONGTASKTYPES, "fibonacci", spec={"inputSchema": _INPUT})
    made.add_secret(signing_keys.KEYS_SECRET, namespace="longtask")
    for owner, text in ((CALLER, "mine"), (STRANGER, SECRET)):
        labels = {names.OWNER_LABEL: owner, "text": text}
        spec = {"type": "fibonacci", "input": {"n": 1}}
        for phase in ("Queued", "Running"):
            name = f"{phase.lower()}-{text}"
            put_task(made, name, spec=spec, status={"phase": phase}, metadata={"labels": labels})
        put_ended_task(made, f"ended-{text}", message=text, labels=labels, result={"value": text})
    return made


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Seen]]:
    """Serve in a thread; yield where, and what is seen there."""
    seen, ready = Seen(), threading.Event()
    server: list[uvicorn.Server] = []

    async def serve(folder: Path) -> None:
        token_file = folder / "token"
        token_file.write_text(TOKEN)
        configured = settings.Settings(
            token_file=token_file,
            data_directory=folder,
            requests_per_second=0,
            requests_per_second_per_address=0,
        )
        running = wiring.running(
            _kubernetes(), configured, start_patience=0.05, sender=MemorySender()
        )
        async with running as made:
            await made.health.synced()
            named = dataclasses.replace(made, credentials=credentials.Credentials([Named()]))
            users = app.for_users(named)
            _leave_out(users)
            config = uvicorn.Config(
                _Watched(users, seen),
                port=0,
                http=bounded(Bounds()),
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
            server.append(_Server(config, ready))
            await server[0].serve()

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=lambda: asyncio.run(serve(Path(folder))))
        thread.start()
        try:
            assert ready.wait(30), "it does not start"
            port = server[0].servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}", seen
        finally:
            if server:
                server[0].should_exit = True
            thread.join()

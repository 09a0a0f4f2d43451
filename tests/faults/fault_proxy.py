"""A proxy between an operator and the API server that breaks what it is told to break.

Each call is looked at by the rules, in their order; the first one that has its turn says what
becomes of it. What came by, and what became of it, is kept: the checker's history.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import yarl
from aiohttp import web

import fault_clock

_HOP_BY_HOP = frozenset({"connection", "host", "content-length", "transfer-encoding"})
_WRITES = frozenset({"create", "update", "patch", "delete"})
_LARGEST_BODY = 2**23
_LONGEST_LINE = 2**22
_TERMINAL = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, in the words of RBAC, and which of the writes of a task it is."""

    verb: str
    resource: str  #: with its subresource, as `longtasks/status`
    name: str
    step: str = ""  #: W1 to W6; empty for any other call

    @property
    def is_write(self) -> bool:
        """Tell whether it is meant to change something."""
        return self.verb in _WRITES


@dataclasses.dataclass(frozen=True)
class Entry:
    """One call, and what became of it."""

    began: float  #: seconds of the epoch
    at: float  #: when it was over
    call: Call
    status: int | None  #: of the API server; None where it was never asked
    fault: str = ""  #: what the proxy did to it


# What becomes of a call.


@dataclasses.dataclass(frozen=True)
class Delay:
    """It goes on after a while."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Refuse:
    """It is answered by the proxy, and never done."""

    status: int
    reason: str
    message: str = "a fault was injected"
    retry_after: int | None = None


@dataclasses.dataclass(frozen=True)
class Cut:
    """The connection breaks, before the API server does it or after."""

    after: bool


@dataclasses.dataclass(frozen=True)
class Crash:
    """Somebody dies, before the API server does it or after; the answer reaches nobody."""

    kill: Callable[[], object]
    after: bool


@dataclasses.dataclass(frozen=True)
class Bend:
    """Each line of the answer becomes other lines, or none."""

    lines: Callable[[bytes], Iterable[bytes]]


Effect = Delay | Refuse | Cut | Crash | Bend


@dataclasses.dataclass
class Rule:
    """Which calls meet an effect: those that fit, each k-th of them, so many times."""

    effect: Effect
    verbs: frozenset[str] = frozenset()  #: empty for all
    resources: frozenset[str] = frozenset()  #: empty for all
    steps: frozenset[str] = frozenset()  #: empty for all, and for calls that are none
    every: int = 1
    times: int | None = None  #: None for as often as it comes
    fitting: int = 0  #: how many fitted
    hits: int = 0  #: how many of them met the effect

    def takes(self, call: Call) -> bool:
        """Count the call, and tell whether it is its turn."""
        if self.times is not None and self.hits >= self.times:
            return False
        for allowed, value in (
            (self.verbs, call.verb),
            (self.resources, call.resource),
            (self.steps, call.step),
        ):
            if allowed and value not in allowed:
                return False
        self.fitting += 1
        turn = self.fitting % self.every == 0
        self.hits += turn
        return turn


def described(method: str, target: yarl.URL, body: bytes) -> Call:
    """Return what a request is."""
    parts = target.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    resource, name, sub = (*parts, "", "", "")[:3]
    if "dryRun" in target.query:
        verb = "try"
    elif method == "GET":
        verb = "watch" if "watch" in target.query else "get" if name else "list"
    else:
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, "delete")
    whole = f"{resource}/{sub}" if sub else resource
    return Call(verb, whole, name, _step(verb, whole, body))


def _step(verb: str, resource: str, body: bytes) -> str:
    """Return which of a task's writes it is, as docs/reliability.md numbers them."""
    match verb, resource:
        case "create", "jobs":
            return "W2"
        case "patch", "jobs" if b"ttlSecondsAfterFinished" in body:
            return "W6"
        case "patch", "longtasks/status":
            return _status_step(json.loads(body))
    return ""


def _status_step(patch: Any) -> str:
    if not isinstance(patch, list):
        return ""
    values = {change.get("path", ""): change.get("value") for change in patch}
    phase = values.get("/status/phase")
    if phase in _TERMINAL:
        return "W4"
    if phase in ("Starting", "Running"):
        return "W1" if phase == "Starting" else "W3"
    return "W5" if "/status/callback" in values else ""


def status_body(status: int, reason: str, message: str) -> bytes:
    """Return an error as the API server writes it."""
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": status,
    }
    return json.dumps(document).encode()


def error_line(status: int, reason: str) -> bytes:
    """Return an error as a watch tells it."""
    body = json.loads(status_body(status, reason, "a fault was injected"))
    return json.dumps({"type": "ERROR", "object": body}).encode() + b"\n"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """The API server."""

    url: str
    tls: ssl.SSLContext | None

    @classmethod
    def of_kubeconfig(cls, kubeconfig: Path) -> "Upstream":
        """Return the one that the current context names; its clients show who they are by token."""
        command = ["kubectl", f"--kubeconfig={kubeconfig}", "config", "view", "--raw", "--minify"]
        shown = subprocess.run([*command, "--output=json"], capture_output=True, check=True)
        cluster = json.loads(shown.stdout)["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], ssl.create_default_context(cadata=authority))


class Proxy:
    """The proxy, on a port of this host, in a thread of its own."""

    def __init__(self, upstream: Upstream, folder: Path, *, address: str = "127.0.0.1") -> None:
        self._upstream = upstream
        self._certificate, self._key = folder / "proxy.crt", folder / "proxy.key"
        self._address = address
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._open: dict[int, web.Request] = {}
        self._away = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.history: Final[list[Entry]] = []
        self.url = ""

    def __enter__(self) -> Self:
        make_certificate(self._certificate, self._key, self._address)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    @property
    def authority(self) -> bytes:
        """Return the certificate by which the proxy is known, as PEM."""
        return self._certificate.read_bytes()

    @contextlib.contextmanager
    def breaking(self, *rules: Rule) -> Iterator[tuple[Rule, ...]]:
        """Follow these rules meanwhile, before those that hold already.

        Watches that are open are ended at the beginning and at the end, for the rules to meet them.
        """
        with self._lock:
            self._rules[:0] = rules
        bends = any(isinstance(rule.effect, Bend) for rule in rules)
        if bends:
            self.hang_up()
        try:
            yield rules
        finally:
            with self._lock:
                self._rules = [rule for rule in self._rules if rule not in rules]
            if bends:
                self.hang_up()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Be nobody meanwhile: each connection breaks, old and new."""
        self._away.set()
        self.hang_up()
        try:
            yield
        finally:
            self._away.clear()

    def hang_up(self) -> None:
        """Break all connections that are in use."""

        def hang_up() -> None:
            for request in self._open.values():
                _abort(request)

        self._loop.call_soon_threadsafe(hang_up)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._certificate, self._key)
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream.tls or True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=_LONGEST_LINE, auto_decompress=False
        ) as self._session:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, self._address, 0, ssl_context=tls)
            await site.start()
            (socket,) = runner.addresses
            self.url = f"https://{socket[0]}:{socket[1]}"
            self._ready.set()
            await self._stopping.wait()
            await runner.cleanup()

    def _effect_on(self, call: Call) -> Effect | None:
        with self._lock:
            return next((rule.effect for rule in self._rules if rule.takes(call)), None)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._open[id(request)] = request
        try:
            return await self._answer(request)
        finally:
            del self._open[id(request)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._away.is_set():
            return _abort(request)
        target = yarl.URL(request.raw_path, encoded=True)
        began, body = time.time(), await request.read()
        call = described(request.method, target, body)
        effect = self._effect_on(call)
        fault = type(effect).__name__.lower() if effect else ""
        match effect:
            case Delay():
                await asyncio.sleep(effect.seconds)
            case Refuse():
                self._note(call, began, None, fault)
                return _refusal(effect)
            case Cut(after=False) | Crash(after=False):
                if isinstance(effect, Crash):
                    effect.kill()
                self._note(call, began, None, fault)
                return _abort(request)
        try:
            async with self._session.request(
                request.method,
                yarl.URL(self._upstream.url + request.raw_path, encoded=True),
                headers=_passed_on(request.headers),
                data=body or None,
                allow_redirects=False,
            ) as answer:
                if self._away.is_set() and not call.is_write:
                    return _abort(request)
                if call.verb == "watch":
                    return await self._stream(request, answer, call, effect, began)
                content = await answer.read()
                self._note(call, began, answer.status, fault)
                if isinstance(effect, Cut | Crash):
                    if isinstance(effect, Crash):
                        effect.kill()
                    return _abort(request)
                return web.Response(
                    status=answer.status, headers=_passed_on(answer.headers), body=content
                )
        except (aiohttp.ClientError, OSError):
            self._note(call, began, None, fault or "unreachable")
            return _abort(request)

    async def _stream(
        self,
        request: web.Request,
        answer: aiohttp.ClientResponse,
        call: Call,
        effect: Effect | None,
        began: float,
    ) -> web.StreamResponse:
        self._note(call, began, answer.status, "bend" if effect else "")
        response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
        await response.prepare(request)
        async for line in _lines(answer):
            for bent in effect.lines(line) if isinstance(effect, Bend) else (line,):
                await response.write(bent)
        await response.write_eof()
        return response

    def _note(self, call: Call, began: float, status: int | None, fault: str) -> None:
        self.history.append(Entry(began, time.time(), call, status, fault))


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for line in answer.content:
        yield line


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)  # which nobody reads


def _refusal(refuse: Refuse) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if refuse.retry_after is not None:
        headers["Retry-After"] = str(refuse.retry_after)
    body = status_body(refuse.status, refuse.reason, refuse.message)
    return web.Response(status=refuse.status, headers=headers, body=body)


def _passed_on(headers: Any) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _HOP_BY_HOP}


def make_certificate(certificate: Path, key: Path, address: str) -> None:
    """Make a certificate that is its own authority, for a server at this address."""
    command: list[str | Path] = ["openssl", "req", "-x509", "-days", "2", "-noenc"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=longtask-faults", "-addext", f"subjectAltName=IP:{address}"]
    command += ["-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, env=fault_clock.long_ago())

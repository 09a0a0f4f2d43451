"""A Kubernetes in memory, as a transport: real paths, JSON in and out, nothing patched.

It keeps what the API server would: versions, uids, conflicts, owners, the freeze of a finished
status. What people and the rest of Kubernetes do to it (a Job gets its pod, the pod ends) are
methods too, so that a test says in one line what happens. Nothing in it waits but a watch.
"""

import contextlib
import dataclasses
import functools
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from longtask_adapters.kube import errors
from longtask_adapters.kube.transport import Request, Response
from longtask_adapters.testing import course, patches
from longtask_adapters.testing.store import Step, as_it_travels, stamp
from longtask_crds import names

Raw = dict[str, Any]

#: What tests call the writes of our parts; any other is its method and its plural.
_WRITES = {
    ("PATCH", "longtasks", "status"): "status",
    ("POST", "longtasks", ""): "create_task",
    ("PATCH", "longtasks", ""): "patch_task",
    ("DELETE", "longtasks", ""): "delete_task",
    ("POST", "jobs", ""): "create_job",
    ("PATCH", "jobs", ""): "release_job",
    ("DELETE", "jobs", ""): "delete_job",
    ("PATCH", "pods", ""): "stop_pod",
    ("PATCH", "secrets", ""): "add_to_secret",
    ("POST", "events", ""): "warn",
}


class Refusal(Exception):
    """The API server says no: `go_away` and `interrupt` may raise one too."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        field: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = dict(headers or {})
        self.status: Raw = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": code,
        }
        if field:
            self.status["details"] = {"causes": [{"field": field, "message": message}]}


class Route(NamedTuple):
    """What a path names."""

    group: str
    plural: str
    namespace: str | None
    name: str
    subresource: str

    @property
    def key(self) -> names.ObjectKey:
        """Return the key of the object."""
        return names.ObjectKey(self.namespace or "", self.name)

    def __str__(self) -> str:
        kind = f"{self.plural}.{self.group}" if self.group else self.plural
        return f'{kind} "{self.name}"'


@dataclasses.dataclass
class MemoryKubernetes(course.Course):
    """The API server that our parts talk to; `course` and `store` are what happens behind it."""

    requests: list[Request] = dataclasses.field(default_factory=list)  #: in order
    writes: int = 0  #: how many were done
    created_jobs: list[str] = dataclasses.field(default_factory=list)  #: names, ever
    refuse_jobs: str | None = None  #: why no Job may be made
    tokens: dict[str, Raw] = dataclasses.field(default_factory=dict)  #: TokenReview's status, each
    #: What users and groups may: `<verb> <plural>`, in every namespace.
    rights: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    logs: dict[str, list[bytes]] = dataclasses.field(default_factory=dict)  #: by pod; its chunks
    #: Called before and after each write with its name; what it raises, the writer gets.
    interrupt: Callable[[str, str], None] = lambda _write, _moment: None
    _away: Exception | None = None
    _ends_of_watches: int = 0
    _pages: dict[str, tuple[int, list[Raw]]] = dataclasses.field(default_factory=dict)

    # --- requests and answers ---

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        """Answer a request as the API server would."""
        self.requests.append(request)
        try:
            if self._away is not None:
                raise self._away
            response = self._answer(request)
        except Refusal as refusal:
            response = _Answer(refusal.code, refusal.status, refusal.headers)
        yield response

    @property
    def calls(self) -> list[str]:
        """Return what was asked so far: verb, plural, and if there is one the name."""
        return [_described(request) for request in self.requests]

    def _answer(self, request: Request) -> "_Answer":
        route = route_of(request.path)
        if request.method == "GET":
            return self._read(route, request)
        body = as_it_travels(request.json)
        if route.plural == "tokenreviews":
            status = self.tokens.get(body["spec"]["token"], {"authenticated": False})
            return _Answer(201, {**body, "status": status})
        if route.plural == "subjectaccessreviews":
            return _Answer(201, {**body, "status": {"allowed": self._allows(body["spec"])}})
        what = (request.method, route.plural, route.subresource)
        if request.query.get("dryRun") == "All":
            return self._try(route, body)
        write = _WRITES.get(what, f"{request.method} {route.plural}")
        self.interrupt(write, "before")
        match request.method:
            case "POST":
                answer = _Answer(201, self._create(route, body))
            case "PATCH":
                answer = _Answer(200, self._patch(route, body))
            case "DELETE":
                answer = _Answer(200, self._delete(route, body or {}))
            case unknown:
                raise Refusal(405, "MethodNotAllowed", f"{unknown} is not supported here")
        self.writes += 1
        self.interrupt(write, "after")
        return answer

    def _try(self, route: Route, body: Raw) -> "_Answer":
        """Answer as if an object were created, and store nothing."""
        self.interrupt(f"try {route.plural}", "before")
        return _Answer(201, self.fork()._create(route, body))

    def _allows(self, asked: Raw) -> bool:
        right = "{verb} {resource}".format_map(asked["resourceAttributes"])
        who = (asked["user"], *asked.get("groups", ()))
        return any(right in self.rights.get(name, ()) for name in who)

    def _read(self, route: Route, request: Request) -> "_Answer":
        if route.subresource == "log":
            return self._log(route, request.query)
        if route.name:
            return _Answer(200, self._found(route))
        labels = patches.by_labels(request.query.get("labelSelector", ""))
        fields = patches.by_fields(request.query.get("fieldSelector", ""))

        def accepts(raw: Raw | None) -> bool:
            here = raw is not None and route.namespace in (None, raw["metadata"]["namespace"])
            return here and raw is not None and labels(raw) and fields(raw)

        if request.query.get("watch") == "true":
            since = int(request.query.get("resourceVersion", "0"))
            return _Answer(200, watch=self._watched(route.plural, accepts, since))
        return self._list(route.plural, accepts, request.query)

    def _list(
        self, plural: str, accepts: Callable[[Raw], bool], query: Mapping[str, str]
    ) -> "_Answer":
        if token := query.get("continue"):
            if token not in self._pages:
                raise _expired()
            version, found = self._pages.pop(token)
        else:
            version = self.version
            found = [raw for raw in self.objects(plural).values() if accepts(raw)]
        limit = int(query.get("limit", "0")) or len(found)
        meta = {"resourceVersion": str(version)}
        if len(found) > limit:
            # Objects are never changed in place, so what is left of the list is its old state.
            meta["continue"] = f"{version}/{len(self.requests)}"
            self._pages[meta["continue"]] = (version, found[limit:])
        return _Answer(200, {"kind": "List", "metadata": meta, "items": found[:limit]})

    async def _watched(
        self, plural: str, accepts: Callable[[Raw | None], bool], since: int
    ) -> AsyncIterator[Raw]:
        ends = self._ends_of_watches
        async with contextlib.aclosing(self.changes()) as changes:
            async for _ in changes:
                if isinstance(self._away, Refusal):
                    yield {"type": "ERROR", "object": self._away.status}
                    return
                if self._away is not None:
                    raise self._away
                if since < self._known_since:
                    yield {"type": "ERROR", "object": _expired().status}
                    return
                for step in self.steps_after(since):
                    since = step.version
                    if step.plural not in (plural, "bookmark"):
                        continue
                    if (event := _event(step, accepts)) is not None:
                        yield event
                if ends != self._ends_of_watches:
                    return

    def _log(self, route: Route, query: Mapping[str, str]) -> "_Answer":
        self._found(route)
        if route.name not in self.logs:
            container = query.get("container", "")
            message = f'container "{container}" in pod "{route.name}" is waiting to start'
            raise Refusal(400, "BadRequest", message)
        if not query.keys() & _LOG_OPTIONS:
            return _Answer(200, stream=self.logs[route.name])
        text = b"".join(self.logs[route.name])
        return _Answer(200, stream=[_part_of_log(text, query, stamp(self.now))])

    def _create(self, route: Route, raw: Raw) -> Raw:
        meta = raw["metadata"]
        if "name" not in meta:
            meta = meta | {"name": f"{meta['generateName']}{self.made + 1:05}"}
        meta = meta | {"namespace": route.namespace}
        route = route._replace(name=meta["name"])
        if route.key in self.objects(route.plural):
            raise Refusal(409, "AlreadyExists", f"{route} already exists")
        if route.plural == "jobs" and self.refuse_jobs is not None:
            raise Refusal(403, "Forbidden", f"{route} is forbidden: {self.refuse_jobs}")
        raw = {**raw, "metadata": meta}
        match route.plural:
            case "events":
                self._save("events", _older_event(raw))
                return raw
            case names.LONGTASKS:
                raw |= {"status": {"phase": "Pending"}}
            case "jobs":
                self.created_jobs.append(route.name)
        return self._save(route.plural, raw)

    def _patch(self, route: Route, patch: Any) -> Raw:
        before = self._found(route)
        try:
            wanted = (
                patches.merged(before, patch)
                if isinstance(patch, dict)
                else patches.patched(before, patch)
            )
        except patches.CannotApply as error:
            raise Refusal(422, "Invalid", f"the server rejected our request: {error}") from error
        meta, old_meta = wanted["metadata"], before["metadata"]
        if meta["uid"] != old_meta["uid"]:
            message = f'{route} is invalid: metadata.uid: Invalid value: "{meta["uid"]}"'
            raise Refusal(422, "Invalid", message, field="metadata.uid")
        if meta["resourceVersion"] != old_meta["resourceVersion"]:
            raise Refusal(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {route}: the object has been modified; "
                "please apply your changes to the latest version and try again",
            )
        if route.subresource == "status":
            after = {**before, "status": wanted.get("status", {})}
            _check_freeze(route, before.get("status", {}), after["status"])
        else:
            after = {key: value for key, value in wanted.items() if key != "status"}
            if "status" in before:
                after["status"] = before["status"]
            if after.get("spec") != before.get("spec"):
                generation = old_meta.get("generation", 0) + 1
                after["metadata"] = after["metadata"] | {"generation": generation}
        if after == before:
            return before
        if "deletionTimestamp" in old_meta and not after["metadata"].get("finalizers"):
            self.remove(route.plural, route.key)
            return after
        return self._save(route.plural, after)

    def _delete(self, route: Route, options: Raw) -> Raw:
        raw = self._found(route)
        uid = raw["metadata"]["uid"]
        preconditions = options.get("preconditions") or {}
        for called, field in (("UID", "uid"), ("ResourceVersion", "resourceVersion")):
            there = raw["metadata"][field]
            wanted = preconditions.get(field, there)
            if there != wanted:
                raise Refusal(
                    409,
                    "Conflict",
                    f"Operation cannot be fulfilled on {route}: the {called} in the precondition "
                    f"({wanted}) does not match the {called} in record ({there})",
                )
        if raw["metadata"].get("finalizers"):
            meta = raw["metadata"] | {"deletionTimestamp": stamp(self.now)}
            return self._save(route.plural, {**raw, "metadata": meta})
        # Without a word, the pods of a Job stay.
        usual = "Orphan" if route.plural == "jobs" else "Background"
        orphans = options.get("propagationPolicy", usual) == "Orphan"
        self.remove(route.plural, route.key, orphans=orphans)
        return {"kind": "Status", "status": "Success", "details": {"name": route.name, "uid": uid}}

    def _found(self, route: Route) -> Raw:
        found = self.objects(route.plural).get(route.key)
        if found is None:
            raise Refusal(404, "NotFound", f"{route} not found")
        return found

    # --- what the API server may do besides ---

    def go_away(self, error: Exception | None = None) -> None:
        """Answer nothing from now on, or with a Refusal only; watches break off."""
        self._away = errors.Unavailable("the API server is away") if error is None else error
        self.wake_watches()

    def come_back(self) -> None:
        """Answer again."""
        self._away = None

    def end_watches(self) -> None:
        """End all watches, as the API server does after some minutes."""
        self._ends_of_watches += 1
        self.wake_watches()

    def bookmark(self) -> None:
        """Tell all who watch up to where nothing else has happened."""
        self.version += 1
        self._tell(Step(self.version, "bookmark", None, None))

    def compact(self) -> None:
        """Forget what happened up to now, as etcd does: older places have expired."""
        super().compact()
        self._pages = {}


#: Options of a log that change what comes.
_LOG_OPTIONS = {"limitBytes", "sinceTime", "tailLines", "timestamps"}


def _part_of_log(text: bytes, query: Mapping[str, str], now: str) -> bytes:
    """Return what the options of a request leave of a log; all of it was written now."""
    if query.get("sinceTime", now) > now:
        return b""
    lines = text.splitlines(keepends=True)
    if (tail := query.get("tailLines")) is not None:
        lines = lines[max(0, len(lines) - int(tail)) :]
    if query.get("timestamps") == "true":
        lines = [f"{now} ".encode() + line for line in lines]
    return b"".join(lines)[: int(query.get("limitBytes", sys.maxsize))]


class _Answer:
    """Holds what is said; it is made text only where somebody asks for text."""

    def __init__(
        self,
        status: int,
        value: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        watch: AsyncIterator[Raw] | None = None,
        stream: Iterable[bytes] = (),
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.size = 0
        self._value = value
        self._watch = watch
        self._stream = stream

    async def read(self) -> bytes:
        body = json.dumps(self._value).encode()
        self.size = len(body)
        return body

    async def json(self) -> Any:
        return self._value

    async def lines(self) -> AsyncIterator[bytes]:
        if self._watch is not None:
            async for event in self._watch:
                yield json.dumps(event).encode() + b"\n"

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._stream:
            yield chunk


_ROUTE = re.compile(
    "/(?:api/v1|apis/([^/]+)/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?"
)


@functools.lru_cache(maxsize=1024)
def route_of(path: str) -> Route:
    """Return what a path names; raise a Refusal if the API server has no such path."""
    match = _ROUTE.fullmatch(path)
    if match is None:
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    group, namespace, plural, name, subresource = (
        None if part is None else unquote(part) for part in match.groups()
    )
    return Route(group or "", plural or "", namespace, name or "", subresource or "")


def _described(request: Request) -> str:
    route = route_of(request.path)
    verb = {"POST": "create", "GET": "get"}.get(request.method, request.method.lower())
    if request.query.get("dryRun") == "All":
        verb = "try"
    if request.method == "GET" and not route.name:
        verb = "watch" if request.query.get("watch") == "true" else "list"
    place = "/".join(part for part in (route.name, route.subresource) if part)
    return f"{verb} {route.plural} {place}".rstrip()


def _event(step: Step, accepts: Callable[[Raw | None], bool]) -> Raw | None:
    if step.plural == "bookmark":
        mark = {"metadata": {"resourceVersion": str(step.version)}}
        return {"type": "BOOKMARK", "object": mark}
    was, is_now = accepts(step.before), accepts(step.after)
    if is_now:
        return {"type": "MODIFIED" if was else "ADDED", "object": step.after}
    return {"type": "DELETED", "object": step.after or step.before} if was else None


def _older_event(event: Raw) -> Raw:
    """Return an Event of `events.k8s.io` in the words of the core group: it is the same one."""
    words = {"note": "message", "regarding": "involvedObject"}
    return {words.get(key, key): value for key, value in event.items()}


def _expired() -> Refusal:
    return Refusal(410, "Expired", "the provided continue parameter or resourceVersion is too old")


def _check_freeze(route: Route, before: Raw, after: Raw) -> None:
    """Keep a finished status as it is, as the CRD's rules do."""
    if route.plural != names.LONGTASKS or not course.is_finished(before):
        return
    may_change = {"callback", "conditions", "observedGeneration", "contradictions"}
    changed = {k for k in before.keys() | after.keys() if before.get(k, ...) != after.get(k, ...)}
    if changed - may_change or _settled(before) != _settled(after):
        message = f"{route} is invalid: of a finished task cannot be changed: {sorted(changed)}"
        raise Refusal(422, "Invalid", message, field="status")


def _settled(status: Raw) -> list[Raw]:
    return [c for c in status.get("conditions", ()) if c["type"] != "CallbackDelivered"]

"""JSON requests to the API server: what is asked for, how much at once, what an answer means.

JSON goes in and comes out; `kinds` makes resources of it. Answers are not to be changed: the twin
in `testing` hands out what it stores.
"""

import asyncio
import contextlib
import enum
import json
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from longtask_adapters.kube import deep_json, errors
from longtask_adapters.kube.transport import Request, Response, Timeouts, Transport
from longtask_crds import names

Raw = dict[str, Any]

_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
#: The API server sends a bookmark each minute, so a longer silence is a dead connection.
_WATCH = Timeouts(total=None, silence=70)
_WATCH_SECONDS = (240, 300)
_LOG = Timeouts(total=None)
#: After so many seconds at most what a quota's own write hindered is tried again.
_QUOTA_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
#: How many objects the first page of a list has, and any other at least.
_FIRST_PAGE = 10
#: How much text a page has, about.
_PAGE_BYTES = 2**20
#: Small ones may be followed by large ones: so many of the largest tasks are 140 MB once decoded.
MOST_OF_A_PAGE = 100
#: How often a list is begun again because the API server forgot it meanwhile.
_LISTS_ANEW = 3
#: What the API server says of an account without a right. What admission says begins otherwise:
#: it names the object first, whatever text of somebody's follows.
_NO_RIGHT = re.compile(r'(?:\S+ (?:"[^"]*" )?is )?forbidden: User "[^"]*" cannot ')


class Page(NamedTuple):
    """Some objects of a list."""

    is_first: bool  #: what earlier pages brought does not count: the list was begun again
    version: int  #: of the whole list: a watch goes on from here
    items: list[Raw]


class EventType(enum.StrEnum):
    """What a watch tells."""

    CONNECTED = "CONNECTED"  #: the watch stands; the API server has no such event
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"  #: nothing else happened up to the object's version


class Event(NamedTuple):
    """One message of a watch."""

    type: EventType
    object: Raw  #: of a bookmark the version alone, of `CONNECTED` nothing


class Connection:
    """Asks the API server. Each method raises a ClusterError if it does not do as asked."""

    def __init__(self, transport: Transport, *, user_agent: str, writes_at_once: int = 16) -> None:
        """Ask by a transport.

        Args:
            transport: Carries the requests.
            user_agent: Who asks, in the API server's audit log and in managed fields.
            writes_at_once: How many writes are under way at most; reads are free.
        """
        self._transport = transport
        self._user_agent = user_agent
        self._writes = asyncio.Semaphore(writes_at_once)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Raw:
        """Return what is there: an object, or a list in one piece."""
        return await self._ask(self._request("GET", path, query))

    async def post(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Raw:
        """Store a new object in a collection; raise AlreadyExists if its name is taken.

        Where a quota counts the objects, many who come at once forestall each other at the quota:
        that is no Conflict of theirs, and the next try is lucky.

        Args:
            path: The collection's path.
            body: The object.
            dry_run: The API server judges it as ever, and stores nothing.
        """
        request = self._request("POST", path, {"dryRun": "All"} if dry_run else None, json=body)
        for pause in _QUOTA_PAUSES:
            try:
                return await self._write(request)
            except errors.AlreadyExists:
                raise
            except errors.Conflict:
                await asyncio.sleep(pause * random.random())
        raise errors.Unavailable(f"POST {path}: a quota is written too often")

    async def patch(
        self, path: str, patch: Mapping[str, Any] | Sequence[Any], *, uid: str | None = None
    ) -> Raw:
        """Change an object.

        Args:
            path: The object's path, or that of its subresource.
            patch: A JSON merge patch if it is a mapping, a JSON Patch if it is a list. A
                resourceVersion in it makes a stale write a Conflict.
            uid: Of a merge patch: the object that is meant, or it is a Conflict.
        """
        if not isinstance(patch, Mapping):
            return await self._write(
                self._request("PATCH", path, json=list(patch), content_type=_JSON_PATCH)
            )
        if uid is not None:
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}}
        try:
            return await self._write(
                self._request("PATCH", path, json=patch, content_type=_MERGE_PATCH)
            )
        except errors.Rejected as error:
            # To the API server another uid is a change of the uid: a 422, and no 409.
            if uid is not None and "metadata.uid" in str(error):
                raise errors.Conflict(str(error)) from error
            raise

    async def delete(self, path: str, *, uid: str | None = None, version: str | None = None) -> Raw:
        """Delete an object; what it owns follows in the background.

        Args:
            path: The object's path.
            uid: The object that is meant, or it is a Conflict.
            version: The resourceVersion that it must still have, or it is a Conflict.

        Returns:
            A Status, or the object as it stays until its finalizers are done.
        """
        # Without a policy a raw DELETE of a Job leaves its pods behind.
        options: Raw = {"propagationPolicy": "Background"}
        wanted = {"uid": uid, "resourceVersion": version}
        if preconditions := {key: value for key, value in wanted.items() if value is not None}:
            options["preconditions"] = preconditions
        return await self._write(self._request("DELETE", path, json=options))

    async def pages(
        self, path: str, query: Mapping[str, str] | None = None, *, limit: int = MOST_OF_A_PAGE
    ) -> AsyncIterator[Page]:
        """Yield a list page by page; there is at least one page.

        A page begins small, and the next ones are as long as makes some 1 MB of text: of the
        largest tasks that are 15, which decoded take 25 MB.

        Args:
            path: The collection's path.
            query: Selectors.
            limit: The most objects of a page.

        Raises:
            Expired: The API server forgot the list each time that it was begun.
        """
        begun, token = 1, ""
        length = min(limit, _FIRST_PAGE)
        while True:
            asked = {**(query or {}), "limit": str(length)}
            if token:
                asked["continue"] = token
            request = self._request("GET", path, asked)
            try:
                async with self._opened(request) as response:
                    page, token = await _page(request, response, is_first=not token)
                    size = response.size
            except errors.Expired:
                if not token or begun == _LISTS_ANEW:
                    raise
                begun, token = begun + 1, ""
                continue
            each = max(1, size // max(1, len(page.items)))
            length = min(limit, max(_FIRST_PAGE, _PAGE_BYTES // each))
            yield page
            # How long it stays is for its taker to say: the next one may be as large.
            del page
            if not token:
                return

    async def watch(
        self, path: str, version: int, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Event]:
        """Yield what happens in a collection after a version, until the API server ends it.

        The first event says that the watch stands. The API server ends each watch after some
        minutes; one that says nothing for 70 s is given up.

        Raises:
            Expired: The API server no longer knows what happened since then.
        """
        asked = {
            **(query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(version),
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),
        }
        request = self._request("GET", path, asked, timeouts=_WATCH)
        async with self._opened(request) as response:
            yield Event(EventType.CONNECTED, {})
            async for line in response.lines():
                with _readable(f"GET {path}"):
                    raw = deep_json.loads(line)
                    kind, told = raw["type"], raw["object"]
                    if kind != "ERROR":
                        event = Event(EventType(kind), told)
                if kind == "ERROR":
                    raise _error(request, int(told.get("code") or 500), told, {})
                yield event

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open what comes piece by piece and has no end in time: a container's log."""
        async with self._opened(self._request("GET", path, query, timeouts=_LOG)) as response:
            yield response.chunks()

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        content_type: str = _JSON,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - it is frozen
    ) -> Request:
        headers = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": self._user_agent}
        if method in ("POST", "PATCH"):
            query = {**(query or {}), "fieldManager": self._user_agent}
        return Request(method, path, query or {}, headers, json, timeouts)

    async def _write(self, request: Request) -> Raw:
        async with self._writes:
            return await self._ask(request)

    async def _ask(self, request: Request) -> Raw:
        async with self._opened(request) as response:
            with _readable(f"{request.method} {request.path}"):
                answer = await response.json()
                if not isinstance(answer, dict):
                    raise ValueError("no JSON object")
                return answer

    @contextlib.asynccontextmanager
    async def _opened(self, request: Request) -> AsyncIterator[Response]:
        async with self._transport.open(request) as response:
            if response.status >= 300:
                status = _told(await response.read())
                raise _error(request, response.status, status, response.headers)
            yield response


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Take an answer that is not what the API server would say for none."""
    try:
        yield
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise errors.Unavailable(f"{what}: an answer that cannot be read") from error


async def _page(request: Request, response: Response, *, is_first: bool) -> tuple[Page, str]:
    """Return a page of a list, and the token of the next one."""
    with _readable(f"{request.method} {request.path}"):
        raw = await response.json()
        meta = raw["metadata"]
        page = Page(is_first, int(meta["resourceVersion"]), raw["items"])
        return page, meta.get("continue", "")


def _told(body: bytes) -> Raw:
    """Return the Status of a refusal; a busy API server, or a proxy, answers in plain text."""
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(body)
        return told if isinstance(told, dict) else {}
    return {"message": body.decode(errors="replace")[: names.MESSAGE_MAX].strip()}


def _error(
    request: Request, code: int, status: Raw, headers: Mapping[str, str]
) -> errors.ClusterError:
    """Return what a refusal means."""
    message = str(status.get("message") or f"{request.method} {request.path}: HTTP {code}")
    match code:
        case 404:
            return errors.NotFound(message)
        # A quota that somebody else just wrote is a 409 too, and no name that is taken.
        case 409 if status.get("reason") == "AlreadyExists":
            return errors.AlreadyExists(message)
        case 409:
            return errors.Conflict(message)
        case 410:
            return errors.Expired(message)
        case 429:
            return errors.TooManyRequests(message, _seconds(headers.get("Retry-After", "")))
        # Both 403s have the same reason and the same details. But admission judges no reads.
        case 403 if request.method == "GET" or _NO_RIGHT.match(message):
            return errors.NoRight(message)
        case 403:
            return errors.Forbidden(message)
        case 400 | 413 | 422:
            return errors.Rejected(message, _causes(status))
        case _:
            return errors.Unavailable(message)


def _causes(status: Raw) -> Iterator[errors.Cause]:
    for cause in (status.get("details") or {}).get("causes") or ():
        yield errors.Cause(str(cause.get("field", "")), str(cause.get("message", "")))


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None

"""What becomes of tasks as a watch tells it, in the words of the API's streams.

An id is a version of Kubernetes: a stream goes on behind it as a watch does. Where Kubernetes has
forgotten what happened since then, all that there is is told of instead.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection, Event, EventType
from longtask_client import exchange, models
from longtask_client.cli.kubernetes import answers, tasks
from longtask_client.shown import tasks as shown
from longtask_crds import names, v1alpha1

#: A comment goes out in silence, as the API's streams have it.
_PING_SECONDS: Final = 15.0
_PING: Final = b": ping\n\n"
_HEAD: Final = b"retry: 1000\n\n"
_FORGOTTEN: Final = "Kubernetes has forgotten what was deleted meanwhile: list what you keep anew."


class Streams:
    """Opens streams; which tasks fitted a filter is remembered for when one comes back."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._path = kinds.TASKS.collection(namespace)
        self._namespace = namespace
        self._fitting: dict[str, set[str]] = {}  #: uids, by filter

    async def of_task(self, name: str, last_id: str) -> exchange.Answer | tasks.Pieces:
        """Return the stream of one task until its end."""
        path = kinds.TASKS.path(names.ObjectKey(self._namespace, name))
        task = kinds.TASKS.read(await self._connection.get(path))
        if last_id.isdigit() and task.is_finished and _version(task) <= int(last_id):
            return answers.answer(204, {})
        return _opened(self._follow(task, last_id))

    async def of_all(
        self, query: Mapping[str, Any], last_id: str
    ) -> exchange.Answer | tasks.Pieces:
        """Return the stream of all tasks that fit, without an end."""
        if strangers := tasks.unknown(query):
            return answers.problem(501, f"{strangers}: only LongTask's API can look for it")
        fitting = self._fitting.setdefault(repr(sorted(query.items())), set())
        if last_id:
            watch = self._watch(query, int(last_id))
            try:
                await anext(watch)  # it stands
            except cluster_errors.Forbidden as error:
                # Who may only look does so again and again.
                return answers.problem(405, f"Your account may not watch tasks: {error}")
            return _opened(self._follow_all(query, fitting, int(last_id), watch))
        begun, found = await self._listed(query)
        fitting |= {task.metadata.uid for task in found if tasks.fits(shown.view(task), query)}
        return _opened(self._follow_all(query, fitting, begun, self._watch(query, begun)))

    def _watch(self, query: Mapping[str, Any], version: int) -> AsyncIterator[Event]:
        return self._connection.watch(self._path, version, tasks.selected(query))

    async def _follow(self, task: v1alpha1.LongTask, last_id: str) -> AsyncIterator[bytes]:
        yield _HEAD
        version, known = _version(task), int(last_id) if last_id.isdigit() else 0
        query = {"fieldSelector": f"metadata.name={task.metadata.name}"}
        uid = task.metadata.uid
        if version > known:
            yield _status(task)
        if task.is_finished:
            yield _result(task)
            return
        async for event in self._connection.watch(self._path, version, query):
            match event.type:
                case EventType.ADDED | EventType.MODIFIED:
                    task = kinds.TASKS.read(event.object)
                    if task.metadata.uid == uid:
                        yield _status(task)
                        if task.is_finished:
                            yield _result(task)
                            return
                case EventType.DELETED:
                    yield _gone(event)
                    return

    async def _follow_all(
        self,
        query: Mapping[str, Any],
        fitting: set[str],
        version: int,
        watch: AsyncIterator[Event],
    ) -> AsyncIterator[bytes]:
        """Tell what one watch tells; when it ends, whoever listens comes back after a pause."""
        yield _HEAD + _id(version)
        try:
            async for event in watch:
                if event.type is not EventType.CONNECTED:
                    version = max(version, kinds.version_of(event.object))
                    yield _told(event, query, fitting) or _id(version)
        except cluster_errors.Expired:
            begun, found = await self._listed(query)
            for task in found:
                if _version(task) > version:
                    yield _news(task, query, fitting)
            yield _frame("reset", models.StreamReset(message=_FORGOTTEN), begun)

    async def _listed(self, query: Mapping[str, Any]) -> tuple[int, list[v1alpha1.LongTask]]:
        """Return all tasks, and the version from which a watch goes on."""
        raw = await self._connection.get(self._path, tasks.selected(query))
        read = (kinds.parse(kinds.TASKS, item) for item in raw["items"])
        return kinds.version_of(raw), [task for task in read if task is not None]


@contextlib.asynccontextmanager
async def _opened(told: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    yield _with_pings(told)


async def _with_pings(told: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what is told, and a comment whenever nothing is for some seconds."""
    coming: asyncio.Task[bytes | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(told))
            done, _ = await asyncio.wait({coming}, timeout=_PING_SECONDS)
            if not done:
                yield _PING
                continue
            piece, coming = coming.result(), None
            if piece is None:
                return
            yield piece
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(told: AsyncIterator[bytes]) -> bytes | None:
    return await anext(told, None)


def _told(event: Event, query: Mapping[str, Any], fitting: set[str]) -> bytes:
    """Return what an event of a watch tells whoever has this filter; nothing if that is nothing."""
    if event.type is EventType.BOOKMARK:
        return b""
    task = kinds.parse(kinds.TASKS, event.object)
    if event.type is EventType.DELETED:
        uid = event.object["metadata"]["uid"]
        # A stream that goes on has not seen all that fitted before: how it was at last tells, too.
        was_one = uid in fitting or (task is not None and tasks.fits(shown.view(task), query))
        fitting.discard(uid)
        return _gone(event) if was_one else b""
    return b"" if task is None else _news(task, query, fitting)


def _news(task: v1alpha1.LongTask, query: Mapping[str, Any], fitting: set[str]) -> bytes:
    """Return the task if it fits now, or did before."""
    fits, uid = tasks.fits(shown.view(task), query), task.metadata.uid
    is_told = fits or uid in fitting
    (fitting.add if fits else fitting.discard)(uid)
    return _status(task) if is_told else b""


def _version(task: v1alpha1.LongTask) -> int:
    return int(task.metadata.resource_version)


def _status(task: v1alpha1.LongTask) -> bytes:
    return _frame("status", shown.view(task), _version(task))


def _result(task: v1alpha1.LongTask) -> bytes:
    view = shown.view(task)
    told = models.TaskResult(
        id=view.id,
        namespace=view.namespace,
        phase=view.phase,
        reason=view.reason,
        message=view.message,
        result=view.result,
    )
    return _frame("result", told, _version(task))


def _gone(event: Event) -> bytes:
    key = kinds.key_of(event.object)
    gone = models.TaskGone(id=key.name, namespace=key.namespace)
    return _frame("deleted", gone, kinds.version_of(event.object))


def _id(version: int) -> bytes:
    return f"id: {version}\n\n".encode()


def _frame(name: str, data: BaseModel, version: int) -> bytes:
    """Return an event of a stream; JSON has no line breaks of its own."""
    text = data.model_dump_json(by_alias=True)
    return f"event: {name}\ndata: {text}\n".encode() + _id(version)

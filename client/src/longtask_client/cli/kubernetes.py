"""The command without an API: what it asks is answered from Kubernetes, by a kubeconfig alone.

`Cluster` is a client whose requests go no further than this module, so that each command that looks
at tasks, hands them over, follows their logs or cancels them is the same one. What only the API
knows (places in queues, the archive, results that are large, accounts) is refused in words. It is
the one module of the client that imports the adapters: the extra `longtask-client[kubernetes]`.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote

from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport, Transport
from longtask_client import client, errors, exchange, models
from longtask_crds import names, v1alpha1
from longtask_crds.effective import DEFAULT_PRIORITY
from longtask_crds.pipeline import runs
from longtask_crds.v1alpha1 import conditions

_T = TypeVar("_T")
_URL = "kubernetes"
_NOT_STARTED = "urn:longtask:problem:not-started"
_MOST_LISTED = 500
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Transport]]
#: What an error of Kubernetes is to a client of the API; the first that fits counts.
_STATUS: tuple[tuple[type[cluster_errors.ClusterError], int, str], ...] = (
    (cluster_errors.NotFound, 404, "There is no such thing"),
    (cluster_errors.Conflict, 409, "Something else has that name, or somebody wrote first"),
    (cluster_errors.Rejected, 422, "Kubernetes refuses it"),
    (cluster_errors.Forbidden, 403, "Your account may not do that"),
    (cluster_errors.ClusterError, 503, "Kubernetes cannot be asked now"),
)


class Cluster(client.Client):
    """A client that asks Kubernetes.

    Args:
        namespace: Where the tasks are.
        kubeconfig: The file that says where Kubernetes is; as kubectl finds it when absent.
        connect: Takes the place of the network, in tests.
    """

    def __init__(
        self, *, namespace: str, kubeconfig: Path | None = None, connect: Connect | None = None
    ) -> None:
        super().__init__(f"http://{_URL}")
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        # A log is read in a thread of its own while another looks at the task.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = contextlib.AsyncExitStack()
        self._connect = connect or (lambda: KubernetesTransport.connect(kubeconfig=kubeconfig))
        self._desk: _Desk | None = None

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self.wait_for(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of something that takes its time."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def desk(self) -> "_Desk":
        """Return who answers; it is connected when it is needed first."""
        if self._desk is None:
            transport = await self._open.enter_async_context(self._connect())
            connection = Connection(transport, user_agent="longtask-cli")
            self._desk = _Desk(connection, self._namespace)
        return self._desk

    def _conversation(self) -> "_Conversation":
        return _Conversation(self)


class _Conversation:
    """Answers requests, and holds the log that is being read."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open = contextlib.AsyncExitStack()
        self._pieces: AsyncIterator[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.wait_for(self._open.aclose())

    def send(self, asked: exchange.Request) -> exchange.Answer | errors.ConnectionFailed:
        return self._cluster.wait_for(self._send(asked))

    def read(self) -> bytes | errors.ConnectionFailed | None:
        return self._cluster.wait_for(self._read())

    async def _send(self, asked: exchange.Request) -> exchange.Answer | errors.ConnectionFailed:
        await self._open.aclose()
        try:
            desk = await self._cluster.desk()
        except cluster_errors.ClusterError as error:
            return errors.ConnectionFailed(f"Kubernetes cannot be reached: {error}")
        try:
            found = await desk.answer(asked)
            if isinstance(found, exchange.Answer):
                self._pieces = _one_piece(found.content)
                return found
            self._pieces = await self._open.enter_async_context(found)
        except cluster_errors.ClusterError as error:
            return _refusal(error)
        return _answer(200, {})

    async def _read(self) -> bytes | errors.ConnectionFailed | None:
        try:
            return None if self._pieces is None else await anext(self._pieces, None)
        except cluster_errors.ClusterError as error:
            return errors.ConnectionFailed(f"The log broke off: {error}")


class _Desk:
    """Answers what the API would be asked, as far as resources and pods tell."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    async def answer(
        self, asked: exchange.Request
    ) -> exchange.Answer | contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return the answer, or of a log what is to be opened."""
        match [unquote(part) for part in asked.path.removeprefix("/api/v1/").split("/")]:
            case ["tasks"] if asked.method == "POST":
                return await self._create(asked.body)
            case ["tasks"]:
                return await self._list(asked.query)
            case ["tasks", rest] if asked.method == "POST" and rest.endswith(":cancel"):
                return await self._cancel(rest.removesuffix(":cancel"))
            case ["tasks", name] if asked.method == "GET":
                return _answer(200, _data(_view(await self._task(name))))
            case ["tasks", name, "state"]:
                view = _view(await self._task(name))
                return _answer(200, {"state": view.phase, "percent": view.percent})
            case ["tasks", name] if asked.method == "DELETE":
                await self._connection.delete(kinds.TASKS.path(self._key(name)))
                return _answer(204, {})
            case ["tasks", name, "result"] if not asked.query:
                return _result(await self._task(name))
            case ["tasks", name, "logs"]:
                return await self._log(name, asked.query)
            case ["types"]:
                raw = await self._connection.get(kinds.TYPES.collection(self._namespace))
                found = [kinds.parse(kinds.TYPES, item) for item in raw["items"]]
                return _answer(200, {"items": [_type(one) for one in found if one is not None]})
            case ["types", name]:
                raw = await self._connection.get(kinds.TYPES.path(self._key(name)))
                return _answer(200, _type(kinds.TYPES.read(raw)))
        return _problem(501, "This needs LongTask's API, and there is none here: give --url.")

    def _key(self, name: str) -> names.ObjectKey:
        return names.ObjectKey(self._namespace, name)

    async def _task(self, name: str) -> v1alpha1.LongTask:
        return kinds.TASKS.read(await self._connection.get(kinds.TASKS.path(self._key(name))))

    async def _create(self, body: Any) -> exchange.Answer:
        spec = {key: value for key, value in body.items() if key not in _NAMING}
        metadata = {key: body[key] for key in ("name", "labels") if body.get(key)}
        raw = await self._connection.post(
            kinds.TASKS.collection(self._namespace),
            {
                "apiVersion": names.API_VERSION,
                "kind": "LongTask",
                "metadata": metadata,
                "spec": spec,
            },
        )
        return _answer(202, _data(_view(kinds.TASKS.read(raw))))

    async def _cancel(self, name: str) -> exchange.Answer:
        task = await self._task(name)
        if not task.is_finished:
            path = kinds.TASKS.path(self._key(name))
            task = kinds.TASKS.read(
                await self._connection.patch(
                    path, {"spec": {"cancel": True}}, uid=task.metadata.uid
                )
            )
        return _answer(202, _data(_view(task)))

    async def _list(self, query: Mapping[str, Any]) -> exchange.Answer:
        if unknown := set(query) - _LISTED_BY:
            return _problem(
                501, f"{', '.join(sorted(unknown))}: only LongTask's API can look for it"
            )
        selector = [*query.get("label", [])]
        selector += [f"{names.OWNER_LABEL}={query['owner']}"] if "owner" in query else []
        labels = {"labelSelector": ",".join(selector)} if selector else {}
        path = kinds.TASKS.collection(self._namespace)
        raw = await self._connection.get(path, labels)
        read = [kinds.parse(kinds.TASKS, item) for item in raw["items"]]
        views = [_view(task) for task in read if task is not None]
        wanted = [
            view
            for view in views
            if view.phase in query.get("phase", view.phase)
            and query.get("type") in (None, view.type)
            and query.get("queue") in (None, view.queue)
        ]
        wanted.sort(key=lambda view: (view.created_at, view.id), reverse=True)
        page = [_data(view) for view in wanted[: query["limit"]]]
        return _answer(200, {"items": page, "nextCursor": None})

    async def _log(
        self, name: str, query: Mapping[str, Any]
    ) -> exchange.Answer | contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]:
        pod = _pod(await self._task(name), query.get("step"), query.get("attempt"))
        if pod is None:
            return _problem(409, "Its program has not started yet.", kind=_NOT_STARTED)
        said = {_IN_KUBERNETES[key]: str(query[key]) for key in _IN_KUBERNETES if key in query}
        path = kinds.PODS.path(self._key(pod), "log")
        opened = self._connection.stream(path, {"container": names.RUNNER_CONTAINER, **said})
        return _log_or_not_started(opened)


_NAMING = ("name", "labels", "idempotencyKey")
_LISTED_BY = {"phase", "type", "queue", "owner", "label", "limit", "sort", "archived"}
_IN_KUBERNETES = {
    "follow": "follow",
    "tail": "tailLines",
    "since": "sinceTime",
    "timestamps": "timestamps",
}


class _NotYet(cluster_errors.ClusterError):
    """The container waits to start."""


@contextlib.asynccontextmanager
async def _log_or_not_started(
    opened: contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]],
) -> AsyncIterator[AsyncIterator[bytes]]:
    try:
        pieces = await opened.__aenter__()
    except cluster_errors.Rejected as error:
        raise _NotYet("Its program has not started yet.") from error
    try:
        yield pieces
    finally:
        await opened.__aexit__(None, None, None)


async def _one_piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _pod(task: v1alpha1.LongTask, step: str | None, attempt: int | None) -> str | None:
    """Return the name of the pod whose log is meant; None if it is not known yet."""
    if step is not None:
        found = runs.attempt_of(runs.status_of(task.status, step))
        return found.pod_name if found is not None else None
    attempts = task.status.attempts or []
    meant = [one for one in attempts if attempt in (None, one.number)]
    return meant[-1].pod_name if meant else None


def _view(task: v1alpha1.LongTask) -> models.TaskView:
    """Return a task as the API shows it, as far as its resource alone tells."""
    meta, spec, status = task.metadata, task.spec, task.status
    succeeded = conditions.find(status.conditions, v1alpha1.ConditionType.SUCCEEDED)
    progress = status.progress or v1alpha1.Progress()
    is_over = task.phase.is_terminal
    return models.TaskView(
        id=meta.name,
        namespace=meta.namespace,
        type=spec.type,
        phase=task.phase,
        percent=100 if task.phase is v1alpha1.Phase.SUCCEEDED else progress.percent,
        message=(succeeded.message if succeeded else None) if is_over else progress.message,
        reason=succeeded.reason if succeeded else None,
        waiting=status.waiting,
        queue=status.queue or spec.queue or names.DEFAULT_QUEUE,
        queue_position=None,
        estimated_start=None,
        priority=DEFAULT_PRIORITY if spec.priority is None else spec.priority,
        attempt=status.attempt or 0,
        attempts=list(status.attempts or []),
        disruptions=status.disruptions or 0,
        retry_at=status.retry_at,
        step=status.step,
        steps=list(status.steps or []),
        result=status.result,
        result_url=None,
        callback=status.callback,
        owner=meta.labels.get(names.OWNER_LABEL),
        owner_name=meta.annotations.get(names.OWNER_NAME_ANNOTATION),
        labels=meta.labels,
        retry_of=meta.annotations.get(names.RETRY_OF_ANNOTATION),
        created_at=meta.created_at,
        queued_at=status.queued_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        links={},
    )


def _type(one: v1alpha1.LongTaskType) -> Any:
    spec = one.spec
    return _data(
        models.TypeView(
            name=one.metadata.name,
            description=spec.description,
            input_schema=spec.input_schema,
            defaults=spec.defaults,
        )
    )


def _result(task: v1alpha1.LongTask) -> exchange.Answer:
    if not task.phase.is_terminal:
        return _problem(409, "The task is not finished.")
    result = task.status.result or v1alpha1.Result()
    if result.ref is not None:
        return _problem(501, "The result is kept by LongTask's API: give --url.")
    return _answer(200, result.value)


def _data(model: v1alpha1.Model) -> Any:
    return model.model_dump(mode="json", by_alias=True)


def _answer(status: int, document: Any, media_type: str = "application/json") -> exchange.Answer:
    content = json.dumps(document).encode()
    return exchange.Answer(_URL, status, "", {"Content-Type": media_type}, content)


def _problem(status: int, title: str, *, kind: str = "about:blank") -> exchange.Answer:
    document = {"type": kind, "title": title, "status": status}
    return _answer(status, document, exchange.PROBLEM)


def _refusal(error: cluster_errors.ClusterError) -> exchange.Answer:
    if isinstance(error, _NotYet):
        return _problem(409, str(error), kind=_NOT_STARTED)
    status, title = next(
        (status, title) for kind, status, title in _STATUS if isinstance(error, kind)
    )
    return _problem(status, f"{title}: {error}")

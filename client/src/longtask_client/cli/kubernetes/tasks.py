"""Tasks, as far as their resources and pods tell."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_client import exchange, models
from longtask_client.cli.kubernetes import answers
from longtask_client.shown import tasks as shown
from longtask_crds import names, v1alpha1
from longtask_crds.pipeline import runs

#: What comes piece by piece, to be opened.
Pieces: TypeAlias = contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]
_NAMING = ("name", "labels", "idempotencyKey")
_LISTED_BY = {"phase", "type", "queue", "owner", "label", "limit", "sort", "archived"}
_IN_KUBERNETES = {
    "follow": "follow",
    "tail": "tailLines",
    "since": "sinceTime",
    "timestamps": "timestamps",
}


class Tasks:
    """Answers what is asked of tasks."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    async def create(self, body: Any) -> exchange.Answer:
        """Store a task."""
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
        return answers.answer(202, answers.data(shown.view(kinds.TASKS.read(raw))))

    async def create_all(self, batch: Any) -> exchange.Answer:
        """Make many, each for itself: what one has is a task, or what went wrong."""
        items = []
        for order in batch["items"]:
            try:
                made = await self.create(order)
            except cluster_errors.ClusterError as error:
                made = answers.refusal(error)
            answer = json.loads(made.content)
            items.append({"status": made.status, "task" if made.is_success else "problem": answer})
        accepted = sum("task" in item for item in items)
        return answers.answer(200, {"items": items, "accepted": accepted})

    async def get(self, name: str) -> exchange.Answer:
        """Show a task."""
        return answers.answer(200, answers.data(shown.view(await self._task(name))))

    async def state(self, name: str) -> exchange.Answer:
        """Show a task's phase and progress."""
        seen = shown.view(await self._task(name))
        return answers.answer(200, {"state": seen.phase, "percent": seen.percent})

    async def result(self, name: str) -> exchange.Answer:
        """Show what a task has brought."""
        task = await self._task(name)
        if not task.phase.is_terminal:
            return answers.problem(409, "The task is not finished.")
        result = task.status.result or v1alpha1.Result()
        if result.ref is not None:
            return answers.problem(501, "The result is kept by LongTask's API: give --url.")
        return answers.answer(200, result.value)

    async def delete(self, name: str) -> exchange.Answer:
        """Remove a task."""
        await self._connection.delete(kinds.TASKS.path(self._key(name)))
        return answers.answer(204, {})

    async def cancel(self, name: str) -> exchange.Answer:
        """Ask a task to end; a finished one stays as it is."""
        task = await self._task(name)
        if not task.is_finished:
            path = kinds.TASKS.path(self._key(name))
            task = kinds.TASKS.read(
                await self._connection.patch(
                    path, {"spec": {"cancel": True}}, uid=task.metadata.uid
                )
            )
        return answers.answer(202, answers.data(shown.view(task)))

    async def page(self, query: Mapping[str, Any]) -> exchange.Answer:
        """Show the tasks that fit, the newest first."""
        if strangers := unknown(query):
            return answers.problem(501, f"{strangers}: only LongTask's API can look for it")
        path = kinds.TASKS.collection(self._namespace)
        raw = await self._connection.get(path, selected(query))
        read = [kinds.parse(kinds.TASKS, item) for item in raw["items"]]
        views = [shown.view(task) for task in read if task is not None]
        wanted = [one for one in views if fits(one, query)]
        wanted.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        page = [answers.data(one) for one in wanted[: query["limit"]]]
        return answers.answer(200, {"items": page, "nextCursor": None})

    async def log(self, name: str, query: Mapping[str, Any]) -> exchange.Answer | Pieces:
        """Return what is to be opened to read a task's log."""
        pod = _pod(await self._task(name), query.get("step"), query.get("attempt"))
        if pod is None:
            return answers.not_started()
        said = {_IN_KUBERNETES[key]: str(query[key]) for key in _IN_KUBERNETES if key in query}
        path = kinds.PODS.path(self._key(pod), "log")
        opened = self._connection.stream(path, {"container": names.RUNNER_CONTAINER, **said})
        return _log_or_not_started(opened)

    def _key(self, name: str) -> names.ObjectKey:
        return names.ObjectKey(self._namespace, name)

    async def _task(self, name: str) -> v1alpha1.LongTask:
        return kinds.TASKS.read(await self._connection.get(kinds.TASKS.path(self._key(name))))


def selected(query: Mapping[str, Any]) -> dict[str, str]:
    """Return what Kubernetes is asked by of what a list or a stream of tasks is filtered by."""
    selector = [*query.get("label", [])]
    selector += [f"{names.OWNER_LABEL}={query['owner']}"] if "owner" in query else []
    return {"labelSelector": ",".join(selector)} if selector else {}


def fits(task: models.TaskView, query: Mapping[str, Any]) -> bool:
    """Tell whether a task is like the filter says that Kubernetes is not asked by."""
    return (
        task.phase in query.get("phase", task.phase)
        and query.get("type") in (None, task.type)
        and query.get("queue") in (None, task.queue)
    )


def unknown(query: Mapping[str, Any]) -> str | None:
    """Return what of a filter only the API can look for."""
    return ", ".join(sorted(set(query) - _LISTED_BY)) or None


@contextlib.asynccontextmanager
async def _log_or_not_started(
    opened: contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]],
) -> AsyncIterator[AsyncIterator[bytes]]:
    try:
        pieces = await opened.__aenter__()
    except cluster_errors.Rejected as error:
        raise answers.NotYet from error
    try:
        yield pieces
    finally:
        await opened.__aexit__(None, None, None)


def _pod(task: v1alpha1.LongTask, step: str | None, attempt: int | None) -> str | None:
    """Return the name of the pod whose log is meant; None if it is not known yet."""
    if step is not None:
        found = runs.attempt_of(runs.status_of(task.status, step))
        return found.pod_name if found is not None else None
    attempts = task.status.attempts or []
    meant = [one for one in attempts if attempt in (None, one.number)]
    return meant[-1].pod_name if meant else None

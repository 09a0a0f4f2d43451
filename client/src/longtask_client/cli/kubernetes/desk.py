"""Who answers what the API would be asked."""

from typing import Any
from urllib.parse import unquote

from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_client import exchange, models
from longtask_client.cli.kubernetes import answers, schedules, streams, tasks
from longtask_crds import names, v1alpha1

_SUSPENDING = {"pause": True, "resume": False}


class Desk:
    """Knows who answers which question."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._tasks = tasks.Tasks(connection, namespace)
        self._streams = streams.Streams(connection, namespace)
        self._schedules = schedules.Schedules(connection, namespace)

    async def answer(self, asked: exchange.Request) -> exchange.Answer | tasks.Pieces:
        """Return the answer, or of what comes piece by piece what is to be opened."""
        parts = [unquote(part) for part in asked.path.removeprefix("/api/v1/").split("/")]
        found: exchange.Answer | tasks.Pieces | None = None
        match parts:
            case ["tasks" | "tasks:batch" | "events", *_]:
                found = await self._of_tasks(asked, parts)
            case ["schedules", *_]:
                found = await self._of_schedules(asked, parts)
            case ["types", *_]:
                found = await self._of_types(parts)
        if found is None:
            title = "This needs LongTask's API, and there is none here: give --url."
            return answers.problem(501, title)
        return found

    async def _of_tasks(
        self, asked: exchange.Request, parts: list[str]
    ) -> exchange.Answer | tasks.Pieces | None:
        last_id = asked.headers.get("Last-Event-ID", "")
        match [asked.method, *parts]:
            case ["POST", "tasks"]:
                return await self._tasks.create(asked.body)
            case ["POST", "tasks:batch"]:
                return await self._tasks.create_all(asked.body)
            case ["GET", "tasks"]:
                return await self._tasks.page(asked.query)
            case ["POST", "tasks", rest] if rest.endswith(":cancel"):
                return await self._tasks.cancel(rest.removesuffix(":cancel"))
            case ["GET", "tasks", name]:
                return await self._tasks.get(name)
            case ["DELETE", "tasks", name]:
                return await self._tasks.delete(name)
            case ["GET", "tasks", name, "state"]:
                return await self._tasks.state(name)
            case ["GET", "tasks", name, "result"] if not asked.query:
                return await self._tasks.result(name)
            case ["GET", "tasks", name, "logs"]:
                return await self._tasks.log(name, asked.query)
            case ["GET", "tasks", name, "events"]:
                return await self._streams.of_task(name, last_id)
            case ["GET", "events"]:
                return await self._streams.of_all(asked.query, last_id)
        return None

    async def _of_schedules(
        self, asked: exchange.Request, parts: list[str]
    ) -> exchange.Answer | None:
        name, _, verb = parts[1].partition(":") if len(parts) > 1 else ("", "", "")
        match [asked.method, *parts[2:]]:
            case ["POST"] if not name:
                return await self._schedules.create(asked.body)
            case ["GET"] if not name:
                return await self._schedules.page(asked.query)
            case ["POST"] if verb in _SUSPENDING:
                return await self._schedules.change(name, {"suspend": _SUSPENDING[verb]})
            case ["POST"] if verb == "trigger":
                return await self._schedules.trigger(name)
            case ["POST"] if verb == "reset-attempts":
                return await self._schedules.reset(name)
            case ["POST"] if verb == "backfill":
                return await self._schedules.backfill(name, asked.query)
            case ["PATCH"]:
                return await self._schedules.change(name, asked.body)
            case ["GET"]:
                return await self._schedules.get(name)
            case ["DELETE"]:
                return await self._schedules.delete(name)
            case ["GET", "runs"]:
                return await self._schedules.runs(name, asked.query)
            case ["GET", "status"]:
                return await self._schedules.status(name)
            case ["GET", "data"]:
                return await self._schedules.data(name, asked.query)
        return None

    async def _of_types(self, parts: list[str]) -> exchange.Answer | None:
        match parts:
            case ["types"]:
                raw = await self._connection.get(kinds.TYPES.collection(self._namespace))
                found = [kinds.parse(kinds.TYPES, item) for item in raw["items"]]
                shown = [_type(one) for one in found if one is not None]
                return answers.answer(200, {"items": shown})
            case ["types", name]:
                path = kinds.TYPES.path(names.ObjectKey(self._namespace, name))
                raw = await self._connection.get(path)
                return answers.answer(200, _type(kinds.TYPES.read(raw)))
        return None


def _type(one: v1alpha1.LongTaskType) -> Any:
    spec = one.spec
    return answers.data(
        models.TypeView(
            name=one.metadata.name,
            description=spec.description,
            input_schema=spec.input_schema,
            defaults=spec.defaults,
        )
    )

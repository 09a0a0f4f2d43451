"""Schedules, and their runs as far as there are tasks of them; none is archived here."""

import contextlib
import dataclasses
import getpass
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longtask_adapters.kube import errors as cluster_errors
from longtask_adapters.kube import kinds
from longtask_adapters.kube.connection import Connection
from longtask_client import exchange, models
from longtask_client.cli.kubernetes import answers
from longtask_client.shown import schedules as shown
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import runs, times

_WITHOUT_ARCHIVE: Final = "Archived runs are missing: only LongTask's API has them, see --url."
_KEPT: Final = "What {} brought is large, and kept by LongTask's API: see --url."
#: How often a schedule is looked at that is written to by others meanwhile: the operator, mostly.
_LOOKS: Final = 5
_SECOND: Final = timedelta(seconds=1)


class Schedules:
    """Answers what is asked of schedules."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    async def create(self, body: Any) -> exchange.Answer:
        """Store a schedule."""
        resource = {
            "apiVersion": names.API_VERSION,
            "kind": "LongTaskSchedule",
            "metadata": {"name": body["name"]},
            "spec": {key: value for key, value in body.items() if key != "name"},
        }
        path = kinds.SCHEDULES.collection(self._namespace)
        return answers.answer(201, _shown(await self._connection.post(path, resource)))

    async def change(self, name: str, spec: Any) -> exchange.Answer:
        """Change fields of a schedule's spec."""
        path = kinds.SCHEDULES.path(self._key(name))
        return answers.answer(200, _shown(await self._connection.patch(path, {"spec": spec})))

    async def page(self, query: Mapping[str, Any]) -> exchange.Answer:
        """Show the schedules, by name."""
        owner = query.get("owner")
        labels = {"labelSelector": f"{names.OWNER_LABEL}={owner}"} if owner else {}
        path = kinds.SCHEDULES.collection(self._namespace)
        raw = await self._connection.get(path, labels)
        read = [kinds.parse(kinds.SCHEDULES, item) for item in raw["items"]]
        found = sorted((one for one in read if one is not None), key=lambda s: s.metadata.name)
        page = [answers.data(shown.schedule(one)) for one in found[: query["limit"]]]
        return answers.answer(200, {"items": page, "nextCursor": None})

    async def get(self, name: str) -> exchange.Answer:
        """Show a schedule."""
        return answers.answer(200, answers.data(shown.schedule(await self._schedule(name))))

    async def delete(self, name: str) -> exchange.Answer:
        """Remove a schedule; Kubernetes removes its runs."""
        await self._connection.delete(kinds.SCHEDULES.path(self._key(name)))
        return answers.answer(204, {})

    async def trigger(self, name: str) -> exchange.Answer:
        """Ask the operator for a run now."""
        asked: list[models.RunAsked] = []

        def ask(schedule: v1alpha1.LongTaskSchedule) -> dict[str, Any]:
            asked[:] = [shown.run_asked(name, _now())]
            return _asking(schedule, asked)

        refused, _ = await self._patched(name, ask)
        return refused or answers.answer(202, answers.data(asked[0]))

    async def backfill(self, name: str, query: Mapping[str, Any]) -> exchange.Answer:
        """Ask the operator for a run of each time that was due in a range."""
        since, until = (datetime.fromisoformat(query[end]) for end in ("from", "to"))
        if until < since:
            return answers.problem(422, "The range ends before it begins.")
        if until > _now() + _SECOND:
            return answers.problem(422, "The range is not past yet.")
        asked: list[models.RunAsked] = []

        def ask(schedule: v1alpha1.LongTaskSchedule) -> dict[str, Any]:
            try:
                named = times.Times.of(schedule)
            except times.Unreadable as error:
                raise _Refused(409, f"The schedule names no times: {error.message}.") from error
            due = named.between(since - _SECOND, until - _SECOND, runs.MOST_ASKED + 1)
            if len(due) > runs.MOST_ASKED:
                raise _Refused(422, f"More than {runs.MOST_ASKED} times are due in that range.")
            asked[:] = [shown.run_asked(name, at) for at in due]
            return _asking(schedule, asked)

        refused, _ = await self._patched(name, ask)
        return refused or answers.answer(202, answers.data(models.RunsAsked(items=asked)))

    async def reset(self, name: str) -> exchange.Answer:
        """Ask the operator to forget the failures, and let the schedule go on."""

        def reset(schedule: v1alpha1.LongTaskSchedule) -> dict[str, Any]:
            # Whatever our clock says: what is not later than the last one is no news.
            last = schedule.status.reset_at
            at = _now() if last is None else max(_now(), last + _SECOND)
            said = {names.RESET_ANNOTATION: f"{runs.text_of(at)} {_who()}"}
            return {"metadata": {"annotations": said}, "spec": {"suspend": False}}

        refused, found = await self._patched(name, reset)
        return refused or answers.answer(200, _shown(found))

    async def runs(self, name: str, query: Mapping[str, Any]) -> exchange.Answer:
        """Show the runs of which there are tasks, the newest first."""
        found = await self._runs(await self._schedule(name))
        page = [answers.data(shown.run(task)) for task in found[: query["limit"]]]
        return _page(page, _WITHOUT_ARCHIVE)

    async def status(self, name: str) -> exchange.Answer:
        """Show how the last run went, and what the last brought that succeeded."""
        schedule = await self._schedule(name)
        succeeded = _succeeded(await self._runs(schedule))
        missing = None
        if succeeded:
            missing = _missing(succeeded[:1])
        elif schedule.status.last_successful_time is not None:
            missing = _WITHOUT_ARCHIVE
        data = _brought(succeeded[0]) if succeeded else shown.Brought()
        answer = answers.answer(200, answers.data(shown.status(schedule, data)))
        said = {exchange.INCOMPLETE: missing} if missing else {}
        return dataclasses.replace(answer, headers={**answer.headers, **said})

    async def data(self, name: str, query: Mapping[str, Any]) -> exchange.Answer:
        """Show what the runs brought that succeeded and of which there are tasks."""
        found = _succeeded(await self._runs(await self._schedule(name)))[: query["limit"]]
        page = [answers.data(shown.datum(task, _brought(task))) for task in found]
        missing = filter(None, (_WITHOUT_ARCHIVE, _missing(found)))
        return _page(page, " ".join(missing))

    async def _patched(
        self, name: str, patch: Callable[[v1alpha1.LongTaskSchedule], dict[str, Any]]
    ) -> tuple[exchange.Answer | None, kinds.Raw]:
        """Patch a schedule as it is now; return why not, or what it is by then."""
        path = kinds.SCHEDULES.path(self._key(name))
        for _ in range(_LOOKS):
            schedule = await self._schedule(name)
            try:
                made = patch(schedule)
            except _Refused as refused:
                return answers.problem(refused.status, str(refused)), {}
            made["metadata"]["resourceVersion"] = schedule.metadata.resource_version
            with contextlib.suppress(cluster_errors.Conflict):
                return None, await self._connection.patch(path, made, uid=schedule.metadata.uid)
        return answers.problem(409, "The schedule is being changed too often."), {}

    def _key(self, name: str) -> names.ObjectKey:
        return names.ObjectKey(self._namespace, name)

    async def _schedule(self, name: str) -> v1alpha1.LongTaskSchedule:
        path = kinds.SCHEDULES.path(self._key(name))
        return kinds.SCHEDULES.read(await self._connection.get(path))

    async def _runs(self, schedule: v1alpha1.LongTaskSchedule) -> list[v1alpha1.LongTask]:
        """Return the tasks of a schedule's runs, the newest first."""
        labels = {names.SCHEDULE_LABEL: schedule.metadata.name}
        # A name may have been another's before; whose the runs are by now, they say.
        if (owner := schedule.metadata.labels.get(names.OWNER_LABEL)) is not None:
            labels[names.OWNER_LABEL] = owner
        selector = {"labelSelector": ",".join(f"{key}={text}" for key, text in labels.items())}
        raw = await self._connection.get(kinds.TASKS.collection(self._namespace), selector)
        read = (kinds.parse(kinds.TASKS, item) for item in raw["items"])
        found = [task for task in read if task is not None]
        return sorted(
            found, key=lambda task: (task.metadata.created_at, task.metadata.name), reverse=True
        )


class _Refused(Exception):
    """It cannot be asked for; the words are for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _asking(
    schedule: v1alpha1.LongTaskSchedule, asked: Iterable[models.RunAsked]
) -> dict[str, Any]:
    if (refusal := shown.refusal(schedule)) is not None:
        raise _Refused(409, refusal)
    try:
        return runs.asking_for(schedule, [one.scheduled_at for one in asked])
    except runs.TooManyAsked as error:
        raise _Refused(409, str(error)) from error


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _who() -> str:
    """Return who asks, as the machine knows them: Kubernetes does not tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # it knows no name
        return "unknown"


def _shown(raw: kinds.Raw) -> Any:
    return answers.data(shown.schedule(kinds.SCHEDULES.read(raw)))


def _succeeded(found: list[v1alpha1.LongTask]) -> list[v1alpha1.LongTask]:
    return [task for task in found if task.phase is v1alpha1.Phase.SUCCEEDED]


def _brought(task: v1alpha1.LongTask) -> shown.Brought:
    return shown.Brought(task.status.result.value if task.status.result else None)


def _missing(found: list[v1alpha1.LongTask]) -> str | None:
    """Return which of the results are not in the tasks."""
    there = ((task.metadata.name, task.status.result) for task in found)
    large = [name for name, result in there if result is not None and result.ref is not None]
    return _KEPT.format(", ".join(large)) if large else None


def _page(items: list[Any], incomplete: str) -> exchange.Answer:
    page = {"items": items, "nextCursor": None, "incomplete": incomplete}
    return answers.answer(200, page)

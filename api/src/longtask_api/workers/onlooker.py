"""Sees what others did to tasks and schedules by Kubernetes itself: kubectl, a pipeline, Argo CD.

Kubernetes tells by which program a field was written, in `managedFields`, and not by whom. Who
deletes leaves no such trace: what it takes to know that is the API server's own audit log.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from longtask_api.stores.audit import Entry
from longtask_client.models import ActOutcome, Door
from longtask_crds import names, v1alpha1
from longtask_crds.schedule import runs

_R = TypeVar("_R", bound=v1alpha1.Resource)
#: Says who has written which field.
Fields = list[Mapping[str, Any]]

#: What we write as, ourselves: that was asked for by REST, or by nobody.
_OURS: Final = frozenset({"longtask-api", "longtask-operator"})
#: Of what is older than this that a new start finds nothing is said: it was, when they were made.
_NEWS_WITHIN: Final = timedelta(days=1)
#: The same act has the same id whichever replica sees it, and whenever.
_IDS: Final = uuid.UUID("5f1d6f3e-8f5c-4f0e-9a55-6c1f5f6f6d1b")


class Onlooker(Generic[_R]):
    """Is shown resources of a kind as the API server gives them, then told what changed of them."""

    def __init__(
        self,
        acts: Callable[[_R | None, _R, Fields], Iterable[Entry]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Look on.

        Args:
            acts: Returns what somebody did who made the second of the first, if there was one.
            clock: Returns the time.
        """
        self._acts = acts
        self._clock = clock
        self._tell: Callable[[Iterable[Entry]], None] | None = None
        self._seen: Mapping[str, Any] = {}

    def tell(self, keep: Callable[[Iterable[Entry]], None]) -> None:
        """Tell of what is seen from now on."""
        self._tell = keep

    def shown(self, raw: Mapping[str, Any]) -> None:
        """Look at one of which the cache tells next, if it is news."""
        self._seen = raw["metadata"]

    def changed(self, before: _R | None, after: _R | None) -> None:
        """Say who did it, if it was somebody who came by Kubernetes itself."""
        seen, self._seen = self._seen, {}
        if after is None or self._tell is None or seen.get("uid") != after.metadata.uid:
            return  # it goes, or a write of our own brought it
        if before is not None and before.metadata.uid != after.metadata.uid:
            before = None
        if before is None and after.metadata.created_at < self._clock() - _NEWS_WITHIN:
            return
        self._tell(self._acts(before, after, seen.get("managedFields") or []))


def of_task(
    before: v1alpha1.LongTask | None, after: v1alpha1.LongTask, fields: Fields
) -> Iterator[Entry]:
    """Yield what was done to a task."""
    if before is None:
        writer = _writer(fields, "f:spec", ".") or _first(fields)
        yield from _act(after, "createTask", "", writer)
        return
    if after.spec.cancel and not before.spec.cancel:
        yield from _act(after, "cancelTask", "", _writer(fields, "f:spec", "f:cancel"))
    if after.spec.priority != before.spec.priority:
        writer = _writer(fields, "f:spec", "f:priority")
        told = {"priority": after.spec.priority}
        yield from _act(after, "changeTask", str(after.metadata.generation), writer, told)
    ttl = after.spec.ttl_seconds_after_finished
    if ttl != before.spec.ttl_seconds_after_finished:
        writer = _writer(fields, "f:spec", "f:ttlSecondsAfterFinished")
        which = f"{after.metadata.generation}/ttl"
        yield from _act(after, "changeTask", which, writer, {"ttlSecondsAfterFinished": ttl})
    request = after.metadata.annotations.get(names.REDELIVER_ANNOTATION)
    if request is not None and request != before.metadata.annotations.get(
        names.REDELIVER_ANNOTATION
    ):
        writer = _annotator(fields, names.REDELIVER_ANNOTATION)
        yield from _act(after, "redeliverTaskCallback", request, writer)


def of_schedule(
    before: v1alpha1.LongTaskSchedule | None, after: v1alpha1.LongTaskSchedule, fields: Fields
) -> Iterator[Entry]:
    """Yield what was done to a schedule."""
    if before is None:
        yield from _act(
            after, "createSchedule", "", _writer(fields, "f:spec", ".") or _first(fields)
        )
        return
    generation = str(after.metadata.generation)
    reset = after.metadata.annotations.get(names.RESET_ANNOTATION)
    is_reset = reset is not None and reset != before.metadata.annotations.get(
        names.RESET_ANNOTATION
    )
    if is_reset:
        writer = _annotator(fields, names.RESET_ANNOTATION)
        yield from _act(after, "resetScheduleAttempts", str(reset), writer)
    # A reset lets it go on: that is one act.
    if bool(after.spec.suspend) != bool(before.spec.suspend) and not is_reset:
        act = "pauseSchedule" if after.spec.suspend else "resumeSchedule"
        yield from _act(after, act, generation, _writer_of(fields, {"suspend"}))
    old, new = before.spec.to_json(), after.spec.to_json()
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    if changed := changed - {"suspend"}:
        told = {"fields": sorted(changed)}
        yield from _act(after, "changeSchedule", generation, _writer_of(fields, changed), told)
    if asked := runs.asking(set(runs.asked(after)) - set(runs.asked(before))):
        count = len(asked.split(","))
        act = "triggerSchedule" if count == 1 else "backfillSchedule"
        writer = _annotator(fields, names.RUN_AT_ANNOTATION)
        yield from _act(after, act, asked, writer, {"runs": count})


def _act(
    found: v1alpha1.Resource,
    act: str,
    which: str,
    writer: Mapping[str, Any] | None,
    detail: Mapping[str, Any] | None = None,
) -> Iterator[Entry]:
    if writer is None or writer.get("manager") in _OURS:
        return
    uid = found.metadata.uid
    yield Entry(
        id=uuid.uuid5(_IDS, f"{uid}/{act}/{which}").hex,
        at=_moment(writer) or found.metadata.created_at,
        door=Door.KUBERNETES,
        act=act,
        actor=str(writer.get("manager") or "unknown")[:256],
        subject="",
        target=found.metadata.name,
        target_uid=uid,
        outcome=ActOutcome.DONE,
        detail=dict(detail or {}),
    )


def _annotator(fields: Fields, annotation: str) -> Mapping[str, Any] | None:
    return _writer(fields, "f:metadata", "f:annotations", f"f:{annotation}")


def _writer_of(fields: Fields, changed: Iterable[str]) -> Mapping[str, Any] | None:
    """Return who changed these fields of a spec: of one that was taken away, who wrote last."""
    found = (_writer(fields, "f:spec", f"f:{name}") for name in changed)
    writers = [writer for writer in found if writer is not None]
    return max(writers, key=_time, default=None) or _writer(fields, "f:spec")


def _writer(fields: Fields, *path: str) -> Mapping[str, Any] | None:
    """Return who wrote a field last, or None if nobody says so."""
    found = [entry for entry in fields if not entry.get("subresource") and _has(entry, path)]
    return max(found, key=_time, default=None)


def _first(fields: Fields) -> Mapping[str, Any] | None:
    """Return who wrote first: of a server-side apply, that has no field for all of the spec."""
    return min((entry for entry in fields if not entry.get("subresource")), key=_time, default=None)


def _has(entry: Mapping[str, Any], path: Iterable[str]) -> bool:
    found: Any = entry.get("fieldsV1")
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    return True


def _time(entry: Mapping[str, Any]) -> str:
    return str(entry.get("time") or "")


def _moment(entry: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(_time(entry)).astimezone(UTC)
    except ValueError:
        return None

"""Sees what others did to tasks by Kubernetes itself: kubectl, a pipeline of somebody's, Argo CD.

Kubernetes tells by which program a field was written, in `managedFields`, and not by whom. Who
deletes leaves no such trace: what it takes to know that is the API server's own audit log.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from longtask_api.stores.audit import Entry
from longtask_client.models import ActOutcome, Door
from longtask_crds import names, v1alpha1

#: What we write as, ourselves: that was asked for by REST, or by nobody.
_OURS: Final = frozenset({"longtask-api", "longtask-operator"})
#: Of tasks older than this that a new start finds nothing is said: it was, when they were made.
_NEWS_WITHIN: Final = timedelta(days=1)
#: The same act has the same id whichever replica sees it, and whenever.
_IDS: Final = uuid.UUID("5f1d6f3e-8f5c-4f0e-9a55-6c1f5f6f6d1b")


class Onlooker:
    """Is shown tasks as the API server gives them, then told what changed of them."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._tell: Callable[[Iterable[Entry]], None] | None = None
        self._seen: Mapping[str, Any] = {}

    def tell(self, keep: Callable[[Iterable[Entry]], None]) -> None:
        """Tell of what is seen from now on."""
        self._tell = keep

    def shown(self, raw: Mapping[str, Any]) -> None:
        """Look at a task of which the cache tells next, if it is news."""
        self._seen = raw["metadata"]

    def changed(self, before: v1alpha1.LongTask | None, after: v1alpha1.LongTask | None) -> None:
        """Say who did it, if it was somebody who came by Kubernetes itself."""
        seen, self._seen = self._seen, {}
        if after is None or self._tell is None or seen.get("uid") != after.metadata.uid:
            return  # it goes, or a write of our own brought it
        if before is not None and before.metadata.uid != after.metadata.uid:
            before = None
        if before is None and after.metadata.created_at < self._clock() - _NEWS_WITHIN:
            return
        self._tell(_acts(before, after, seen.get("managedFields") or []))


def _acts(
    before: v1alpha1.LongTask | None, after: v1alpha1.LongTask, fields: list[Mapping[str, Any]]
) -> Iterator[Entry]:
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
    request = after.metadata.annotations.get(names.REDELIVER_ANNOTATION)
    if request is not None and request != before.metadata.annotations.get(
        names.REDELIVER_ANNOTATION
    ):
        path = ("f:metadata", "f:annotations", f"f:{names.REDELIVER_ANNOTATION}")
        yield from _act(after, "redeliverTaskCallback", request, _writer(fields, *path))


def _act(
    task: v1alpha1.LongTask,
    act: str,
    which: str,
    writer: Mapping[str, Any] | None,
    detail: Mapping[str, Any] | None = None,
) -> Iterator[Entry]:
    if writer is None or writer.get("manager") in _OURS:
        return
    uid = task.metadata.uid
    yield Entry(
        id=uuid.uuid5(_IDS, f"{uid}/{act}/{which}").hex,
        at=_moment(writer) or task.metadata.created_at,
        door=Door.KUBERNETES,
        act=act,
        actor=str(writer.get("manager") or "unknown")[:256],
        subject="",
        target=task.metadata.name,
        target_uid=uid,
        outcome=ActOutcome.DONE,
        detail=dict(detail or {}),
    )


def _writer(fields: list[Mapping[str, Any]], *path: str) -> Mapping[str, Any] | None:
    """Return who wrote a field last, or None if nobody says so."""
    found = [entry for entry in fields if not entry.get("subresource") and _has(entry, path)]
    return max(found, key=_time, default=None)


def _first(fields: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
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

"""Filters, order and pages of the list of tasks. Pure.

A cursor holds the sorting key of the last task that was shown, so no page repeats or misses a
task that stays where it is, whatever comes and goes meanwhile.
"""

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from longtask_api import errors
from longtask_api.services import views
from longtask_client import models
from longtask_crds import names, queueing, v1alpha1

_REQUIREMENT = re.compile(r"(?P<key>[-A-Za-z0-9_./]+)==?(?P<value>[-A-Za-z0-9_.]*)")
#: Many times what one of ours has, and too little for a hole that is deep.
_CURSOR_MAX = 1024

Key = list[Any]


class Queues(Protocol):
    """Knows who waits where."""

    def queue_of(self, task: v1alpha1.LongTask) -> str:
        """Return the queue that the task waits in, holds a place in, or came through."""

    def rank(self, task: v1alpha1.LongTask) -> queueing.Rank | None:
        """Return what sorts the tasks that wait, or None if it does not wait."""


@dataclasses.dataclass(frozen=True)
class Filter:
    """What tasks must be like to be listed; what is empty does not matter."""

    phases: tuple[v1alpha1.Phase, ...] = ()
    queue: str | None = None
    type: str | None = None
    owner: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def matches(self, task: v1alpha1.LongTask, queues: Queues) -> bool:
        """Tell whether the task is to be listed."""
        labels = task.metadata.labels
        return (
            (not self.phases or views.phase_of(task) in self.phases)
            and self.type in (None, task.spec.type)
            and self.owner in (None, labels.get(names.OWNER_LABEL))
            and all(labels.get(key) == value for key, value in self.labels)
            and (self.queue is None or self.queue == queues.queue_of(task))
        )


def parse_selectors(selectors: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read label selectors such as `a=b,c=d`.

    Raises:
        Invalid: One cannot be read.
    """
    found = []
    for part in (part.strip() for selector in selectors for part in selector.split(",")):
        match = _REQUIREMENT.fullmatch(part)
        if match is None:
            wrong = errors.finding("label", "write key=value,key2=value2")
            raise errors.Invalid(errors=[wrong])
        found.append((match["key"], match["value"]))
    return tuple(found)


def page(
    tasks: Iterable[v1alpha1.LongTask],
    queues: Queues,
    wanted: Filter,
    *,
    sort: models.SortOrder,
    limit: int,
    cursor: str | None,
) -> tuple[list[v1alpha1.LongTask], str | None]:
    """Return the tasks of one page, and the cursor of the next one.

    Raises:
        Malformed: The cursor is none of ours, or of another list.
    """
    newest_first = sort is models.SortOrder.NEWEST
    mark = _fingerprint(wanted, sort)
    after = _decode(cursor, mark, sort) if cursor else None
    found = [(_key(task, queues, sort), task) for task in tasks if wanted.matches(task, queues)]
    found.sort(key=lambda pair: pair[0], reverse=newest_first)
    if after is not None:
        found = [pair for pair in found if (pair[0] < after if newest_first else pair[0] > after)]
    shown = found[:limit]
    more = _encode(shown[-1][0], mark) if len(found) > limit else None
    return [task for _, task in shown], more


def _key(task: v1alpha1.LongTask, queues: Queues, sort: models.SortOrder) -> Key:
    name, created = task.metadata.name, _text(task.metadata.created_at)
    if sort is not models.SortOrder.NEXT:
        return [created, name]
    if (rank := queues.rank(task)) is None:
        return [1, created, name]
    return [0, *rank]


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def _fingerprint(wanted: Filter, sort: models.SortOrder) -> str:
    return hashlib.sha256(repr((dataclasses.astuple(wanted), sort)).encode()).hexdigest()[:12]


def _encode(key: Key, mark: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([mark, *key]).encode()).decode().rstrip("=")


def _decode(cursor: str, mark: str, sort: models.SortOrder) -> Key:
    unreadable = errors.Malformed("The cursor cannot be read.")
    if len(cursor) > _CURSOR_MAX:
        raise unreadable
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found, *rest = json.loads(text)
    except (ValueError, TypeError) as error:
        raise unreadable from error
    if found != mark:
        raise errors.Malformed("The cursor belongs to a list with other filters.")
    key: Key = rest
    if not _is_key(key, sort):
        raise unreadable
    return key


def _is_key(key: Key, sort: models.SortOrder) -> bool:
    """Tell whether it can be compared with every key of such a list."""
    kinds = [type(part) for part in key]
    if sort is not models.SortOrder.NEXT:
        return kinds == [str, str]
    return (kinds == [int, int, int, str] and key[0] == 0) or (
        kinds == [int, str, str] and key[0] == 1
    )

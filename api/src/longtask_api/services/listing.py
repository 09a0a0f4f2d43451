"""Filters, order and pages of the list of tasks.

A cursor holds the sorting key of the last task that was shown, so no page repeats or misses a
task that stays where it is, whatever comes and goes meanwhile.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import cursors
from longtask_api.services.cursors import Key
from longtask_api.stores.catalogue import Age, Record
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey

_REQUIREMENT = re.compile(r"(?P<key>[-A-Za-z0-9_./]+)==?(?P<value>[-A-Za-z0-9_.]*)")
#: Some milliseconds of a process that has other things to do.
MOST_LOOKS = 2_000
#: Of the list of who is next: its first part, and all others.
_WAITS, _WAITS_NOT = 0, 1


@dataclasses.dataclass(frozen=True)
class Filter:
    """What tasks must be like to be listed; what is empty does not matter."""

    phases: tuple[v1alpha1.Phase, ...] = ()
    queue: str | None = None
    type: str | None = None
    owner: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def matches(self, task: Record, resources: Resources) -> bool:
        """Tell whether the task is to be listed."""
        return (
            (not self.phases or task.phase in self.phases)
            and self.type in (None, task.type)
            and self.owner in (None, task.owner)
            and all(label in task.labels for label in self.labels)
            and (self.queue is None or self.queue == resources.queue_of(task))
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
    resources: Resources,
    caller: callers.Caller,
    wanted: Filter,
    *,
    sort: models.SortOrder,
    limit: int,
    cursor: str | None,
    most_looks: int = MOST_LOOKS,
) -> tuple[list[Record], str | None]:
    """Return the tasks of one page that the caller may see, and the cursor of the next one.

    A page begins where the cursor says. It looks only at tasks of the wanted phases, type or owner,
    whichever are fewest, and at no more than `most_looks`: where few of those fit, it has fewer
    tasks than the limit, or none, and a cursor all the same.

    Raises:
        Malformed: The cursor is none of ours, or of another list.
    """
    mark = cursors.mark_of("tasks", dataclasses.astuple(wanted), sort)
    is_key = functools.partial(_is_key, sort=sort)
    last = cursors.decode(cursor, mark, is_key) if cursor else None
    found: list[Record] = []
    for looks, (key, task) in enumerate(_walk(resources, caller, wanted, sort, after=last)):
        fits = task and caller.may_see(task.owner) and wanted.matches(task, resources)
        if looks == most_looks or (fits and len(found) == limit):
            assert last is not None
            return found, cursors.encode(last, mark)
        if task and fits:
            found.append(task)
        last = key
    return found, None


def _walk(
    resources: Resources,
    caller: callers.Caller,
    wanted: Filter,
    sort: models.SortOrder,
    *,
    after: Key | None,
) -> Iterator[tuple[Key, Record | None]]:
    """Yield what may be wanted behind that key, in order; None stands for what came before."""
    by_age = functools.partial(
        resources.catalogue.by_age,
        phases=wanted.phases,
        type=wanted.type,
        owner=wanted.owner if caller.is_admin else caller.subject,
        newest_first=sort is models.SortOrder.NEWEST,
    )
    if sort is not models.SortOrder.NEXT:
        for task in by_age(after=_age(after) if after else None):
            yield (task.created, *task.key), task
        return
    # First who waits, then all others, the oldest first.
    among_others = after is not None and after[0] == _WAITS_NOT
    if not among_others:
        behind = (after[1], after[2], after[3]) if after else None
        for task in resources.waiting(wanted.queue, after=behind):
            rank = resources.rank(task)
            assert rank is not None
            yield (_WAITS, *rank), task
    for task in by_age(after=_age(after[1:]) if after and among_others else None):
        yield (_WAITS_NOT, task.created, *task.key), None if resources.rank(task) else task


def _age(key: Key) -> Age:
    created, namespace, name = key
    return created, ObjectKey(namespace, name)


def _is_key(key: Key, *, sort: models.SortOrder) -> bool:
    """Tell whether it can be compared with every key of such a list."""
    kinds = [type(part) for part in key]
    if sort is not models.SortOrder.NEXT:
        return kinds == [int, str, str]
    return (kinds == [int, int, int, str] and key[0] == _WAITS) or (
        kinds == [int, int, str, str] and key[0] == _WAITS_NOT
    )

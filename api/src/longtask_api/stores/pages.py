"""One page of the list of all tasks, live and archived: each once, wherever it is by then.

Both stores give what comes behind the cursor in the same order, each as far as it looked; what
both have looked at is the page. The live ones are looked at first: a task goes into the archive
before it leaves Kubernetes, so whatever is missed there is found here.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores.catalogue import Age, Record
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey

#: What sorts a task in a list: its age, or whether it waits and then its rank or its age.
Key = tuple[Any, ...]

#: Some milliseconds of a process that has other things to do.
MOST_LOOKS = 2_000
#: Of the list of who is next: its first part, and all others.
_WAITS, _WAITS_NOT = 0, 1


class Page(NamedTuple):
    """Some tasks of a list."""

    tasks: list[v1alpha1.LongTask]
    end: Key | None  #: the next page begins behind it; None: there is none
    is_whole: bool = True  #: False: the archive did not answer


class _Part(NamedTuple):
    """What one store has for the page."""

    found: list[tuple[Key, v1alpha1.LongTask]]
    end: Key | None = None  #: it looked no further than this one; None: it looked at all


async def page(
    resources: Resources,
    lines: Lines,
    caller: callers.Caller,
    wanted: Filter,
    *,
    sort: models.SortOrder,
    after: Key | None,
    limit: int,
    most_looks: int = MOST_LOOKS,
) -> Page:
    """Return the tasks of one page that the caller may see.

    It looks only at tasks of the wanted phases, type or owner, whichever are fewest, and of the
    live ones at no more than `most_looks`: where few of those fit, it has fewer tasks than the
    limit, or none, and an end all the same.

    Raises:
        DatabaseAway: The archive does not answer, and nothing else is wanted.
    """
    walk = _walk(resources, lines, caller, wanted, sort, after=after)
    live = _live(resources, lines, caller, wanted, walk, limit=limit, most_looks=most_looks)
    newest_first = sort is models.SortOrder.NEWEST
    if not wanted.wants_archived or _is_among_waiting(live.end, sort):
        return _merged(live, _Part([]), limit=limit, newest_first=newest_first)
    try:
        archived = await _archived(
            resources, caller, wanted, sort, after=after, end=live.end, limit=limit
        )
    except errors.DatabaseAway:
        if wanted.archived:
            raise
        found = _merged(live, _Part([]), limit=limit, newest_first=newest_first)
        return found._replace(is_whole=False)
    return _merged(live, archived, limit=limit, newest_first=newest_first)


def is_key(key: Any, *, sort: models.SortOrder) -> bool:
    """Tell whether it can be compared with every key of such a list."""
    kinds = [type(part) for part in key]
    if sort is not models.SortOrder.NEXT:
        return kinds == [int, str, str, str]
    return (kinds == [int, int, int, str] and key[0] == _WAITS) or (
        kinds == [int, int, str, str, str] and key[0] == _WAITS_NOT
    )


def _live(
    resources: Resources,
    lines: Lines,
    caller: callers.Caller,
    wanted: Filter,
    walk: Iterator[tuple[Key, Record | None]],
    *,
    limit: int,
    most_looks: int,
) -> _Part:
    found: list[tuple[Key, v1alpha1.LongTask]] = []
    last: Key | None = None
    for looks, (key, record) in enumerate(walk):
        if looks == most_looks or len(found) > limit:
            return _Part(found, last)
        if record is not None and caller.may_see(record.owner):
            fits = wanted.matches(record, queue=lines.queue_of(record))
            task = resources.cached_task(record.key) if fits else None
            if task is not None:
                found.append((key, task))
        last = key
    return _Part(found)


async def _archived(
    resources: Resources,
    caller: callers.Caller,
    wanted: Filter,
    sort: models.SortOrder,
    *,
    after: Key | None,
    end: Key | None,
    limit: int,
) -> _Part:
    """Return what the archive has up to where the live tasks were looked at."""
    low, high = _between(wanted, sort, after, end)
    found, looked = await resources.archive.page(
        wanted,
        owner=None if caller.sees_all else caller.subject,
        low=low,
        high=high,
        newest_first=sort is models.SortOrder.NEWEST,
        limit=limit + 1,
    )
    return _Part(
        [(_key(Record.of(task).age, sort), task) for task in found],
        None if looked is None else _key(looked, sort),
    )


def _walk(
    resources: Resources,
    lines: Lines,
    caller: callers.Caller,
    wanted: Filter,
    sort: models.SortOrder,
    *,
    after: Key | None,
) -> Iterator[tuple[Key, Record | None]]:
    """Yield what may be wanted behind that key, in order; None stands for what came before."""
    if wanted.archived:
        return
    low, high = _between(wanted, sort, after, None)
    by_age: Callable[[], Iterator[Record]] = functools.partial(
        resources.catalogue.by_age,
        phases=wanted.phases,
        type=wanted.type,
        owner=wanted.owner if caller.sees_all else caller.subject,
        schedule=wanted.schedule,
        low=low,
        high=high,
        newest_first=sort is models.SortOrder.NEWEST,
    )
    if sort is not models.SortOrder.NEXT:
        for task in by_age():
            yield _key(task.age, sort), task
        return
    # First who waits, then all others, the oldest first.
    if after is None or after[0] == _WAITS:
        behind = (after[1], after[2], after[3]) if after else None
        for task in lines.waiting(wanted.queue, after=behind):
            rank = lines.rank(task)
            assert rank is not None
            yield (_WAITS, *rank), task
    for task in by_age():
        yield _key(task.age, sort), None if lines.rank(task) else task


def _between(
    wanted: Filter, sort: models.SortOrder, after: Key | None, end: Key | None
) -> tuple[Age | None, Age | None]:
    """Return the ages between which the list goes on, up to an end if there is one."""
    low, high = wanted.ages
    begins, ends = _age(after, sort), _age(end, sort)
    if sort is models.SortOrder.NEWEST:
        begins, ends = ends, begins
    return (
        max((age for age in (low, begins) if age is not None), default=None),
        min((age for age in (high, ends) if age is not None), default=None),
    )


def _merged(live: _Part, archived: _Part, *, limit: int, newest_first: bool) -> Page:
    """Return the first tasks of both, in order."""
    nearest = max if newest_first else min
    end = nearest((part.end for part in (live, archived) if part.end is not None), default=None)
    # Of a task that is on its way from one to the other, the live one is shown.
    tasks = dict(archived.found) | dict(live.found)
    keys = sorted(tasks, reverse=newest_first)
    if end is not None:
        keys = [key for key in keys if nearest(key, end) == key]
    if len(keys) > limit:
        keys, end = keys[:limit], keys[limit - 1]
    return Page([tasks[key] for key in keys], end)


def _key(age: Age, sort: models.SortOrder) -> Key:
    created, key, uid = age
    flat = (created, *key, uid)
    return (_WAITS_NOT, *flat) if sort is models.SortOrder.NEXT else flat


def _age(key: Key | None, sort: models.SortOrder) -> Age | None:
    """Return the age that the key stands for, or None if it stands for a place in line."""
    if key is None or _is_among_waiting(key, sort):
        return None
    created, namespace, name, uid = key[1:] if sort is models.SortOrder.NEXT else key
    return created, ObjectKey(namespace, name), uid


def _is_among_waiting(key: Key | None, sort: models.SortOrder) -> bool:
    return sort is models.SortOrder.NEXT and key is not None and key[0] == _WAITS

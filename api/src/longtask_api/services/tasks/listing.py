"""Filters and cursors of the list of tasks.

A cursor holds the sorting key of the last task that was shown, so no page repeats or misses a
task that stays where it is, whatever comes and goes meanwhile.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable
from typing import Final

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import cursors
from longtask_api.stores import pages
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models

#: One requirement of a selector, `a=b`.
SELECTOR: Final = "[-A-Za-z0-9_./]+==?[-A-Za-z0-9_.]*"
_REQUIREMENT = re.compile(r"(?P<key>[-A-Za-z0-9_./]+)==?(?P<value>[-A-Za-z0-9_.]*)")


def parse_selectors(selectors: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read label selectors such as `a=b,c=d`.

    Raises:
        Invalid: One cannot be read.
    """
    found = []
    for part in (part.strip() for selector in selectors for part in selector.split(",")):
        match = _REQUIREMENT.fullmatch(part)
        if match is None:
            wrong = errors.outside(models.Place.QUERY, "label", "write key=value,key2=value2")
            raise errors.Invalid(errors=[wrong])
        found.append((match["key"], match["value"]))
    return tuple(found)


async def page(
    resources: Resources,
    lines: Lines,
    caller: callers.Caller,
    wanted: Filter,
    *,
    sort: models.SortOrder,
    limit: int,
    cursor: str | None,
    most_looks: int = pages.MOST_LOOKS,
) -> tuple[pages.Page, str | None]:
    """Return one page of the tasks that the caller may see, and the cursor of the next one.

    A page begins where the cursor says, and costs what it holds; see `pages.page`.

    Raises:
        Malformed: The cursor is none of ours, or of another list.
        DatabaseAway: The archive does not answer, and nothing else is wanted.
    """
    mark = cursors.mark_of("tasks", dataclasses.astuple(wanted), sort)
    is_key = functools.partial(pages.is_key, sort=sort)
    after = tuple(cursors.decode(cursor, mark, is_key)) if cursor is not None else None
    found = await pages.page(
        resources, lines, caller, wanted, sort=sort, after=after, limit=limit, most_looks=most_looks
    )
    return found, None if found.end is None else cursors.encode(found.end, mark)

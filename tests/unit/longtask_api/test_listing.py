import base64
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from api_support import CALLER
from longtask_adapters.kube.cache import Cache
from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services.tasks import listing
from longtask_api.stores.archive import Archive
from longtask_api.stores.filters import Filter
from longtask_api.stores.lines import Lines
from longtask_api.stores.resources import Resources
from longtask_client import models
from longtask_crds import names, v1alpha1
from longtask_crds.testing import (
    FINISHED,
    NAMESPACE,
    NOW,
    a_task,
    a_type,
    an_attempt,
    with_meta,
    with_status,
)

FAST = a_type("fast", defaults={"queue": "express", "priority": 90})


def listed(name: str, *, age: int = 0, labels: Any = None, spec: Any = None, **status: Any) -> Any:
    made = with_status(a_task(name, uid=name, **(spec or {})), **status)
    created = NOW - timedelta(seconds=age)
    return with_meta(made, creation_timestamp=created, labels=labels or {})


def held(archive: Archive, tasks: Iterable[v1alpha1.LongTask]) -> tuple[Resources, Lines]:
    caches: Any = {kind: Cache() for kind in ("tasks", "types", "queues")}
    resources = Resources(None, archive, namespace=NAMESPACE, **caches)  # type: ignore[arg-type]
    lines = Lines(resources, **caches)
    caches["types"].put(FAST)
    for task in tasks:
        caches["tasks"].put(task)
    return resources, lines


async def a_page(
    archive: Archive,
    tasks: Iterable[v1alpha1.LongTask],
    wanted: Filter = Filter(),  # noqa: B008 - it is frozen
    *,
    caller: callers.Caller = CALLER,
    sort: models.SortOrder = models.SortOrder.OLDEST,
    cursor: str | None = None,
) -> str:
    """Return the names on the page, each of one letter."""
    found, _ = await listing.page(
        *held(archive, tasks), caller, wanted, sort=sort, limit=10, cursor=cursor
    )
    return "".join(task.metadata.name for task in found.tasks)


RUNNING = {"phase": v1alpha1.Phase.RUNNING, "attempts": [an_attempt()]}
TASKS = [
    listed("a", labels={names.OWNER_LABEL: "me", "team": "x", "kind": "y"}),
    listed("b", spec={"type": "fast"}, **RUNNING),
    listed("c", spec={"queue": "other"}, phase=v1alpha1.Phase.QUEUED),
    listed("d", spec={"type": "fast"}, queue="slow", **RUNNING),
    listed("e", queue="past", conditions=[FINISHED]),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Filter(), "abcde", id="all"),
        pytest.param(Filter(phases=(v1alpha1.Phase.RUNNING,)), "bd", id="one-phase"),
        pytest.param(
            Filter(phases=(v1alpha1.Phase.PENDING, v1alpha1.Phase.QUEUED)),
            "ace",
            id="several-phases",
        ),
        pytest.param(Filter(queue="default"), "a", id="where-it-waits"),
        pytest.param(Filter(queue="other"), "c", id="where-it-says-itself"),
        pytest.param(Filter(queue="express"), "b", id="where-its-type-sends-it"),
        pytest.param(Filter(queue="slow"), "d", id="where-it-holds-its-place"),
        pytest.param(Filter(queue="past"), "e", id="what-it-came-through"),
        pytest.param(Filter(type="fast"), "bd", id="type"),
        pytest.param(Filter(owner="me"), "a", id="owner"),
        pytest.param(Filter(labels=listing.parse_selectors(["team=x,kind=y"])), "a", id="labels"),
        pytest.param(
            Filter(labels=listing.parse_selectors(["team=x", "kind=z"])),
            "",
            id="every-label-counts",
        ),
    ],
)
async def test_filters(archive: Archive, wanted: Filter, expected: str) -> None:
    assert await a_page(archive, TASKS, wanted) == expected


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        pytest.param([listed("a", age=1), listed("b", age=2)], "ba", id="oldest-first"),
        pytest.param(
            [listed("a", age=61), listed("b", spec={"priority": 52})],
            "ba",
            id="a-point-is-a-minute",
        ),
        pytest.param(
            [listed("a", age=9), listed("b", spec={"type": "fast"})], "ba", id="the-types-points"
        ),
        pytest.param(
            [listed("a", age=9, **RUNNING), listed("b"), listed("c", spec={"cancel": True})],
            "bac",
            id="who-waits-comes-first",
        ),
    ],
)
async def test_who_is_next(archive: Archive, tasks: list[v1alpha1.LongTask], expected: str) -> None:
    assert await a_page(archive, tasks, sort=models.SortOrder.NEXT) == expected


async def test_callers_see_what_they_may(archive: Archive) -> None:
    assert await a_page(archive, TASKS, caller=callers.Caller("me")) == "a"


async def every_page(there: tuple[Resources, Lines], wanted: Filter, **how: Any) -> list[str]:
    """Return the names on each page, and follow the cursors to their end."""
    pages: list[str] = []
    cursor = None
    while not pages or cursor is not None:
        found, cursor = await listing.page(*there, CALLER, wanted, cursor=cursor, **how)
        pages.append("".join(task.metadata.name for task in found.tasks))
        assert len(pages) <= 20, "it goes in circles"
    return pages


@pytest.mark.parametrize("looks", [1, 2, 3, 5_000])
@pytest.mark.parametrize("limit", [1, 2, 500])
@pytest.mark.parametrize(
    ("sort", "wanted", "expected"),
    [
        pytest.param(models.SortOrder.OLDEST, Filter(), "abcde", id="oldest"),
        pytest.param(models.SortOrder.NEWEST, Filter(), "edcba", id="newest"),
        pytest.param(models.SortOrder.NEXT, Filter(), "acbde", id="next"),
        pytest.param(models.SortOrder.NEXT, Filter(queue="other"), "c", id="of-a-queue"),
        pytest.param(models.SortOrder.NEXT, Filter(type="fast"), "bd", id="of-a-type"),
        pytest.param(models.SortOrder.NEWEST, Filter(type="none"), "", id="nothing"),
        pytest.param(
            models.SortOrder.NEXT,
            Filter(phases=(v1alpha1.Phase.RUNNING, v1alpha1.Phase.RUNNING)),
            "bd",
            id="of-a-phase-said-twice",
        ),
    ],
)
async def test_pages_show_each_task_once_however_few_they_look_at(
    archive: Archive,
    sort: models.SortOrder,
    wanted: Filter,
    expected: str,
    limit: int,
    looks: int,
) -> None:
    pages = await every_page(held(archive, TASKS), wanted, sort=sort, limit=limit, most_looks=looks)
    assert "".join(pages) == expected
    assert max(map(len, pages)) <= min(limit, looks)


async def test_a_page_begins_at_its_cursor_whatever_came_and_went(archive: Archive) -> None:
    before = [listed("b", age=2), listed("c", age=1)]
    _, cursor = await listing.page(
        *held(archive, before),
        CALLER,
        Filter(),
        sort=models.SortOrder.OLDEST,
        limit=1,
        cursor=None,
    )
    assert await a_page(archive, [listed("a", age=3), listed("d")], cursor=cursor) == "d"


def a_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("x", id="no-base64"),
        pytest.param("ä", id="no-ascii"),
        pytest.param(a_cursor("{}"), id="no-list"),
        pytest.param(a_cursor("["), id="no-json"),
        pytest.param(a_cursor("[" * 700), id="a-deep-hole"),
        pytest.param(a_cursor("[" * 30_000), id="a-bottomless-hole"),
        pytest.param(a_cursor('["a"]'), id="of-another-list"),
    ],
)
@pytest.mark.parametrize("sort", models.SortOrder)
async def test_foreign_cursors(archive: Archive, cursor: str, sort: models.SortOrder) -> None:
    with pytest.raises(errors.Malformed):
        await a_page(archive, TASKS, sort=sort, cursor=cursor)

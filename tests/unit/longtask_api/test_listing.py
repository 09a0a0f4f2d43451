import base64
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from longtask_adapters.kube.cache import Cache
from longtask_api import errors
from longtask_api.services import listing
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


def a_page(
    tasks: Iterable[v1alpha1.LongTask],
    wanted: listing.Filter = listing.Filter(),  # noqa: B008 - it is frozen
    *,
    sort: models.SortOrder = models.SortOrder.OLDEST,
    cursor: str | None = None,
) -> str:
    """Return the names on the page, each of one letter."""
    caches: Any = {"tasks": Cache(), "types": Cache(), "queues": Cache()}
    resources = Resources(None, namespace=NAMESPACE, **caches)  # type: ignore[arg-type]
    caches["types"].put(FAST)
    for task in tasks:
        caches["tasks"].put(task)
    found, _ = listing.page(tasks, resources, wanted, sort=sort, limit=10, cursor=cursor)
    return "".join(task.metadata.name for task in found)


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
        pytest.param(listing.Filter(), "abcde", id="all"),
        pytest.param(listing.Filter(phases=(v1alpha1.Phase.RUNNING,)), "bd", id="one-phase"),
        pytest.param(
            listing.Filter(phases=(v1alpha1.Phase.PENDING, v1alpha1.Phase.QUEUED)),
            "ace",
            id="several-phases",
        ),
        pytest.param(listing.Filter(queue="default"), "a", id="where-it-waits"),
        pytest.param(listing.Filter(queue="other"), "c", id="where-it-says-itself"),
        pytest.param(listing.Filter(queue="express"), "b", id="where-its-type-sends-it"),
        pytest.param(listing.Filter(queue="slow"), "d", id="where-it-holds-its-place"),
        pytest.param(listing.Filter(queue="past"), "e", id="what-it-came-through"),
        pytest.param(listing.Filter(type="fast"), "bd", id="type"),
        pytest.param(listing.Filter(owner="me"), "a", id="owner"),
        pytest.param(
            listing.Filter(labels=listing.parse_selectors(["team=x,kind=y"])), "a", id="labels"
        ),
        pytest.param(
            listing.Filter(labels=listing.parse_selectors(["team=x", "kind=z"])),
            "",
            id="every-label-counts",
        ),
    ],
)
def test_filters(wanted: listing.Filter, expected: str) -> None:
    assert a_page(TASKS, wanted) == expected


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
def test_who_is_next(tasks: list[v1alpha1.LongTask], expected: str) -> None:
    assert a_page(tasks, sort=models.SortOrder.NEXT) == expected


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
def test_foreign_cursors(cursor: str, sort: models.SortOrder) -> None:
    with pytest.raises(errors.Malformed):
        a_page(TASKS, sort=sort, cursor=cursor)

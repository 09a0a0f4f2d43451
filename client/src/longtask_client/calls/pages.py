"""Lists, page by page, until there is no cursor."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from longtask_client import exchange, models

_Page = TypeVar(
    "_Page",
    models.AuditPage,
    models.DeliveryPage,
    models.NoticePage,
    models.ScheduleDataPage,
    models.SchedulePage,
    models.ScheduleRunPage,
    models.SubscriptionPage,
    models.TaskPage,
    models.UserPage,
)


def each(
    path: str,
    model: type[_Page],
    *,
    parameters: Mapping[str, Any] | None = None,
    limit: int | None = None,
    size: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> exchange.Stream[Any]:
    """Yield the items of a list.

    Args:
        path: Where it is.
        model: What a page of it is.
        parameters: What is asked for besides.
        limit: No more items than this.
        size: So many are asked for at once; as many as the API likes when absent.
        notice: Is told what a page lacks although it fits, and why.
    """
    cursor, left = None, limit
    while left is None or left > 0:
        most = min((one for one in (left, size) if one is not None), default=None)
        asked = {**(parameters or {}), "limit": most, "cursor": cursor}
        found = yield from exchange.call("GET", path, model, parameters=asked).flow()
        if (missing := getattr(found, "incomplete", None)) is not None:
            notice(missing)
        for item in found.items[:left]:
            yield exchange.Give(item)
        left = None if left is None else left - len(found.items)
        cursor = found.next_cursor
        if cursor is None:
            return

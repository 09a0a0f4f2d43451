"""Tasks: handing over, looking, waiting, ending."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from longtask_client import errors, exchange, models
from longtask_client.calls import pages, words
from longtask_client.exchange import PATIENCE, WAITING_PATIENCE
from longtask_crds import names

_LONG_POLL = 30
#: Before `wait` asks again after an answer that should have taken longer.
_SHORTEST_WAIT = 0.25
#: Before it asks again where a proxy took the header away.
_WITHOUT_PREFERENCE = 1.0
_LARGEST_PAGE = 100


def submit(
    order: models.TaskOrder, *, idempotency_key: str | None = None
) -> exchange.Call[models.TaskView]:
    """Hand over a task; it is stored when this returns.

    Without a key one is made up, so that a broken connection may be tried again: the task is
    made once.

    Raises:
        InvalidRequest: The order is wrong; nothing is stored.
        Conflict: The name or the key stands for another task.
    """
    key = idempotency_key or order.idempotency_key
    if key is None:
        key = secrets.token_hex(16)
        order = _named(order)
    return exchange.call(
        "POST",
        words.path("tasks"),
        models.TaskView,
        body=order.to_json(),
        headers={"Idempotency-Key": key},
    )


def submit_many(
    orders: Iterable[models.TaskOrder], *, idempotency_key: str | None = None
) -> exchange.Call[list[models.BatchItem]]:
    """Hand over up to 500 tasks in one request; return what became of each.

    One that is wrong stops no other: look at each `problem`. The key covers them all, and is
    made up when absent, as in `submit`.
    """
    key = idempotency_key
    if key is None:
        key = secrets.token_hex(16)
        orders = (order if order.idempotency_key else _named(order) for order in orders)
    request = exchange.Request(
        "POST",
        words.path("tasks", then=":batch"),
        body={"items": [order.to_json() for order in orders]},
        headers={"Idempotency-Key": key},
    )
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.BatchAnswer).items)


def _named(order: models.TaskOrder) -> models.TaskOrder:
    """Return the order with a name: the API makes one from the key; the type in it reads better."""
    stem = "pipeline" if order.steps else order.type or "task"
    return order.model_copy(update={"name": order.name or names.made_up(stem)})


def get(task_id: str, *, patience: float = PATIENCE) -> exchange.Call[models.TaskView]:
    """Look at a task.

    Raises:
        NotFound: There is no such task.
    """
    return exchange.call("GET", words.task(task_id), models.TaskView, patience=patience)


def state(task_id: str, *, patience: float = PATIENCE) -> exchange.Call[models.TaskState]:
    """Look at a task's phase and progress only.

    Raises:
        NotFound: There is no such task.
    """
    path = words.task(task_id, "/state")
    return exchange.call("GET", path, models.TaskState, patience=patience)


def page(
    wanted: models.TaskFilter = models.EVERY,
    *,
    sort: models.SortOrder = models.SortOrder.NEWEST,
    limit: int = _LARGEST_PAGE,
    cursor: str | None = None,
) -> exchange.Call[models.TaskPage]:
    """Read one page of the list of tasks, live and archived."""
    parameters = wanted.to_query() | {
        "sort": str(sort),
        "limit": limit,
        "cursor": cursor,
    }
    return exchange.call("GET", words.path("tasks"), models.TaskPage, parameters=parameters)


def tasks(
    wanted: models.TaskFilter = models.EVERY,
    *,
    sort: models.SortOrder = models.SortOrder.NEWEST,
    limit: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> exchange.Stream[models.TaskView]:
    """Yield the tasks that fit, page by page.

    Args:
        wanted: What they must be like.
        sort: In which order.
        limit: No more of them than this.
        notice: Is told what a page lacks although it fits, and why.
    """
    return pages.each(
        words.path("tasks"),
        models.TaskPage,
        parameters=wanted.to_query() | {"sort": str(sort)},
        limit=limit,
        size=_LARGEST_PAGE,
        notice=notice,
    )


def wait(task_id: str, *, timeout: float | None = None) -> exchange.Flow[models.TaskView]:
    """Wait until a task is finished, whatever the outcome, with few requests.

    Raises:
        WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
    """
    until = None if timeout is None else (yield from exchange.clock()) + timeout
    while True:
        asked_at = yield from exchange.clock()
        left = None if until is None else until - asked_at
        # The header takes whole seconds, and less than one is no wait at all.
        seconds = _LONG_POLL if left is None else max(1, min(_LONG_POLL, round(left)))
        request = exchange.Request(
            "GET",
            words.task(task_id),
            headers={"Prefer": f"wait={seconds}"},
            timeout=seconds + exchange.TIMEOUT,
        )
        answer = yield from exchange.sent(request, WAITING_PATIENCE)
        task = exchange.parsed(answer, models.TaskView)
        if task.phase.is_terminal:
            return task
        now = yield from exchange.clock()
        if until is not None and now >= until:
            raise errors.WaitTimeout(task_id, _state_of(task))
        if "Preference-Applied" not in answer.headers:
            yield exchange.Sleep(_WITHOUT_PREFERENCE)
        elif now - asked_at < seconds:
            yield exchange.Sleep(_SHORTEST_WAIT)  # it could not wait either


def cancel(task_id: str) -> exchange.Call[models.TaskView]:
    """Ask a task to end; its record stays. A finished one stays as it is."""
    return exchange.call("POST", words.task(task_id, ":cancel"), models.TaskView)


def cancel_many(wanted: models.TaskFilter, *, everything: bool = False) -> exchange.Stream[str]:
    """Ask all tasks to end that fit; yield their ids, page by page.

    Args:
        wanted: What they must be like.
        everything: All that go on, if nothing else is said of them.

    Raises:
        InvalidRequest: Nothing is said of them, or both.
    """
    order = wanted.to_json() | ({"all": True} if everything else {})
    path = words.path("tasks", then=":cancel")
    while True:
        done = yield from exchange.call("POST", path, models.Cancellation, body=dict(order)).flow()
        for task_id in done.items:
            yield exchange.Give(task_id)
        if done.next_cursor is None:
            return
        order["cursor"] = done.next_cursor


def retry(
    task_id: str,
    changes: Mapping[str, Any] | None = None,
    *,
    from_failed: bool = False,
    idempotency_key: str | None = None,
) -> exchange.Call[models.TaskView]:
    """Make a new task of one that has ended; it is stored when this returns.

    Args:
        task_id: The task that has ended; it stays as it is.
        changes: Fields of an order, as the API names them, each in place of that task's whole
            field; None takes one away.
        from_failed: Of a pipeline that did not succeed: take over the results of the steps
            that did, and the checkpoints of those that stay what they were. The steps that
            succeeded, and what of the input they took, cannot be changed then.
        idempotency_key: Made up when absent, as in `submit`.

    Raises:
        InvalidRequest: A change is wrong; nothing is stored.
        NotFound: There is no such task.
        Conflict: It has not ended, or nothing of it failed, or the new name or the key stands
            for another task.
    """
    body = dict(changes or {})
    key = idempotency_key or body.get("idempotencyKey")
    if key is None:
        key = secrets.token_hex(16)
        body.setdefault("name", names.made_up_after(task_id))
    return exchange.call(
        "POST",
        words.task(task_id, ":retry"),
        models.TaskView,
        parameters={"fromFailed": words.flag(from_failed or None)},
        body=body,
        headers={"Idempotency-Key": key},
    )


def set_priority(task_id: str, priority: int) -> exchange.Call[models.TaskView]:
    """Give a task that waits another place in its queue: 0 to 100 minutes of head start.

    Raises:
        Conflict: It runs or is over.
        NotFound: There is no such task.
    """
    change = {"priority": priority}
    return exchange.call("PATCH", words.task(task_id), models.TaskView, body=change)


def delete(task_id: str) -> exchange.Call[None]:
    """Remove a task and everything of it; one that runs is ended."""
    # Never again: a second answer of "not found" would say nothing.
    request = exchange.Request("DELETE", words.task(task_id))
    return exchange.Call(request, lambda _: None, patience=0)


def _state_of(task: models.TaskView) -> models.TaskState:
    return models.TaskState(state=task.phase, percent=task.percent)

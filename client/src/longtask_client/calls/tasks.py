"""Tasks: handing over, looking, waiting, ending."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from longtask_client import errors, exchange, models
from longtask_client.calls import words
from longtask_client.exchange import PATIENCE, WAITING_PATIENCE
from longtask_crds import names

_T = TypeVar("_T")

_LONG_POLL = 30
#: Before `wait` asks again after an answer that should have taken longer.
_SHORTEST_WAIT = 0.25
#: Before it asks again where a proxy took the header away.
_WITHOUT_PREFERENCE = 1.0
_LARGEST_PAGE = 100
_EVERY = models.TaskFilter()


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
        # The API makes a name from the key alone; one with the type in it reads better.
        stem = "pipeline" if order.steps else order.type or "task"
        name = order.name or names.made_up(stem)
        order = order.model_copy(update={"name": name})
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
    request = exchange.Request(
        "POST",
        words.path("tasks", then=":batch"),
        body={"items": [order.to_json() for order in orders]},
        headers={"Idempotency-Key": idempotency_key or secrets.token_hex(16)},
    )
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.BatchAnswer).items)


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
    wanted: models.TaskFilter = _EVERY,
    *,
    sort: models.SortOrder = models.SortOrder.NEWEST,
    limit: int = _LARGEST_PAGE,
    cursor: str | None = None,
) -> exchange.Call[models.TaskPage]:
    """Read one page of the list of tasks, live and archived."""
    parameters = {
        "phase": [str(phase) for phase in wanted.phases],
        "queue": wanted.queue,
        "type": wanted.type,
        "owner": wanted.owner,
        "label": [f"{key}={value}" for key, value in wanted.labels.items()],
        "search": wanted.search,
        "since": words.stamp(wanted.since),
        "until": words.stamp(wanted.until),
        "archived": words.flag(wanted.archived),
        "sort": str(sort),
        "limit": limit,
        "cursor": cursor,
    }
    return exchange.call("GET", words.path("tasks"), models.TaskPage, parameters=parameters)


def tasks(
    wanted: models.TaskFilter = _EVERY,
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
    cursor = None
    left = limit
    while left is None or left > 0:
        size = _LARGEST_PAGE if left is None else min(left, _LARGEST_PAGE)
        found = yield from page(wanted, sort=sort, limit=size, cursor=cursor).flow()
        if found.incomplete is not None:
            notice(found.incomplete)
        for task in found.items[:left]:
            yield exchange.Give(task)
        left = None if left is None else left - len(found.items)
        cursor = found.next_cursor
        if cursor is None:
            return


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


def watch(
    task_id: str, *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskState]:
    """Yield a task's state again and again; the last one is its end.

    Raises:
        WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
    """
    looks = {task_id: state(task_id, patience=WAITING_PATIENCE)}
    return _again_and_again(looks, lambda found: found, timeout, interval)


def follow(
    task_id: str, *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskView]:
    """Yield a task with all its steps again and again; the last one is its end.

    Raises:
        WaitTimeout: It takes longer than `timeout` seconds; the task goes on.
    """
    return follow_all([task_id], timeout=timeout, interval=interval)


def follow_all(
    task_ids: Sequence[str], *, timeout: float | None = None, interval: float = 1.0
) -> exchange.Stream[models.TaskView]:
    """Yield several tasks again and again, each until its end.

    Raises:
        WaitTimeout: One of them takes longer than `timeout` seconds; it goes on.
    """
    looks = {one: get(one, patience=WAITING_PATIENCE) for one in task_ids}
    return _again_and_again(looks, _state_of, timeout, interval)


def changes(
    wanted: models.TaskFilter = _EVERY, *, limit: int = _LARGEST_PAGE, interval: float = 2.0
) -> exchange.Stream[models.TaskView]:
    """Yield the newest tasks that fit, the oldest of them first, and each again that changes.

    It does not end by itself.

    Args:
        wanted: What they must be like.
        limit: No more of them than this are looked at.
        interval: So many seconds pass between two looks.
    """
    known: dict[str, models.TaskView] = {}
    while True:
        found = (yield from page(wanted, limit=limit).flow()).items
        for task in reversed(found):
            if known.get(task.id) != task:
                yield exchange.Give(task)
        known = {task.id: task for task in found}
        yield exchange.Sleep(interval)


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
            that did, and the checkpoints of the others. Then `steps`, `input` and `output`
            cannot be changed.
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


def _again_and_again(
    looks: Mapping[str, exchange.Call[_T]],
    state_of: Callable[[_T], models.TaskState],
    timeout: float | None,
    interval: float,
) -> exchange.Stream[_T]:
    """Yield what looks show, each until its task is over: soon at first, for many are short."""
    until = None if timeout is None else (yield from exchange.clock()) + timeout
    pause = interval / 4
    left: dict[str, models.TaskState | None] = dict.fromkeys(looks)
    while True:
        for task_id in list(left):
            found = yield from looks[task_id].flow()
            yield exchange.Give(found)
            left[task_id] = state_of(found)
        left = {one: seen for one, seen in left.items() if not (seen and seen.state.is_terminal)}
        if not left:
            return
        if until is not None:
            rest = until - (yield from exchange.clock())
            if rest <= 0:
                raise errors.WaitTimeout(", ".join(left), next(iter(left.values())))
            pause = min(pause, rest)
        yield exchange.Sleep(pause)
        pause = min(pause * 1.5, interval)


def _state_of(task: models.TaskView) -> models.TaskState:
    return models.TaskState(state=task.phase, percent=task.percent)

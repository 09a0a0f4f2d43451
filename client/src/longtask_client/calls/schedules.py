"""Schedules: what starts tasks by cron or by an interval, and what came of that."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from longtask_client import exchange, models
from longtask_client.calls import following, pages, words

_LARGEST_PAGE = 100


def create_schedule(
    order: models.ScheduleOrder, *, idempotency_key: str | None = None
) -> exchange.Call[models.ScheduleView]:
    """Make a schedule; it is stored when this returns.

    Without a key one is made up, so that a broken connection may be tried again: the schedule is
    made once.

    Raises:
        InvalidRequest: The order is wrong; nothing is stored.
        Conflict: There is another schedule of that name.
        TooManyRequests: One has as many schedules as one may.
    """
    return exchange.call(
        "POST",
        words.path("schedules"),
        models.ScheduleView,
        body=order.to_json(),
        headers={"Idempotency-Key": idempotency_key or secrets.token_hex(16)},
    )


def schedules(
    *, owner: str | None = None, limit: int | None = None
) -> exchange.Stream[models.ScheduleView]:
    """Yield the schedules by name, page by page.

    Args:
        owner: Of this owner; of all that one may see when absent.
        limit: No more than this.
    """
    path, parameters = words.path("schedules"), {"owner": owner}
    return pages.each(
        path, models.SchedulePage, parameters=parameters, limit=limit, size=_LARGEST_PAGE
    )


def schedule(name: str) -> exchange.Call[models.ScheduleView]:
    """Look at a schedule: what it starts and when, what comes next, and its last twenty runs.

    Raises:
        NotFound: There is no such schedule.
    """
    return exchange.call("GET", words.path("schedules", name), models.ScheduleView)


def change_schedule(name: str, changes: Mapping[str, Any]) -> exchange.Call[models.ScheduleView]:
    """Change fields of a schedule; runs that have begun go on as they are.

    Args:
        name: The schedule's name.
        changes: Fields of its spec, as the API names them: a JSON Merge Patch. What is absent
            stays, None goes.

    Raises:
        InvalidRequest: A change is wrong, or what it makes of the schedule.
        NotFound: There is no such schedule.
    """
    path, body = words.path("schedules", name), dict(changes)
    return exchange.call("PATCH", path, models.ScheduleView, body=body)


def pause_schedule(name: str) -> exchange.Call[models.ScheduleView]:
    """Let a schedule start no runs from now on; those at work go on.

    Raises:
        NotFound: There is no such schedule.
    """
    return exchange.call("POST", _of(name, ":pause"), models.ScheduleView)


def resume_schedule(name: str) -> exchange.Call[models.ScheduleView]:
    """Let a schedule start runs again; times that have passed are not made up for.

    Raises:
        NotFound: There is no such schedule.
    """
    return exchange.call("POST", _of(name, ":resume"), models.ScheduleView)


def trigger_schedule(name: str) -> exchange.Call[models.RunAsked]:
    """Start a run now, whatever the schedule says; its task is there a moment later.

    Raises:
        NotFound: There is no such schedule.
        Conflict: It is not accepted: it can start no run.
    """
    # Never again: a second later it would be another run.
    return exchange.call("POST", _of(name, ":trigger"), models.RunAsked, patience=0)


def wait_for_run(run_id: str, *, timeout: float = 60.0) -> exchange.Flow[models.TaskView]:
    """Wait until there is the task of a run that was asked for: it may be another one's turn.

    Raises:
        NotFound: There is none after `timeout` seconds.
    """
    return (yield from following.appearance(run_id, timeout=timeout))


def reset_schedule(name: str) -> exchange.Call[models.ScheduleView]:
    """Forget a schedule's failures in a row, and let it start runs again.

    Raises:
        NotFound: There is no such schedule.
    """
    return exchange.call("POST", _of(name, ":reset-attempts"), models.ScheduleView)


def backfill_schedule(
    name: str, since: datetime | str, until: datetime | str
) -> exchange.Call[list[models.RunAsked]]:
    """Start a run for each time that was due in a range; return them, the oldest first.

    A time whose run is still there is not run again, so this may be asked again.

    Args:
        name: The schedule's name.
        since: From this time on, as RFC 3339 writes it or with its zone,
        until: to before this one, which is past.

    Raises:
        InvalidRequest: More than 100 times are due in that range, or it makes no sense.
        NotFound: There is no such schedule.
        Conflict: It is not accepted, or too many runs are asked for already.
    """
    request = exchange.Request(
        "POST",
        _of(name, ":backfill"),
        parameters={"from": words.given_time(since), "to": words.given_time(until)},
    )
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.RunsAsked).items)


def schedule_runs(
    name: str,
    *,
    limit: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> exchange.Stream[models.ScheduleRun]:
    """Yield a schedule's runs, live and archived, the newest first.

    Args:
        name: The schedule's name.
        limit: No more than this.
        notice: Is told when some are missing, and why.

    Raises:
        NotFound: There is no such schedule.
    """
    return pages.each(
        _of(name, "/runs"),
        models.ScheduleRunPage,
        limit=limit,
        size=_LARGEST_PAGE,
        notice=notice,
    )


def schedule_status(
    name: str, *, notice: Callable[[str], None] = lambda _: None
) -> exchange.Call[models.ScheduleStatus]:
    """Return how the last run that has ended went, and what the last that succeeded brought.

    Args:
        name: The schedule's name.
        notice: Is told when something is missing, and why.

    Raises:
        NotFound: There is no such schedule.
    """

    def read(answer: exchange.Answer) -> models.ScheduleStatus:
        if (missing := answer.headers.get(exchange.INCOMPLETE)) is not None:
            notice(missing)
        return exchange.parsed(answer, models.ScheduleStatus)

    return exchange.Call(exchange.Request("GET", _of(name, "/status")), read)


def schedule_data(
    name: str,
    *,
    limit: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> exchange.Stream[models.ScheduleDatum]:
    """Yield what a schedule's runs brought that succeeded, the newest first.

    Args:
        name: The schedule's name.
        limit: No more than this.
        notice: Is told when some are missing, and why.

    Raises:
        NotFound: There is no such schedule.
    """
    return pages.each(
        _of(name, "/data"),
        models.ScheduleDataPage,
        limit=limit,
        size=_LARGEST_PAGE,
        notice=notice,
    )


def delete_schedule(name: str) -> exchange.Call[None]:
    """Remove a schedule, and with it its runs that are not archived; those at work are ended.

    Raises:
        NotFound: There is no such schedule.
    """
    # Never again: a second answer of "not found" would say nothing.
    request = exchange.Request("DELETE", words.path("schedules", name))
    return exchange.Call(request, lambda _: None, patience=0)


def _of(name: str, then: str) -> str:
    """Return the path of what belongs to a schedule, or is done with it."""
    return words.path("schedules", name, then=then)

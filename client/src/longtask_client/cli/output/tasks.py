"""Tasks, as text."""

import json
from datetime import datetime
from typing import Final

from longtask_client import models, spans, timeline
from longtask_client.cli.output import phrases
from longtask_client.cli.output.tables import Column, Table
from longtask_crds import v1alpha1


def kind(task: models.TaskView) -> str:
    """Return what a task is, in one word."""
    return task.type or ("(pipeline)" if task.steps or task.step else "(container)")


def _queue_and_place(task: models.TaskView) -> str:
    place = f" ({task.queue_position})" if task.queue_position is not None else ""
    return f"{task.queue or '-'}{place}"


TASKS: Final[Table[models.TaskView]] = Table(
    (
        Column("ID", lambda task, _: task.id, 28),
        Column("TYPE", lambda task, _: kind(task), 14),
        Column("PHASE", lambda task, _: task.phase, 9),
        Column("PROGRESS", lambda task, _: phrases.percent(task.percent), 8),
        Column("QUEUE", lambda task, _: _queue_and_place(task), 12),
        Column("ATTEMPT", lambda task, _: str(task.attempt), 7),
        Column("AGE", lambda task, now: phrases.age(task.created_at, now), 4),
        Column("OWNER", lambda task, _: task.owner_name or task.owner or "-", 10, is_wide=True),
        Column("REASON", lambda task, _: task.reason or "-", 14, is_wide=True),
        Column(
            "MESSAGE",
            lambda task, _: phrases.cut(task.waiting or task.message or "-"),
            is_wide=True,
        ),
    )
)
AT_WORK: Final[Table[models.TaskView]] = Table(
    (
        Column("ID", lambda task, _: task.id),
        Column("TYPE", lambda task, _: kind(task)),
        Column("PHASE", lambda task, _: task.phase),
        Column("PROGRESS", lambda task, _: phrases.bar(task.percent)),
        Column("FOR", lambda task, now: phrases.age(task.started_at, now)),
        Column("QUEUE", lambda task, _: task.queue or "-"),
        Column("ATTEMPT", lambda task, _: str(task.attempt)),
        Column(
            "MESSAGE", lambda task, _: phrases.cut(task.step or task.waiting or task.message or "-")
        ),
    )
)
ATTEMPTS: Final[Table[v1alpha1.Attempt]] = Table(
    (
        Column("ATTEMPT", lambda one, _: str(one.number)),
        Column("STARTED", lambda one, _: phrases.clock(one.started_at)),
        Column("FINISHED", lambda one, _: phrases.clock(one.finished_at)),
        Column("EXIT CODE", lambda one, _: "-" if one.exit_code is None else str(one.exit_code)),
        Column("REASON", lambda one, _: one.reason or "-"),
        Column("MESSAGE", lambda one, _: phrases.cut(one.message or "-")),
    )
)
EVENTS: Final[Table[timeline.Happening]] = Table(
    (
        Column("TIME", lambda one, _: phrases.clock(one.at)),
        Column("EVENT", lambda one, _: one.event),
        Column("OF", lambda one, _: one.of or "-"),
        Column("MESSAGE", lambda one, _: phrases.cut(one.message or "-", 100)),
    )
)


def details(task: models.TaskView, now: datetime) -> str:
    """Return all about one task that a person wants to know."""
    attempt = task.attempts[-1] if task.attempts else None
    return phrases.facts(
        ("ID", task.id),
        ("Type", _kind(task)),
        ("Retry of", task.retry_of),
        ("Phase", f"{task.phase} ({task.reason})" if task.reason else task.phase),
        ("Message", task.message),
        ("Waiting", task.waiting),
        ("Starts", spans.estimate(task.estimated_start, now)),
        ("Progress", phrases.percent(task.percent)),
        ("Step", task.step),
        ("Queue", _place(task)),
        ("Priority", str(task.priority)),
        ("Owner", task.owner_name or task.owner),
        ("Labels", ", ".join(f"{k}={v}" for k, v in sorted(task.labels.items()))),
        *_earlier(task),
        # A pipeline's steps have attempts of their own.
        ("Attempt", None if task.steps else str(task.attempt)),
        ("Job", attempt.job_name if attempt else None),
        ("Pod", attempt.pod_name if attempt else None),
        ("Exit code", _code(attempt)),
        ("Created", phrases.moment(task.created_at, now)),
        ("Started", phrases.moment(task.started_at, now)),
        ("Finished", phrases.moment(task.finished_at, now)),
        ("Callback", _delivery(task)),
        ("Result", _result(task)),
    )


def ending(task: models.TaskView) -> str:
    """Return how the task ended, in one sentence."""
    took = ""
    if task.finished_at:
        took = f" after {spans.span((task.finished_at - task.created_at).total_seconds())}"
    why = ": ".join(filter(None, (task.reason, task.message)))
    succeeded = task.phase is v1alpha1.Phase.SUCCEEDED
    return f"{task.id} {task.phase.lower()}{took}" + (f": {why}" if why and not succeeded else "")


def _earlier(task: models.TaskView) -> list[tuple[str, str]]:
    """Return how each attempt ended that was followed by another."""
    return [
        (f"Attempt {one.number}", ": ".join(filter(None, (one.reason, one.message))))
        for one in task.attempts
        if one.finished_at is not None and (one.number < task.attempt or task.retry_at)
    ]


def _kind(task: models.TaskView) -> str:
    if task.steps:
        return f"a pipeline of {len(task.steps)} step{'s' * (len(task.steps) > 1)}"
    return task.type or "a container of its own"


def _code(attempt: v1alpha1.Attempt | None) -> str | None:
    return None if attempt is None or attempt.exit_code is None else str(attempt.exit_code)


def _place(task: models.TaskView) -> str | None:
    if task.queue is None or task.queue_position is None:
        return task.queue
    return f"{task.queue}, place {task.queue_position}"


def _delivery(task: models.TaskView) -> str | None:
    sent = task.callback
    if sent is None:
        return None
    tries = f"{sent.tries} {'try' if sent.tries == 1 else 'tries'}"
    last = sent.last_code if sent.last_code is not None else sent.last_error
    return f"{sent.event}: {sent.state}, {tries}" + (f", last: {last}" if last else "")


def _result(task: models.TaskView) -> str | None:
    if task.result is None:
        return None
    if task.result.ref is not None:
        return f"{task.result.ref.size} bytes: longtask result {task.id}"
    text = json.dumps(task.result.value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}… (all of it: longtask result {task.id})"

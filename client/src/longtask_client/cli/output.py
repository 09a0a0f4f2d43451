"""What the API answers, as text."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from longtask_client import models
from longtask_client.cli import terminal
from longtask_crds import v1alpha1


def as_json(*items: BaseModel, many: bool = False) -> str:
    """Return models as JSON: one as it is, `many` as `{"items": […]}`."""
    documents = [item.model_dump(mode="json", by_alias=True) for item in items]
    return json.dumps({"items": documents} if many else documents[0], ensure_ascii=False, indent=2)


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under their heads, each column as wide as it must be."""
    lines = [tuple(head), *(tuple(terminal.plain(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def task_row(task: models.TaskView, now: datetime) -> tuple[str, ...]:
    """Return one line of the list of tasks."""
    place = f" ({task.queue_position})" if task.queue_position is not None else ""
    return (
        task.id,
        task.type or "-",
        task.phase,
        percent(task.percent),
        f"{task.queue or '-'}{place}",
        str(task.attempt),
        span((now - task.created_at).total_seconds()),
    )


TASK_HEAD = ("ID", "TYPE", "PHASE", "PROGRESS", "QUEUE", "ATTEMPT", "AGE")


def details(task: models.TaskView, now: datetime) -> str:
    """Return all about one task that a person wants to know."""
    attempt = task.attempts[-1] if task.attempts else None
    facts: list[tuple[str, str | None]] = [
        ("ID", task.id),
        ("Type", task.type or "a container of its own"),
        ("Phase", f"{task.phase} ({task.reason})" if task.reason else task.phase),
        ("Message", task.message),
        ("Waiting", task.waiting),
        ("Progress", percent(task.percent)),
        ("Queue", _place(task)),
        ("Priority", str(task.priority)),
        ("Owner", task.owner),
        ("Labels", ", ".join(f"{k}={v}" for k, v in sorted(task.labels.items()))),
        ("Attempt", str(task.attempt)),
        ("Job", attempt.job_name if attempt else None),
        ("Pod", attempt.pod_name if attempt else None),
        ("Exit code", _code(attempt)),
        ("Created", _moment(task.created_at, now)),
        ("Started", _moment(task.started_at, now)),
        ("Finished", _moment(task.finished_at, now)),
        ("Callback", _delivery(task)),
        ("Result", _result(task)),
    ]
    shown = [(name, terminal.plain(value)) for name, value in facts if value]
    width = max(len(name) for name, _ in shown) + 3
    return "\n".join(f"{name + ':':<{width}}{value}" for name, value in shown)


def type_details(one: models.TypeView) -> str:
    """Return all about one type."""
    schema = json.dumps(one.input_schema, ensure_ascii=False, indent=2)
    return f"{one.name}: {terminal.plain(one.description or '-')}\nInput: {schema}"


def ending(task: models.TaskView) -> str:
    """Return how the task ended, in one sentence."""
    took = ""
    if task.finished_at:
        took = f" after {span((task.finished_at - task.created_at).total_seconds())}"
    why = ": ".join(filter(None, (task.reason, task.message)))
    succeeded = task.phase is v1alpha1.Phase.SUCCEEDED
    return f"{task.id} {task.phase.lower()}{took}" + (f": {why}" if why and not succeeded else "")


def percent(value: int | None) -> str:
    """Return progress for people."""
    return "-" if value is None else f"{value}%"


def span(seconds: float) -> str:
    """Return a time span as kubectl writes it: 5s, 3m, 7h, 2d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def _code(attempt: v1alpha1.Attempt | None) -> str | None:
    return None if attempt is None or attempt.exit_code is None else str(attempt.exit_code)


def _place(task: models.TaskView) -> str | None:
    if task.queue is None or task.queue_position is None:
        return task.queue
    return f"{task.queue}, place {task.queue_position}"


def _moment(moment: datetime | None, now: datetime) -> str | None:
    if moment is None:
        return None
    ago = span((now - moment).total_seconds())
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({ago} ago)"


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

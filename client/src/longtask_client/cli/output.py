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


QUEUE_HEAD = ("NAME", "RUNNING", "WAITING", "LONGEST", "PER MINUTE", "STATE")


def queue_row(queue: models.QueueView, now: datetime) -> tuple[str, ...]:
    """Return one line of the list of queues."""
    return (
        queue.name,
        _running(queue),
        str(queue.waiting),
        _since(queue.oldest_queued_at, now) or "-",
        f"{queue.starts_per_minute:g}",
        "paused" if queue.paused else "open",
    )


QUEUED_HEAD = ("PLACE", "ID", "TYPE", "PRIORITY", "OWNER", "WAITING")


def queued_row(task: models.QueuedTask, now: datetime) -> tuple[str, ...]:
    """Return one line of the list of those who wait in a queue."""
    return (
        str(task.position),
        task.id,
        task.type or "-",
        str(task.priority),
        task.owner or "-",
        span((now - task.queued_at).total_seconds()),
    )


TRY_HEAD = ("TIME", "EVENT", "CODE", "SECONDS", "ERROR")


def try_row(made: v1alpha1.Delivery) -> tuple[str, ...]:
    """Return one line of the log of a callback."""
    return (
        f"{made.at.astimezone():%Y-%m-%d %H:%M:%S}",
        made.event,
        "-" if made.code is None else str(made.code),
        f"{made.seconds:.3f}",
        made.error or "-",
    )


def callback_details(log: models.CallbackLog, now: datetime) -> str:
    """Return how a callback stands."""
    return _facts(
        ("Webhook id", log.id),
        ("Event", log.event),
        ("State", log.state),
        ("Tries", str(log.tries)),
        ("Next try", until(log.next_try_at, now)),
        ("Delivered", _moment(log.delivered_at, now)),
    )


def trial(made: models.CallbackTrial) -> str:
    """Return what became of a trial, in one sentence."""
    if made.code is None:
        return f"failed after {made.seconds:.3f} s: {made.error}"
    done = "delivered" if made.delivered else "refused"
    return f"{done}: answered with {made.code} after {made.seconds:.3f} s"


def queue_details(queue: models.QueueView, now: datetime) -> str:
    """Return all about one queue that a person wants to know."""
    share = queue.max_running_per_owner
    return _facts(
        ("Name", queue.name),
        ("State", "paused: it starts nothing" if queue.paused else "open"),
        ("Running", _running(queue)),
        ("Per owner", None if share is None else f"at most {share}"),
        ("Waiting", str(queue.waiting)),
        ("Longest wait", _since(queue.oldest_queued_at, now)),
        ("Started", f"{queue.starts_per_minute:g} a minute, over the last five"),
    )


def details(task: models.TaskView, now: datetime) -> str:
    """Return all about one task that a person wants to know."""
    attempt = task.attempts[-1] if task.attempts else None
    return _facts(
        ("ID", task.id),
        ("Type", _kind(task)),
        ("Retry of", task.retry_of),
        ("Phase", f"{task.phase} ({task.reason})" if task.reason else task.phase),
        ("Message", task.message),
        ("Waiting", task.waiting),
        ("Starts", _estimate(task.estimated_start, now)),
        ("Progress", percent(task.percent)),
        ("Step", task.step),
        ("Queue", _place(task)),
        ("Priority", str(task.priority)),
        ("Owner", task.owner),
        ("Labels", ", ".join(f"{k}={v}" for k, v in sorted(task.labels.items()))),
        *_earlier(task),
        # A pipeline's steps have attempts of their own.
        ("Attempt", None if task.steps else str(task.attempt)),
        ("Job", attempt.job_name if attempt else None),
        ("Pod", attempt.pod_name if attempt else None),
        ("Exit code", _code(attempt)),
        ("Created", _moment(task.created_at, now)),
        ("Started", _moment(task.started_at, now)),
        ("Finished", _moment(task.finished_at, now)),
        ("Callback", _delivery(task)),
        ("Result", _result(task)),
    )


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


def until(moment: datetime | None, now: datetime) -> str | None:
    """Return how long it is until a moment, for people; None for none."""
    if moment is None:
        return None
    seconds = (moment - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def _facts(*facts: tuple[str, str | None]) -> str:
    """Return facts line by line, without those that are not there."""
    shown = [(name, terminal.plain(value)) for name, value in facts if value]
    width = max(len(name) for name, _ in shown) + 3
    return "\n".join(f"{name + ':':<{width}}{value}" for name, value in shown)


def _running(queue: models.QueueView) -> str:
    return f"{queue.running} of {'any' if queue.max_running is None else queue.max_running}"


def _since(moment: datetime | None, now: datetime) -> str | None:
    return None if moment is None else span((now - moment).total_seconds())


def _estimate(start: models.EstimatedStart | None, now: datetime) -> str | None:
    if start is None:
        return None
    earliest, latest = ((at - now).total_seconds() for at in (start.earliest, start.latest))
    if earliest <= 0:
        return f"within {span(latest)}, by what ran before"
    return f"in {span(earliest)} to {span(latest)}, by what ran before"


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

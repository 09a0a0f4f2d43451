"""What the API answers, as text."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from longtask_client import models
from longtask_client.cli import terminal, timeline
from longtask_crds import v1alpha1

_M = TypeVar("_M")


@dataclasses.dataclass(frozen=True)
class Column(Generic[_M]):
    """One column of a table."""

    head: str
    cell: Callable[[_M, datetime], str]
    width: int = 0  #: the least, where rows come one by one
    is_wide: bool = False  #: only where there is room


@dataclasses.dataclass(frozen=True)
class Table(Generic[_M]):
    """How items of one kind look as a table."""

    columns: tuple[Column[_M], ...]

    def text(self, items: Iterable[_M], now: datetime, *, is_wide: bool = False) -> str:
        """Return items under their heads, each column as wide as it must be."""
        shown = self._shown(is_wide)
        rows = ([column.cell(item, now) for column in shown] for item in items)
        return columns([column.head for column in shown], rows)

    def head(self, *, is_wide: bool = False) -> str:
        """Return the heads for rows that come one by one."""
        return self._line((column.head for column in self._shown(is_wide)), is_wide)

    def row(self, item: _M, now: datetime, *, is_wide: bool = False) -> str:
        """Return an item under such heads."""
        return self._line((column.cell(item, now) for column in self._shown(is_wide)), is_wide)

    def _shown(self, is_wide: bool) -> list[Column[_M]]:
        return [column for column in self.columns if is_wide or not column.is_wide]

    def _line(self, cells: Iterable[str], is_wide: bool) -> str:
        padded = (
            terminal.plain(cell).ljust(column.width)
            for cell, column in zip(cells, self._shown(is_wide), strict=True)
        )
        return "   ".join(padded).rstrip()


def data(item: BaseModel) -> Any:
    """Return a model as the API says it."""
    return item.model_dump(mode="json", by_alias=True)


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under their heads, each column as wide as it must be."""
    lines = [tuple(head), *(tuple(terminal.plain(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _age(moment: datetime | None, now: datetime) -> str:
    return "-" if moment is None else span((now - moment).total_seconds())


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
        Column("PROGRESS", lambda task, _: percent(task.percent), 8),
        Column("QUEUE", lambda task, _: _queue_and_place(task), 12),
        Column("ATTEMPT", lambda task, _: str(task.attempt), 7),
        Column("AGE", lambda task, now: _age(task.created_at, now), 4),
        Column("OWNER", lambda task, _: task.owner_name or task.owner or "-", 10, is_wide=True),
        Column("REASON", lambda task, _: task.reason or "-", 14, is_wide=True),
        Column("MESSAGE", lambda task, _: cut(task.waiting or task.message or "-"), is_wide=True),
    )
)
AT_WORK: Final[Table[models.TaskView]] = Table(
    (
        Column("ID", lambda task, _: task.id),
        Column("TYPE", lambda task, _: kind(task)),
        Column("PHASE", lambda task, _: task.phase),
        Column("PROGRESS", lambda task, _: bar(task.percent)),
        Column("FOR", lambda task, now: _age(task.started_at, now)),
        Column("QUEUE", lambda task, _: task.queue or "-"),
        Column("ATTEMPT", lambda task, _: str(task.attempt)),
        Column("MESSAGE", lambda task, _: cut(task.step or task.waiting or task.message or "-")),
    )
)
QUEUES: Final[Table[models.QueueView]] = Table(
    (
        Column("NAME", lambda queue, _: queue.name),
        Column("RUNNING", lambda queue, _: _running(queue)),
        Column("WAITING", lambda queue, _: str(queue.waiting)),
        Column("LONGEST", lambda queue, now: _age(queue.oldest_queued_at, now)),
        Column("PER MINUTE", lambda queue, _: f"{queue.starts_per_minute:g}"),
        Column("STATE", lambda queue, _: "paused" if queue.paused else "open"),
        Column(
            "PER OWNER",
            lambda queue, _: str(queue.max_running_per_owner or "-"),
            is_wide=True,
        ),
    )
)
QUEUED: Final[Table[models.QueuedTask]] = Table(
    (
        Column("PLACE", lambda task, _: str(task.position)),
        Column("ID", lambda task, _: task.id),
        Column("TYPE", lambda task, _: task.type or "-"),
        Column("PRIORITY", lambda task, _: str(task.priority)),
        Column("OWNER", lambda task, _: task.owner or "-"),
        Column("WAITING", lambda task, now: _age(task.queued_at, now)),
    )
)
TRIES: Final[Table[v1alpha1.Delivery]] = Table(
    (
        Column("TIME", lambda made, _: clock(made.at)),
        Column("EVENT", lambda made, _: made.event),
        Column("CODE", lambda made, _: "-" if made.code is None else str(made.code)),
        Column("SECONDS", lambda made, _: f"{made.seconds:.3f}"),
        Column("ERROR", lambda made, _: made.error or "-"),
    )
)
ATTEMPTS: Final[Table[v1alpha1.Attempt]] = Table(
    (
        Column("ATTEMPT", lambda one, _: str(one.number)),
        Column("STARTED", lambda one, _: clock(one.started_at)),
        Column("FINISHED", lambda one, _: clock(one.finished_at)),
        Column("EXIT CODE", lambda one, _: "-" if one.exit_code is None else str(one.exit_code)),
        Column("REASON", lambda one, _: one.reason or "-"),
        Column("MESSAGE", lambda one, _: cut(one.message or "-")),
    )
)
TYPES: Final[Table[models.TypeView]] = Table(
    (
        Column("NAME", lambda one, _: one.name),
        Column("DESCRIPTION", lambda one, _: one.description or "-"),
        Column(
            "INPUT",
            lambda one, _: ", ".join((one.input_schema or {}).get("properties", {})) or "-",
            is_wide=True,
        ),
    )
)
TOKENS: Final[Table[models.TokenView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("KIND", lambda one, _: one.kind + (" (this)" if one.current else "")),
        Column("NAME", lambda one, _: one.name or "-"),
        Column("SCOPES", lambda one, _: ",".join(one.scopes)),
        Column("AGE", lambda one, now: _age(one.created_at, now)),
        Column("EXPIRES", lambda one, now: until(one.expires_at, now) or "-"),
    )
)
USERS: Final[Table[models.UserView]] = Table(
    (
        Column("USERNAME", lambda user, _: user.username),
        Column("ROLE", lambda user, _: user.role),
        Column("STATE", lambda user, _: "disabled" if user.disabled else "active"),
        Column("EMAIL", lambda user, _: user.email or "-"),
        Column("AGE", lambda user, now: _age(user.created_at, now)),
    )
)
EVENTS: Final[Table[timeline.Happening]] = Table(
    (
        Column("TIME", lambda one, _: clock(one.at)),
        Column("EVENT", lambda one, _: one.event),
        Column("OF", lambda one, _: one.of or "-"),
        Column("MESSAGE", lambda one, _: cut(one.message or "-", 100)),
    )
)
INVITES: Final[Table[models.InviteView]] = Table(
    (
        Column("ID", lambda one, _: one.id),
        Column("ROLE", lambda one, _: one.role),
        Column("FOR", lambda one, _: one.note or "-"),
        Column("BY", lambda one, _: one.created_by or "-"),
        Column("EXPIRES", lambda one, now: until(one.expires_at, now) or "-"),
    )
)


def callback_details(log: models.CallbackLog, now: datetime) -> str:
    """Return how a callback stands, and each try."""
    facts = _facts(
        ("Webhook id", log.id),
        ("Event", log.event),
        ("State", log.state),
        ("Tries", str(log.tries)),
        ("Next try", until(log.next_try_at, now)),
        ("Delivered", _moment(log.delivered_at, now)),
    )
    return f"{facts}\n\n{TRIES.text(log.items, now)}" if log.items else facts


def me_details(me: models.Me, _: datetime) -> str:
    """Return who asks."""
    return _facts(
        ("Name", me.name),
        ("Role", me.role or "as Kubernetes allows"),
        ("May", ", ".join(me.acts) or "nothing"),
        ("Sees", "the tasks of everybody" if me.sees_all else "their own tasks"),
        ("Email", me.email),
        ("By", f"a token of kind {me.via}"),
    )


def trial(made: models.CallbackTrial, _: datetime) -> str:
    """Return what became of a trial, in one sentence."""
    if made.code is None:
        return f"failed after {made.seconds:.3f} s: {made.error}"
    done = "delivered" if made.delivered else "refused"
    return f"{done}: answered with {made.code} after {made.seconds:.3f} s"


def queue_details(queue: models.QueueView, now: datetime) -> str:
    """Return all about one queue that a person wants to know."""
    waiting = queue.content if isinstance(queue, models.QueueContent) else []
    facts = _queue_facts(queue, now)
    return f"{facts}\n\n{QUEUED.text(waiting, now)}" if waiting else facts


def _queue_facts(queue: models.QueueView, now: datetime) -> str:
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
        ("Starts", estimate(task.estimated_start, now)),
        ("Progress", percent(task.percent)),
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
        ("Created", _moment(task.created_at, now)),
        ("Started", _moment(task.started_at, now)),
        ("Finished", _moment(task.finished_at, now)),
        ("Callback", _delivery(task)),
        ("Result", _result(task)),
    )


def type_details(one: models.TypeView, _: datetime) -> str:
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


def bar(value: int | None, width: int = 10) -> str:
    """Return progress as a bar and a figure."""
    if value is None:
        return "-"
    done = value * width // 100
    return f"{'█' * done}{'░' * (width - done)} {value:3}%"


def span(seconds: float) -> str:
    """Return a time span as kubectl writes it: 5s, 3m, 7h, 2d."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def clock(moment: datetime | None) -> str:
    """Return a moment as the clock on the wall shows it."""
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def cut(text: str, length: int = 60) -> str:
    """Return a text that fits into a cell."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


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


def estimate(start: models.EstimatedStart | None, now: datetime) -> str | None:
    """Return when a task may start, for people; None where nobody can say."""
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
    return f"{clock(moment)} ({ago} ago)"


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

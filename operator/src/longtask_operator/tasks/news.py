"""What a write of the status brought: found out once, for all who tell of it."""

import dataclasses
from datetime import datetime

from longtask_crds import v1alpha1
from longtask_crds.pipeline import runs


@dataclasses.dataclass(frozen=True)
class AttemptNews:
    """An attempt of which something is new: of the task, or of a step."""

    run: str  #: the program's name; empty for that of a plain task
    attempt: v1alpha1.Attempt
    claimed_at: datetime | None
    is_claimed: bool  #: and so on: by this write
    is_started: bool
    is_ended: bool


@dataclasses.dataclass(frozen=True)
class News:
    """What is new of a task."""

    before: v1alpha1.LongTask
    after: v1alpha1.LongTask
    attempts: tuple[AttemptNews, ...]
    tried: v1alpha1.CallbackStatus | None  #: how a callback stands after another try

    @property
    def is_end(self) -> bool:
        """Tell whether the task has come to its end."""
        return self.after.is_finished and not self.before.is_finished

    @property
    def has_ended(self) -> bool:
        """Tell whether anything has come to its end: the task, or an attempt."""
        return self.is_end or any(one.is_ended for one in self.attempts)


def of(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> News:
    """Return what is new between the two."""
    known = {run.name: run.last for run in runs.of(before)}
    attempts = (_of_attempt(run.name, run.last, known.get(run.name)) for run in runs.of(after))
    return News(before, after, tuple(found for found in attempts if found), _tried(before, after))


def _of_attempt(
    run: str, attempt: v1alpha1.Attempt, before: v1alpha1.Attempt | None
) -> AttemptNews | None:
    if before is not None and before.number != attempt.number:
        before = None
    is_started = attempt.started_at is not None and not (before and before.started_at)
    is_ended = attempt.finished_at is not None and not (before and before.finished_at)
    if before is not None and not (is_started or is_ended):
        return None
    # Of an item that is over, its status keeps less.
    claimed_at = attempt.claimed_at or (before.claimed_at if before else None)
    return AttemptNews(run, attempt, claimed_at, before is None, is_started, is_ended)


def _tried(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> v1alpha1.CallbackStatus | None:
    entry, old = after.status.callback, before.status.callback
    if entry is None or not entry.tries:
        return None
    tries = old.tries if old is not None and old.id == entry.id else 0
    return entry if entry.tries > tries else None

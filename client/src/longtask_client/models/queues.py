"""Queues, and who waits in them."""

from datetime import datetime

from longtask_crds import v1alpha1


class QueueView(v1alpha1.Model):
    """A queue as the API shows it."""

    name: str
    """Its name."""

    max_running: int | None
    """How many of its tasks may run at once; null is no limit."""

    max_running_per_owner: int | None
    """How many tasks of one owner may run at once; null is no limit."""

    paused: bool
    """Whether it starts no task now."""

    running: int
    """How many of its tasks hold a place: those that start or run."""

    waiting: int
    """How many wait for one."""

    oldest_queued_at: datetime | None
    """Since when the one waits who has waited longest; null when none does."""

    starts_per_minute: float
    """How many of its tasks started in a minute, on average over the last five."""

    links: dict[str, str]
    """Paths of what belongs to it: self, tasks, pause, resume."""


class QueueList(v1alpha1.Model):
    """All queues."""

    items: list[QueueView]
    """The queues, by name."""

    next_cursor: str | None = None
    """Always null: there are few."""


class QueuedTask(v1alpha1.Model):
    """A task that waits, as its queue shows it."""

    id: str
    """The task's id."""

    type: str | None
    """The LongTaskType's name; null for a task with a container of its own."""

    owner: str | None
    """Whose task it is."""

    priority: int
    """Minutes of head start."""

    position: int
    """Its place in the queue: 1 is next."""

    queued_at: datetime
    """Since when it waits."""

    links: dict[str, str]
    """Paths of what belongs to it: self, state, result, logs, callbacks, cancel, retry."""


class QueueContent(QueueView):
    """A queue, and who waits in it."""

    content: list[QueuedTask]
    """One page of the tasks that wait and that one may see, the next one first."""

    next_cursor: str | None
    """What brings the next page; null on the last one."""

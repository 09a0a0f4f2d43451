"""What runs and what waits, as a table that is drawn again when something has changed."""

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime

from longtask_client import client, models
from longtask_client.calls import following
from longtask_client.cli.output import phrases, queues, tasks, terminal
from longtask_crds.v1alpha1 import Phase

_SHOWN = 100
_AT_WORK = models.TaskFilter(phases=(Phase.RUNNING, Phase.STARTING, Phase.RETRYING))
#: What no task tells, as that a queue is paused and how its rate falls, is seen after so long.
_STALE_SECONDS = 30.0


def show(connection: client.Client, *, interval: float, once: bool) -> None:
    """Draw until somebody has seen enough, or once where nobody looks."""
    if once or not sys.stdout.isatty():
        terminal.show(look(connection).text(phrases.now()))
        return
    from rich.console import Console  # slow to import
    from rich.live import Live
    from rich.text import Text

    console = Console()
    looks = looked(connection, interval=interval)
    seen = next(looks)

    def drawn() -> Text:
        lines = seen.text(phrases.now()).splitlines()[: console.size.height - 1]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    # Each second it is drawn again for the times in it, of what is known: nobody is asked.
    with Live(console=console, screen=True, refresh_per_second=1, get_renderable=drawn) as live:
        for seen in looks:  # noqa: B007 - what `drawn` shows
            live.refresh()


@dataclasses.dataclass(frozen=True)
class Look:
    """The queues, and the tasks at work."""

    queues: list[models.QueueView]
    tasks: list[models.TaskView]

    def text(self, now: datetime) -> str:
        """Return the queues, and below them the tasks."""
        running, waiting = (
            sum(getattr(one, what) for one in self.queues) for what in ("running", "waiting")
        )
        parts = [f"{running} at work, {waiting} waiting, {phrases.clock(now)}"]
        parts.append(queues.QUEUES.text(self.queues, now))
        if self.tasks:
            parts.append(tasks.AT_WORK.text(self.tasks, now))
        return "\n\n".join(parts)


def look(connection: client.Client) -> Look:
    """Look at queues and tasks."""
    return Look(connection.queues(), list(connection.tasks(_AT_WORK, limit=_SHOWN)))


def looked(connection: client.Client, *, interval: float) -> Iterator[Look]:
    """Yield a look, and another whenever a task has changed since; after `interval` at the soonest.

    What is told is heard in a thread of its own, so that many changes make one look.
    """
    news, failures = threading.Event(), list[Exception]()

    def listen() -> None:
        try:
            for _ in connection.iterate(following.stirrings(interval=interval)):
                news.set()
        except Exception as error:  # it is raised below; or the connection was closed meanwhile
            failures.append(error)
            news.set()

    # A daemon: Ctrl-C ends the command while nothing is told.
    threading.Thread(target=listen, daemon=True).start()
    news.wait()
    while True:
        news.clear()
        if failures:
            raise failures[0]
        yield look(connection)
        time.sleep(interval)
        news.wait(_STALE_SECONDS)

"""What runs and what waits, as a table that is drawn again and again."""

import sys
import time

from longtask_client import client, models
from longtask_client.cli import output, terminal
from longtask_crds.v1alpha1 import Phase

_SHOWN = 100
_AT_WORK = models.TaskFilter(phases=(Phase.RUNNING, Phase.STARTING, Phase.RETRYING))


def show(connection: client.Client, *, interval: float, once: bool) -> None:
    """Draw until somebody has seen enough, or once where nobody looks."""
    if once or not sys.stdout.isatty():
        terminal.show(picture(connection))
        return
    from rich.console import Console  # slow to import
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            lines = picture(connection).splitlines()[: console.size.height - 1]
            text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
            live.update(text, refresh=True)
            time.sleep(interval)


def picture(connection: client.Client) -> str:
    """Return the queues, and below them the tasks at work."""
    now = output.now()
    queues = connection.queues()
    tasks = list(connection.tasks(_AT_WORK, limit=_SHOWN))
    running, waiting = (
        sum(getattr(one, what) for one in queues) for what in ("running", "waiting")
    )
    parts = [f"{running} at work, {waiting} waiting, {output.clock(now)}"]
    parts.append(output.QUEUES.text(queues, now))
    if tasks:
        parts.append(output.AT_WORK.text(tasks, now))
    return "\n\n".join(parts)

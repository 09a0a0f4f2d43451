"""Queues."""

from longtask_client import exchange, models
from longtask_client.calls import words


def queues() -> exchange.Call[list[models.QueueView]]:
    """Return all queues, by name."""
    request = exchange.Request("GET", words.path("queues"))
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.QueueList).items)


def queue(
    name: str, *, limit: int = 100, cursor: str | None = None
) -> exchange.Call[models.QueueContent]:
    """Return a queue, and one page of the tasks that wait in it, the next one first.

    Raises:
        NotFound: There is no such queue.
    """
    parameters = {"limit": limit, "cursor": cursor}
    path = words.path("queues", name)
    return exchange.call("GET", path, models.QueueContent, parameters=parameters)


def pause_queue(name: str) -> exchange.Call[models.QueueView]:
    """Let a queue start no task from now on; those that run go on. For admins.

    Raises:
        NotFound: There is no such queue.
    """
    return exchange.call("POST", words.path("queues", name, then=":pause"), models.QueueView)


def resume_queue(name: str) -> exchange.Call[models.QueueView]:
    """Let a paused queue start tasks again. For admins.

    Raises:
        NotFound: There is no such queue.
    """
    return exchange.call("POST", words.path("queues", name, then=":resume"), models.QueueView)

"""What tasks can be, and what runs there."""

from longtask_client import exchange, models
from longtask_client.calls import words


def types() -> exchange.Call[list[models.TypeView]]:
    """Return all types of tasks."""
    request = exchange.Request("GET", words.path("types"))
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.TypeList).items)


def type_(name: str) -> exchange.Call[models.TypeView]:
    """Return one type of tasks."""
    return exchange.call("GET", words.path("types", name), models.TypeView)


def version() -> exchange.Call[str]:
    """Return the server's version."""
    request = exchange.Request("GET", "/version")
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.Version).version)

"""How values are written in a request."""

from datetime import UTC, datetime
from urllib.parse import quote


def path(*parts: str, then: str = "") -> str:
    """Return a path below the API's root; no part can leave its place."""
    return "/".join(("/api/v1", *(quote(part, safe="") for part in parts))) + then


def task(task_id: str, then: str = "") -> str:
    """Return the path of a task, or of what belongs to it."""
    return path("tasks", task_id, then=then)


def flag(value: bool | None) -> str | None:
    """Return a truth value, or none at all."""
    return None if value is None else str(value).lower()


def stamp(moment: datetime | None) -> str | None:
    """Return a time to the second, or none at all."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def given_time(at: datetime | str) -> str:
    """Return a time as somebody gives it; what is text is theirs to have written well."""
    return at if isinstance(at, str) else at.isoformat()

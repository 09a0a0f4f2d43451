"""Moments, spans and facts, as people read them."""

from datetime import UTC, datetime

from longtask_client import spans
from longtask_client.cli.output import terminal


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago it was, for a cell."""
    return "-" if moment is None else spans.span((now - moment).total_seconds())


def percent(value: int | None) -> str:
    """Return progress for people."""
    return "-" if value is None else f"{value}%"


def bar(value: int | None, width: int = 10) -> str:
    """Return progress as a bar and a figure."""
    if value is None:
        return "-"
    done = value * width // 100
    return f"{'█' * done}{'░' * (width - done)} {value:3}%"


def clock(moment: datetime | None) -> str:
    """Return a moment as the clock on the wall shows it."""
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def cut(text: str, length: int = 60) -> str:
    """Return a text that fits into a cell."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def facts(*facts: tuple[str, str | None]) -> str:
    """Return facts line by line, without those that are not there."""
    shown = [(name, terminal.plain(value)) for name, value in facts if value]
    width = max(len(name) for name, _ in shown) + 3
    return "\n".join(f"{name + ':':<{width}}{value}" for name, value in shown)


def since(moment: datetime | None, now: datetime) -> str | None:
    """Return how long ago it was, or None."""
    return None if moment is None else spans.span((now - moment).total_seconds())


def moment(moment: datetime | None, now: datetime) -> str | None:
    """Return when it was and how long ago, or None."""
    if moment is None:
        return None
    ago = spans.span((now - moment).total_seconds())
    return f"{clock(moment)} ({ago} ago)"

"""Days, as a form of a page gives them."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import StringConstraints

from longtask_api import errors

#: A day, or nothing.
Day = Annotated[str, StringConstraints(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


def start(day: str) -> datetime | None:
    """Return when a day begins.

    Raises:
        Invalid: There is no such day.
    """
    if not day:
        return None
    try:
        return datetime.combine(date.fromisoformat(day), time(), UTC)
    except ValueError as error:
        raise errors.Invalid(f"There is no day {day}.") from error

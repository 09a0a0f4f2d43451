"""From the words of a command line to an order: pure, but for reading the named file."""

import json
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # slow to import, and `--help` needs no model
    from pydantic import BaseModel, ValidationError

_M = TypeVar("_M", bound="BaseModel")

_DELAY = re.compile(
    r"((?P<days>\d{1,4})d)?((?P<hours>\d{1,5})h)?((?P<minutes>\d{1,7})m)?((?P<seconds>\d{1,9})s)?",
    re.ASCII,
)


class BadWord(ValueError):
    """Something on the command line cannot be understood."""


def arguments(words: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` words; a value is JSON where it can be, else text.

    Raises:
        BadWord: A word is none of that form, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for key, text in pairs(words, what="argument"):
        try:
            found[key] = strict_json(text)
        except ValueError:
            found[key] = text
    return found


def pairs(words: Iterable[str], *, what: str) -> Iterable[tuple[str, str]]:
    """Read `key=value` words.

    Raises:
        BadWord: A word is none of that form, or a key comes twice.
    """
    seen: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise BadWord(f"{what} {word!r}: write it as key=value")
        if key in seen:
            raise BadWord(f"{what} {key!r} is given twice")
        seen[key] = text
    return seen.items()


def document(source: str) -> Any:
    """Return the JSON that `--input` names: `-` for standard input, a file, or JSON itself.

    Raises:
        BadWord: It is none.
    """
    if source == "-":
        return _parsed(sys.stdin.read(), "standard input")
    if not source.lstrip().startswith(("{", "[", '"')):
        path = Path(source)
        if path.is_file():
            try:
                return _parsed(path.read_text(encoding="utf-8"), source)
            except (OSError, UnicodeDecodeError) as error:
                raise BadWord(f"--input {source}: {error}") from error
    try:
        return strict_json(source)
    except ValueError as error:
        raise BadWord(f"--input {source!r} is neither a file nor JSON: {error}") from error


def start(at: str | None, delay: str | None, *, now: datetime) -> datetime | str | None:
    """Return when `--at` or `--in` lets a task begin; None is now.

    Raises:
        BadWord: Both are given, or the delay is none.
    """
    if delay is None:
        return at
    if at is not None:
        raise BadWord("give --at or --in, not both")
    span = _span(delay)
    if span is None:
        raise BadWord(f"--in {delay!r}: write it as 90s, 5m, 1h30m or 2d")
    return now + span


def moment(text: str, option: str, *, now: datetime) -> datetime:
    """Return the time that an option names: how long ago, or in RFC 3339.

    Raises:
        BadWord: It is neither.
    """
    span = _span(text)
    if span is not None:
        return now - span
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadWord(f"{option} {text!r}: write it as 2h or 1d, or as 2026-01-02T03:04:05Z")
    return found


def seconds(text: str, option: str) -> int:
    """Return how many seconds an option names.

    Raises:
        BadWord: It is no time span.
    """
    span = _span(text)
    if span is None:
        raise BadWord(f"{option} {text!r}: write it as 90s, 5m, 1h30m or 2d")
    return int(span.total_seconds())


def _span(text: str) -> timedelta | None:
    """Return the time that 90s, 5m, 1h30m or 2d is, or None if the text is none."""
    parts = _DELAY.fullmatch(text) if text else None
    if parts is None:
        return None
    return timedelta(**{unit: int(n) for unit, n in parts.groupdict(default="0").items()})


def checked(model: "type[_M]", **fields: object) -> "_M":
    """Return what the API is given, of what it would not refuse at once.

    Raises:
        BadWord: It would: which field, and why.
    """
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        raise BadWord(flaws(error)) from error


def flaws(error: "ValidationError") -> str:
    """Return what is wrong with what was given, for people; nothing of what it is."""
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])) or 'the task'}:"
        f" {wrong['msg'].removeprefix('Value error, ')}"
        for wrong in error.errors(include_url=False, include_input=False)
    )


def strict_json(text: str) -> Any:
    """Parse JSON as it is defined: Python would take NaN and Infinity too."""
    return json.loads(text, parse_constant=_refuse)


def _parsed(text: str, source: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        raise BadWord(f"{source} is no JSON: {error}") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")

"""JSON as it comes in and goes out: strict, bounded, and nothing in it is changed by Kubernetes."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from longtask_api import errors
from longtask_client import models
from longtask_crds import rules

MAX_DEPTH = 64

#: What Kubernetes keeps exactly. Larger integers become floats there, without a word.
_INT_RANGE = range(-(2**63), 2**63)


def pointer(*parts: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of these parts."""
    return rules.pointer_of(list(parts))


def loads(text: bytes) -> Any:
    """Return the JSON value of a request's body.

    Raises:
        Malformed: It is no JSON, is nested too deeply, or holds numbers that JSON cannot.
        Invalid: It holds numbers that Kubernetes would change.
    """
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise errors.Malformed("The body is not UTF-8.") from error
    except RecursionError as error:
        raise errors.Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    except ValueError as error:
        raise errors.Malformed(f"The body is no JSON: {error}.") from error
    if wrong := list(_unsafe(value, ())):
        raise errors.Invalid(errors=wrong[:50])
    return value


def dumps(value: Any) -> bytes:
    """Return the value as compact UTF-8 JSON.

    Raises:
        Malformed: A string in it is no Unicode text: half of a surrogate pair.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise errors.Malformed("The body holds half of a surrogate pair.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not part of it")


def _unsafe(value: Any, path: tuple[str | int, ...]) -> Iterator[models.ProblemError]:
    if len(path) > MAX_DEPTH:
        raise errors.Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.")
    match value:
        case dict():
            for key, inner in value.items():
                yield from _unsafe(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from _unsafe(inner, (*path, index))
        case int() if value not in _INT_RANGE:
            yield models.ProblemError(
                pointer=pointer(*path),
                detail="integers beyond 64 bits lose digits in Kubernetes: send them as strings",
            )
        case float() if value in (float("inf"), float("-inf")):
            yield models.ProblemError(pointer=pointer(*path), detail="the number is too large")

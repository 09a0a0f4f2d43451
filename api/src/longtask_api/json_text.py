"""JSON as it comes in and goes out: strict, bounded, and nothing in it is changed by Kubernetes."""

import collections
import itertools
import json
from typing import Any, NoReturn

from longtask_api import errors
from longtask_client import models
from longtask_crds import acceptance, json_values

MAX_DEPTH = 64


def loads(text: bytes, *, depth: int = MAX_DEPTH) -> Any:
    """Return the JSON value of a request's body.

    Args:
        text: The body.
        depth: How many levels it may have.

    Raises:
        Malformed: It is no JSON, is nested too deeply, or holds numbers that JSON cannot.
        Invalid: It holds numbers or text that Kubernetes would change, or a key twice.
    """
    try:
        value = json.loads(
            text.decode(), parse_constant=_no_constant, object_pairs_hook=_each_key_once
        )
    except UnicodeDecodeError as error:
        raise errors.Malformed("The body is not UTF-8.") from error
    except RecursionError as error:
        raise errors.Malformed(f"The body is nested deeper than {depth} levels.") from error
    except ValueError as error:
        raise errors.Malformed(f"The body is no JSON: {error}.") from error
    wrong = []
    flaws = json_values.flaws(value, depth=depth)
    for path, flaw in itertools.islice(flaws, acceptance.MAX_FINDINGS):
        if flaw is json_values.TOO_DEEP:
            raise errors.Malformed(f"The body is nested deeper than {depth} levels.")
        wrong.append(models.ProblemError(pointer=json_values.pointer(*path), detail=flaw))
    if wrong:
        raise errors.Invalid(errors=wrong)
    return value


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; the last of two would win here, and the first perhaps elsewhere."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = collections.Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise errors.Invalid(errors=[errors.finding("", f"the key {_short(twice)} is there twice")])
    return found


def _short(key: str) -> str:
    return json.dumps(key[:64])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not part of it")

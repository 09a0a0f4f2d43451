"""The program that holds inputs against JSON Schemas, in a process that may die of it.

A line of JSON comes in: the schema and the value, both as text, and how many seconds of processor
time they may take. A line goes out: `unusable`, why the schema cannot be used, or `findings`, each
with the path of its field. Who takes longer, or more memory, is ended by the kernel. It is run as a
file, by `schemas`: an import of ours would make each start slower, and the process larger.
"""

import functools
import itertools
import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

#: What it may take, before the container as a whole has taken too much.
_MEMORY_BYTES = 160 * 1024 * 1024

#: Up to here all that is wrong is told, and of what is larger the first flaw: the library makes all
#: of them at once, two characters may be one, and each takes a part of the schema along.
_SMALL = 16 * 1024
_SMALL_TOGETHER = 64 * 1024 * 1024


def main(recursion_limit: int, most_findings: int, most_characters: int) -> None:
    """Answer until nobody asks any more."""
    sys.setrecursionlimit(recursion_limit)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nothing stops what is compiled but a signal that ends the process.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin.buffer:
        schema, value, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = _answer(schema, value, most_findings, most_characters)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), flush=True)


def _answer(schema: str, value: str, most_findings: int, most_characters: int) -> dict[str, Any]:
    try:
        validator = _validator(schema)
    except jsonschema_rs.ValidationError as error:
        where = "".join(f"/{_escaped(part)}" for part in error.instance_path)
        told = f"{where}: {error.message}" if where else error.message
        return {"unusable": told[:most_characters]}
    except ValueError as error:
        return {"unusable": str(error)[:most_characters]}
    try:
        instance = json.loads(value)
        if validator.is_valid(instance):
            return {"findings": []}
        is_small = len(value) <= _SMALL and len(value) * len(schema) <= _SMALL_TOGETHER
        errors = itertools.islice(_errors(validator, instance, is_small), most_findings)
        found = [
            (path, error.message[:most_characters])
            for error in errors
            for path in itertools.islice(_places(error), most_findings)
        ]
    except (ValueError, RecursionError) as error:
        return {"findings": [([], f"it cannot be looked at: {error}"[:most_characters])]}
    found.sort(key=lambda one: list(map(str, one[0])))
    return {"findings": found[:most_findings]}


def _errors(
    validator: jsonschema_rs.Validator, instance: Any, is_small: bool
) -> Iterator[jsonschema_rs.ValidationError]:
    if is_small:
        yield from validator.iter_errors(instance)
        return
    try:
        validator.validate(instance)
    except jsonschema_rs.ValidationError as error:
        yield error


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> jsonschema_rs.Validator:
    """Return what checks against the schema: building it costs more than all else."""
    return jsonschema_rs.validator_for(
        schema,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        validate_formats=False,
    )


def _places(error: jsonschema_rs.ValidationError) -> Iterator[list[str | int]]:
    """Name the field itself where the rule stands at the object around it."""
    path = list(error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(field):
            yield [*path, field]
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(fields):
            yield from ([*path, field] for field in fields)
        case _:
            yield path


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

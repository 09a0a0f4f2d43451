"""Fit the input to a task's parameters: pure rules over annotations.

Understood are int, float, str, bool, None, object and Any, list[X], dict[str, X], X | Y, Optional,
Union and Literal. `inspect` and `typing` are not asked: they are slow to import, and what functions
and annotations carry themselves is enough.
"""

from __future__ import annotations

import sys

from longtask_runner import context, errors, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_LARGEST_EXACT_FLOAT = 2**53
_UNION = type(int | str)
_NAMES: dict[object, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    None: "null",
}


class Mismatch(Exception):
    """One member of the input does not fit."""


def parse(text: str) -> dict[str, object]:
    """Return the input's members; an empty file has none.

    Raises:
        InvalidInput: It is no JSON object.
    """
    if not text.strip():
        return {}
    try:
        value = wire.loads(text)
    except ValueError as error:
        raise errors.InvalidInput(f"the input is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise errors.InvalidInput(f"the input must be an object, not {_name_of(value)}")
    return value


def bind(
    function: Callable[..., Any], members: Mapping[str, object], ctx: context.Context
) -> dict[str, object]:
    """Return the keyword arguments for the function, each checked against its annotation.

    Raises:
        InvalidInput: Members are missing, unknown or of the wrong type; all are named.
        TaskNotLoadable: The function's signature cannot be read.
    """
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    optional = _with_default(function)
    annotations = _annotations(function)
    arguments: dict[str, object] = {}
    faults: list[str] = []
    expected: set[str] = set()
    for name in parameters:
        annotation = annotations.get(name, object)
        if annotation is context.Context:
            arguments[name] = ctx
            continue
        expected.add(name)
        if name not in members:
            if name not in optional:
                faults.append(f"{name}: is required")
            continue
        try:
            arguments[name] = convert(members[name], annotation, place=name)
        except Mismatch as mismatch:
            faults.append(str(mismatch))
        except TypeError as error:
            raise errors.TaskNotLoadable(f"parameter {name!r}: {error}") from None
    faults.extend(f"{name}: is not known" for name in members if name not in expected)
    if faults:
        raise errors.InvalidInput("; ".join(faults))
    return arguments


def convert(value: object, annotation: object, *, place: str) -> object:
    """Return the value as the annotated type, which changes at most an integer into a float.

    Raises:
        Mismatch: It is of another type.
        TypeError: The annotation is none that JSON could meet.
    """
    if annotation is object or _is_typing(annotation, "Any"):
        return value
    if annotation is None or annotation is type(None):
        return _expect(value, value is None, "null", place)
    if annotation is bool:
        return _expect(value, isinstance(value, bool), "true or false", place)
    if annotation is str:
        return _expect(value, isinstance(value, str), "a string", place)
    if annotation is int:
        return _integer(value, place)
    if annotation is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _mismatch(value, "a number", place)
        return float(value)
    origin, arguments = getattr(annotation, "__origin__", annotation), _arguments(annotation)
    if origin is list:
        return _list(value, arguments, place)
    if origin is dict:
        return _dict(value, arguments, place)
    if isinstance(annotation, _UNION) or _is_typing(origin, "Union"):
        return _any_of(value, arguments, place)
    if _is_typing(origin, "Literal"):
        fits = any(value == choice and type(value) is type(choice) for choice in arguments)
        choices = ", ".join(wire.dumps(choice).decode() for choice in arguments)
        return _expect(value, fits, f"one of {choices}", place)
    raise TypeError(f"the annotation {annotation!r} cannot be checked against JSON")


def _integer(value: object, place: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # 5.0 is an integer to JSON Schema; beyond 2^53 a float has lost digits already.
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT_FLOAT:
        return int(value)
    raise _mismatch(value, "an integer", place)


def _list(value: object, arguments: tuple[object, ...], place: str) -> object:
    if not isinstance(value, list):
        raise _mismatch(value, "a list", place)
    (item,) = arguments or (object,)
    return [convert(one, item, place=f"{place}[{index}]") for index, one in enumerate(value)]


def _dict(value: object, arguments: tuple[object, ...], place: str) -> object:
    key, item = arguments or (str, object)
    if key is not str:
        raise TypeError("the keys of a JSON object are strings")
    if not isinstance(value, dict):
        raise _mismatch(value, "an object", place)
    return {name: convert(one, item, place=f"{place}.{name}") for name, one in value.items()}


def _any_of(value: object, choices: tuple[object, ...], place: str) -> object:
    faults = []
    for choice in choices:
        try:
            return convert(value, choice, place=place)
        except Mismatch as mismatch:
            faults.append(str(mismatch))
    raise Mismatch(" or ".join(dict.fromkeys(faults)))


def _expect(value: object, fits: bool, wanted: str, place: str) -> object:
    if not fits:
        raise _mismatch(value, wanted, place)
    return value


def _mismatch(value: object, wanted: str, place: str) -> Mismatch:
    return Mismatch(f"{place}: expected {wanted}, not {_name_of(value)}")


def _name_of(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def _arguments(annotation: object) -> tuple[object, ...]:
    arguments = getattr(annotation, "__args__", ())
    return arguments if isinstance(arguments, tuple) else ()


def _is_typing(annotation: object, name: str) -> bool:
    """Return whether it is `typing.<name>`, which exists only if the task imported typing."""
    typing = sys.modules.get("typing")
    return typing is not None and annotation is getattr(typing, name)


def _with_default(function: Callable[..., Any]) -> set[str]:
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = getattr(function, "__defaults__", None) or ()
    names = positional[len(positional) - len(defaults) :]
    return {*names, *(getattr(function, "__kwdefaults__", None) or ())}


def _annotations(function: Callable[..., Any]) -> dict[str, object]:
    """Return the annotations; those that are text (`from __future__`) are evaluated."""
    resolved: dict[str, object] = {}
    for name, annotation in function.__annotations__.items():
        if isinstance(annotation, str) and name != "return":
            try:
                annotation = eval(annotation, function.__globals__)
            except Exception as error:
                message = f"parameter {name!r}: cannot read {annotation!r}: {error}"
                raise errors.TaskNotLoadable(message) from error
        resolved[name] = annotation
    return resolved

"""JSON as it travels: compact UTF-8, no NaN; strict in what it reads.

The package `json` imports `re`; the two cost more than half of what a bare interpreter needs to
start. The C scanner and encoder inside it need neither, so they are called here as `json` calls
them. An interpreter without them gets the package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, NoReturn

#: So many members or items, or characters of a string, are encoded at once.
_AT_ONCE = 1000
_CHARACTERS_AT_ONCE = 65_536


def loads(text: str) -> object:
    """Return the JSON value that the text is.

    Raises:
        ValueError: It is none.
    """
    text = text.strip(" \t\n\r")
    try:
        value, end = _scanner()(text, 0)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at character {stop.value}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end != len(text):
        raise ValueError(f"more than one JSON value, at character {end}")
    return value


def dumps(value: object) -> bytes:
    """Return the value as compact UTF-8 JSON.

    Raises:
        TypeError: It holds something that JSON has not.
        ValueError: It holds NaN, an infinity, half a character, or itself.
    """
    try:
        return _encode(value).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def pieces(value: object) -> Iterator[bytes]:
    """Yield what `dumps` would return, piece by piece: as a whole it may not fit into memory.

    Raises:
        TypeError: It holds something that JSON has not.
        ValueError: It holds NaN, an infinity, or half a character.
    """
    if isinstance(value, dict):
        yield from _of_dict(value)
    elif isinstance(value, list | tuple):
        yield from _of_list(value)
    elif isinstance(value, str) and len(value) > _CHARACTERS_AT_ONCE:
        yield b'"'
        for start in range(0, len(value), _CHARACTERS_AT_ONCE):
            yield dumps(value[start : start + _CHARACTERS_AT_ONCE])[1:-1]
        yield b'"'
    else:
        yield dumps(value)


def _of_dict(members: dict[Any, Any]) -> Iterator[bytes]:
    if len(members) <= _AT_ONCE and not any(map(_may_be_large, members.values())):
        yield dumps(members)
        return
    before = b"{"
    for key, member in members.items():
        yield before + dumps(key) + b":"
        yield from pieces(member)
        before = b","
    yield b"}"


def _of_list(items: Sequence[Any]) -> Iterator[bytes]:
    before = b"["
    for start in range(0, len(items), _AT_ONCE):
        some = items[start : start + _AT_ONCE]
        if not any(map(_may_be_large, some)):
            yield before + dumps(some)[1:-1]
            before = b","
            continue
        for item in some:
            yield before
            yield from pieces(item)
            before = b","
    yield b"]" if items else b"[]"


def _may_be_large(value: object) -> bool:
    return isinstance(value, dict | list | tuple) or (
        isinstance(value, str) and len(value) > _CHARACTERS_AT_ONCE
    )


class _Reading:
    """What the C scanner asks of a `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own; it asks for an attribute

    @staticmethod
    def parse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    if accelerator := _accelerator():
        return accelerator.make_scanner(_Reading)  # type: ignore[no-any-return]
    import json

    return json.JSONDecoder(parse_constant=_Reading.parse_constant).scan_once  # type: ignore[attr-defined,no-any-return]


def _encode(value: object) -> str:
    if accelerator := _accelerator():
        # Markers, default, string encoder, indent, separators, sort_keys, skipkeys, allow_nan.
        encoder = accelerator.make_encoder(
            {}, _refuse, accelerator.encode_basestring, None, ":", ",", False, False, False
        )
        return "".join(encoder(value, 0))
    import json

    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _accelerator() -> Any:
    try:
        import _json
    except ImportError:  # not CPython
        return None
    return _json


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is no JSON")

"""JSON as it travels: compact UTF-8, no NaN; strict in what it reads.

The package `json` imports `re`; the two cost more than half of what a bare interpreter needs to
start. The C scanner and encoder inside it need neither, so they are called here as `json` calls
them. An interpreter without them gets the package.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


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

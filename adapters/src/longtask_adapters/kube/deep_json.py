"""JSON as deep as the API server stores it: 10,000 levels, more than Python's decoder may take.

Since Python 3.12 no limit that we can set holds for code in C: its decoder stops at some 1,500
levels there, and one such object would break the list that it stands in. Frames of pure Python obey
the limit and use none of the stack, so what is too deep for C is decoded by them.
"""

import contextlib
import json
import json.decoder
import json.scanner
import sys
from collections.abc import Callable
from typing import Any

import pydantic_core

#: Returns the value that begins at an index of a text, and the index after it.
Scan = Callable[[str, int], tuple[Any, int]]

#: Five frames a level, and what the caller stands on.
_FRAMES = 5 * 10_000 + 2_000


def loads(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is deeper than the API server stores.
    """
    with contextlib.suppress(ValueError):
        # In half the time; but it takes 200 levels at most, and no half characters.
        return pydantic_core.from_json(text, cache_strings="keys")
    with contextlib.suppress(RecursionError):
        return json.loads(text)
    quick: Scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
    return decode(text.decode(), quick)


def decode(text: str, quick: Scan) -> Any:
    """Return the value of a JSON text: by `quick` whatever is flat enough for it, else by Python.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is deeper than the API server stores.
    """
    decoder: Any = json.JSONDecoder()
    depth = -1

    def scan(text: str, index: int) -> tuple[Any, int]:
        nonlocal depth
        depth += 1
        try:
            # Rarely while it goes down: each try of one deep object runs to where C gives up.
            if depth & (depth - 1) == 0:
                try:
                    return quick(text, index)
                except RecursionError:
                    pass  # left behind first, or thousands of them would be chained to each other
            return slow(text, index)
        finally:
            depth -= 1

    # The library hands each container its own scanner for what is inside; ours tries C again, or
    # one deep object would make all of a long list slow.
    def parse_object(start: Any, strict: bool, _: Any, *rest: Any) -> Any:
        return json.decoder.JSONObject(start, strict, scan, *rest)  # type: ignore[attr-defined]

    def parse_array(start: Any, _: Any, *rest: Any) -> Any:
        return json.decoder.JSONArray(start, scan, *rest)  # type: ignore[attr-defined]

    decoder.parse_object = parse_object
    decoder.parse_array = parse_array
    slow: Scan = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    decoder.scan_once = scan
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _FRAMES))
    try:
        return decoder.decode(text)
    finally:
        sys.setrecursionlimit(usual)

"""JSON as a tree that can be folded. Pure."""

import dataclasses
import json
from typing import Any, Final

from longtask_api.ui import words

#: Of more than this a page would be slow: then it is shown as text.
_MOST_NODES: Final = 2_000
#: Deeper than this it is text as well.
_DEEPEST: Final = 12
_LONGEST: Final = 2_000


@dataclasses.dataclass(frozen=True)
class Node:
    """A value, and what is in it."""

    key: str | None
    kind: str  #: object, array, string, number, word (true, false, null), or text for what is cut
    text: str  #: of one that has no parts; else how many it has
    parts: tuple["Node", ...] = ()


def tree(value: Any) -> Node:
    """Return the tree of a value."""
    left = [_MOST_NODES]
    return _node(None, value, left, 0)


def text(value: Any) -> str:
    """Return a value as people write it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _node(key: str | None, value: Any, left: list[int], depth: int) -> Node:
    left[0] -= 1
    match value:
        case dict() if value and (left[0] < len(value) or depth == _DEEPEST):
            return Node(key, "text", _cut(text(value)))
        case list() if value and (left[0] < len(value) or depth == _DEEPEST):
            return Node(key, "text", _cut(text(value)))
        case dict():
            parts = tuple(_node(name, part, left, depth + 1) for name, part in value.items())
            return Node(key, "object", words.count(len(value), "field"), parts)
        case list():
            parts = tuple(_node(str(i), part, left, depth + 1) for i, part in enumerate(value))
            return Node(key, "array", words.count(len(value), "item"), parts)
        case str():
            return Node(key, "string", _cut(json.dumps(value, ensure_ascii=False)))
        case bool() | None:
            return Node(key, "word", json.dumps(value))
        case _:
            return Node(key, "number", json.dumps(value))


def _cut(told: str) -> str:
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}… ({len(told):,} characters)"

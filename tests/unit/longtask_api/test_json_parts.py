import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_api import json_parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=2), inner),
    max_leaves=30,
)


def part(text: bytes, *path: str, limit: int = 100, size: int = 1) -> bytes:
    extractor = json_parts.Extractor(path, limit=limit)
    for start in range(0, len(text), size):
        extractor.see(text[start : start + size])
    extractor.close()
    return extractor.part


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return each part of a value, and where it is."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inner = enumerate(value)
    return [(path, value)] + [p for k, v in inner for p in places(v, (*path, str(k)))]


@given(VALUES, st.integers(1, 50))
def test_each_part_is_found_however_it_comes(value: Any, size: int) -> None:
    text = json.dumps(value).encode()
    for path, expected in places(value):
        assert json.loads(part(text, *path, limit=100_000, size=size)) == expected


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        pytest.param('{"a": [1, {"b": [ ]}]}', "a", '[1,{"b":[]}]', id="blanks-are-left-out"),
        pytest.param("[1.50, -0.0]", "0", "1.50", id="digits-stay"),
        pytest.param("[12345678901234567890123]", "", "[12345678901234567890123]", id="all-digits"),
        pytest.param('["\\u00e9\\n"]', "0", '"é\\n"', id="text"),
        pytest.param('{"0": [true, null]}', "0/1", "null", id="a-key-may-be-a-number"),
        pytest.param('{"a": {"b": 1}, "b": 2}', "b", "2", id="not-a-deeper-key-of-that-name"),
        pytest.param('{"a": 1, "a": 2}', "a", "1", id="the-first-of-two"),
        pytest.param("17", "", "17", id="a-number-alone"),
    ],
)
def test_parts(text: str, path: str, expected: str) -> None:
    assert part(text.encode(), *path.split("/") if path else ()) == expected.encode()


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        pytest.param('{"a": 1}', "b", "there is no b", id="no-such-key"),
        pytest.param("[1, [2]]", "2", "the list has 2 items", id="behind-the-end"),
        pytest.param("[]", "0", "the list has 0 items", id="of-an-empty-list"),
        pytest.param("[1]", "01", "there is no 01", id="no-index"),
        pytest.param('{"a": 1}', "a/b", "there is no b", id="inside-a-number"),
        pytest.param('{"a": ', "a", "cannot be read", id="cut"),
        pytest.param("[" + "9" * 5000 + ", 1]", "1", "cannot be read", id="thousands-of-digits"),
        pytest.param("", "", "cannot be read", id="nothing-at-all"),
    ],
)
def test_what_is_not_there(text: str, path: str, told: str) -> None:
    with pytest.raises(json_parts.NoPart, match=told):
        part(text.encode(), *path.split("/") if path else ())


def test_a_part_has_a_limit_and_what_is_around_it_has_none() -> None:
    text = json.dumps({"before": "a" * 1000, "is": "b" * 8, "after": "c" * 1000}).encode()
    assert part(text, "is", limit=10) == b'"bbbbbbbb"'
    with pytest.raises(json_parts.TooLarge):
        part(text, "is", limit=9)

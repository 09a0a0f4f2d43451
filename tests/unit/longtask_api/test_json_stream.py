import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_api.json_stream import Watcher

TEXT = st.text(st.characters(codec="utf-8"))
SIZES = st.integers(1, 9) | st.just(1000)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def judged(data: bytes, size: int) -> tuple[bool, bool]:
    """Return whether the data is JSON, and text, as it is seen in pieces of that size."""
    watcher = Watcher()
    for start in range(0, len(data), size):
        watcher.see(data[start : start + size])
    return watcher.is_json(), watcher.is_text()


def no_constant(name: str) -> None:
    raise ValueError(name)


def is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode(), parse_constant=no_constant)
    except ValueError:
        return False
    return True


@given(VALUES, SIZES, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_written_as_json_is_json(
    value: Any, size: int, ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert judged(data, size) == (True, True)


@given(VALUES, st.integers(0, 200), st.integers(0, 3), st.binary(max_size=2), SIZES)
def test_what_was_changed_is_judged_as_python_does(
    value: Any, start: int, length: int, other: bytes, size: int
) -> None:
    whole = json.dumps(value, ensure_ascii=False).encode()
    data = whole[:start] + other + whole[start + length :]
    assert judged(data, size)[0] == is_json(data)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "nul", "01", "1.", "-", "1e", "+1", "NaN", "Infinity", "1 2", "[1,]", "[,1]"),
        *("{,}", '{"a"}', '{"a":}', '{"a":1,}', "{1:2}", "[}", "{]", "]", "[[]", '"a', '"\\x"'),
        *('"\\u12g4"', '"a\nb"', '["a" "b"]', "truefalse", '"a"b', "1,2", "\ufeff1", "[1 2]"),
        *("[1]]", "hello", "# a comment\n1", '{"a":1 "b":2}', "'a'", "[\1]", "[\2,\3]", '["a":1]'),
        *('{"a":1,2}', '{"a":1,2,3,"b":4}', '{"a":"b":"c"}', "1,", ":1", '{"a":1}:1', '"a":1'),
    ],
)
def test_no_json(text: str) -> None:
    for size in (1, 2, 100):
        assert judged(text.encode(), size) == (False, True)


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b"1\x80", '"é"'.encode("latin-1"), b"\xc3"])
def test_what_is_no_utf_8_is_neither(data: bytes) -> None:
    for size in (1, 2, 100):
        assert judged(data, size) == (False, False)


def test_what_no_reader_would_get_through_is_text() -> None:
    for data in (b"[" * 2_000_000, b"1" * 2_000_000):
        assert judged(data, 65_536) == (False, True)


def test_a_string_may_be_as_long_as_it_likes() -> None:
    assert judged(b'"' + b"5" * 3_000_000 + b'"', 65_536) == (True, True)


def test_a_long_word_is_gone_through_once() -> None:
    """Sign by sign anew it would take minutes, and nobody else would have a turn."""
    watcher = Watcher()
    watcher.see(b'["' + b"x" * 1_000_000 + b'"]')
    assert watcher.is_json()

"""One deep object breaks no list, whichever Python reads it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_adapters.kube import deep_json

DEEP = 9_990
FLAT = '{"metadata": {"name": "flat"}, "spec": {"input": [1, null, "é"]}}'


def nested(levels: int, before: str, after: str) -> str:
    return before * levels + "1" + after * levels


def page_with(text: str) -> str:
    return f'{{"items": [{FLAT}, {{"spec": {{"input": {text}}}}}, {FLAT}], "kind": "List"}}'


class SinceVersion312:
    """Stands in for the decoder in C of a later Python: it stops where no limit of ours helps."""

    def __init__(self) -> None:
        self.tries = 0
        self._scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

    def __call__(self, text: str, index: int) -> tuple[Any, int]:
        self.tries += 1
        depth = 0
        for bracket in re.finditer(r"[\[\]{}]", text[index:]):
            depth += 1 if bracket[0] in "[{" else -1
            if depth > 1_497:
                raise RecursionError
            if depth <= 0:
                break
        found: tuple[Any, int] = self._scan(text, index)
        return found


def unnested(value: Any) -> int:
    """Count the levels by hand: to compare deep values is to go deep again."""
    levels = 0
    while isinstance(value, dict | list):
        (value,) = value.values() if isinstance(value, dict) else value
        levels += 1
    return levels


SHAPES = pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("[", "]", id="lists"),
        pytest.param('{"a": ', "}", id="objects"),
        pytest.param('[{"a":', "}]", id="both"),
    ],
)


@SHAPES
def test_a_page_with_one_deep_object_is_read(before: str, after: str) -> None:
    times = DEEP // len(after)
    page = deep_json.loads(page_with(nested(times, before, after)).encode())
    flat, deep, last = page["items"]
    assert flat == last == json.loads(FLAT)
    assert unnested(deep["spec"]["input"]) == DEEP


@SHAPES
def test_a_later_python_reads_it_too(before: str, after: str) -> None:
    quick = SinceVersion312()
    times = DEEP // len(after)
    page = deep_json.decode(page_with(nested(times, before, after)), quick)
    flat, deep, last = page["items"]
    assert flat == last == json.loads(FLAT)
    assert unnested(deep["spec"]["input"]) == DEEP
    # The flat neighbours were left to C, and on the way down it was asked now and then.
    assert quick.tries < 100


@pytest.mark.parametrize("text", ["", "[1,", '{"a" 1}', "[1] 2", '["\\ud80"]', "nul"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each text is wrong in its own way
        deep_json.loads(text.encode())
    with pytest.raises(ValueError):  # noqa: PT011
        deep_json.decode(text, SinceVersion312())


#: What the API server may say, half characters and integers beyond 64 bits too.
TEXTS = st.text(st.characters(codec=None, exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inside: st.lists(inside) | st.dictionaries(TEXTS, inside),
)


@given(VALUES, st.booleans())
def test_every_value_is_what_pythons_decoder_makes_of_it(value: Any, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    assert repr(deep_json.loads(text)) == repr(json.loads(text))

"""What Kubernetes would change is found with its place, and every place can be written down."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import json_values

PAIRLESS = json_values.HALF_A_PAIR


def found(value: object, *, depth: int = 10) -> list[tuple[str, str]]:
    flaws = json_values.flaws(value, depth=depth)
    return [(json_values.pointer(*path), flaw) for path, flaw in flaws]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param(True, id="a-boolean"),
        pytest.param([2**63 - 1, -(2**63)], id="integers-of-64-bits"),
        pytest.param(1.7976931348623157e308, id="the-largest-float"),
        pytest.param({"": "ü\U0001f600\x00"}, id="any-text"),
        pytest.param((1, (2,)), id="tuples-are-lists"),
        pytest.param([[[[[[[[[[1]]]]]]]]]], id="ten-levels-around-a-value"),
    ],
)
def test_what_is_kept_has_no_flaw(value: object) -> None:
    assert found(value) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(2**63, [("", json_values.TOO_LARGE)], id="a-large-integer"),
        pytest.param({"a": [0, -(2**63) - 1]}, [("/a/1", json_values.TOO_LARGE)], id="a-small-one"),
        pytest.param([float("nan")], [("/0", json_values.NOT_FINITE)], id="nan"),
        pytest.param([1e308 * 10], [("/0", json_values.NOT_FINITE)], id="infinity"),
        pytest.param("a\ud800", [("", PAIRLESS)], id="half-a-character"),
        pytest.param({"\udfff": 1}, [(r"/\udfff", PAIRLESS)], id="half-a-character-in-a-key"),
        pytest.param(
            {"a": {1: 2, "b": {3}}},
            [("/a", "the key 1 is no string"), ("/a/b", "set is no JSON")],
            id="what-only-python-has",
        ),
        pytest.param([[[[[[[[[[[1]]]]]]]]]]], [("/0" * 11, json_values.TOO_DEEP)], id="too-deep"),
        pytest.param(
            [2**64, {"a/~": "\ud800"}],
            [("/0", json_values.TOO_LARGE), ("/1/a~1~0", PAIRLESS)],
            id="all-of-them-in-order",
        ),
    ],
)
def test_what_would_change_is_found_with_its_place(
    value: object, expected: list[tuple[str, str]]
) -> None:
    assert found(value) == expected


def test_a_value_inside_itself_ends() -> None:
    value: list[object] = []
    value.append(value)
    assert found(value) == [("/0" * 11, json_values.TOO_DEEP)]


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_a_pointer_can_always_be_written_down(part: str) -> None:
    assert json_values.pointer(part, 0).encode().endswith(b"/0")


def test_compact_json_has_no_space_and_its_size_is_counted_in_bytes() -> None:
    value = {"ü": [1, {"b": None}]}
    assert json_values.compact(value) == '{"ü":[1,{"b":null}]}'
    assert json_values.size(value) == len('{"ü":[1,{"b":null}]}'.encode())
    assert json.loads(json_values.compact(value)) == value


def test_half_a_character_has_a_size_and_a_place_too() -> None:
    assert json_values.size("\ud800") == 5
    assert json_values.pointer("a\ud800", 0) == r"/a\ud800/0"


def test_where_a_value_stands_itself_counts_as_depth() -> None:
    flaws = json_values.flaws({"a": [float("nan")]}, depth=3, path=("x",))
    assert list(flaws) == [(("x", "a", 0), json_values.NOT_FINITE)]
    assert list(json_values.flaws([1], depth=1, path=("x",))) == [(("x", 0), json_values.TOO_DEEP)]


def test_what_is_wrong_with_a_key_hides_nothing_below_and_beside() -> None:
    value = {"\ud800": float("inf"), 1: 2, "b": {3}}
    assert [flaw for _, flaw in found(value)] == [
        PAIRLESS,
        json_values.NOT_FINITE,
        "the key 1 is no string",
        "set is no JSON",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param({"a": [1, None]}, {"a": [1, None]}, True, id="equal"),
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="in-any-order"),
        pytest.param(1, 1.0, True, id="one-number"),
        pytest.param([1], [True], False, id="true-is-no-number"),
        pytest.param(False, 0, False, id="nor-is-false"),
        pytest.param({"a": None}, {}, False, id="null-is-not-absent"),
        pytest.param([1], [1, 2], False, id="a-longer-list"),
        pytest.param({}, [], False, id="an-object-is-no-list"),
        pytest.param("1", 1, False, id="text-is-no-number"),
        pytest.param(True, True, True, id="true"),
    ],
)
def test_values_are_compared_as_json(one: object, other: object, same: bool) -> None:
    assert json_values.same(one, other) is same
    assert json_values.same(other, one) is same

"""JSON by the C scanner and encoder is the JSON of `json`."""

import json

import pytest

from longtask_runner import wire

VALUES = [
    None, True, 0, -1, 2**70, 1.5, 1e300, -0.0, "", "a", "\u00fc\U0001f600",
    "\"\\/\b\f\n\r\t\x00\x1f",
    [], [1, [2, [3]]], {}, {"a": {"b": [None, False]}}, {"": ""}, ("tuple", 1),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_written_as_json_writes_them(value: object) -> None:
    expected = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert wire.dumps(value) == expected.encode()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_read_as_json_reads_them(value: object) -> None:
    text = json.dumps(value, indent=1)
    assert wire.loads(f" \n{text}\t") == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", "1 2", "{} x", "nul", "'a'", "NaN", "[Infinity]", "-Infinity", '"\n"'],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the promise
        wire.loads(text)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="not-a-number"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param("\ud800", id="half-a-surrogate-pair"),
        pytest.param({1, 2}, id="a-set"),
        pytest.param(b"", id="bytes"),
        pytest.param(object(), id="an-object"),
    ],
)
def test_what_json_has_not_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        wire.dumps([value])


def test_a_value_inside_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match=r"Circular|deeply"):
        wire.dumps(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_interpreter_without_accelerator_does_the_same(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = wire.dumps(value)
    monkeypatch.setattr(wire, "_accelerator", lambda: None)
    assert wire.dumps(value) == fast
    assert wire.loads(fast.decode()) == json.loads(fast)
    with pytest.raises(ValueError, match="NaN is no JSON"):
        wire.loads("NaN")


@pytest.mark.parametrize(
    "value",
    [
        *(pytest.param(value, id=repr(value)) for value in VALUES),
        pytest.param([], id="an-empty-list"),
        pytest.param({}, id="an-empty-object"),
        pytest.param(list(range(2500)), id="many-numbers"),
        pytest.param([0] * 1000 + [[]] + [{}] * 1000, id="lists-among-many-numbers"),
        pytest.param({str(n): n for n in range(2500)}, id="many-members"),
        pytest.param({"a": [1, {"b": [None, []]}], "c": ()}, id="nested"),
        pytest.param('\u00fc"\n\U0001f600' * 50_000, id="a-long-string"),
        pytest.param(["a" * 70_000, "b"], id="a-long-string-among-others"),
    ],
)
def test_the_pieces_are_the_whole(value: object) -> None:
    assert b"".join(wire.pieces(value)) == wire.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(list(range(100_000)), id="numbers"),
        pytest.param({"a": {str(n): "x" * 20 for n in range(20_000)}}, id="members"),
        pytest.param("x" * 1_000_000, id="one-string"),
    ],
)
def test_no_piece_is_large(value: object) -> None:
    assert max(map(len, wire.pieces(value))) < 70_000

"""What the output file gets."""

import datetime
import json
import pathlib

import pytest

from longtask_runner import errors, outputs


@pytest.mark.parametrize(
    ("value", "data"),
    [
        pytest.param(None, b"null", id="no-value-is-null"),
        pytest.param({"a": [1, True]}, b'{"a":[1,true]}', id="compact"),
        pytest.param("\u00fc", '"\u00fc"'.encode(), id="utf-8"),
        pytest.param(("a", 1), b'["a",1]', id="a-tuple-is-a-list"),
        pytest.param(2**63 - 1, b"9223372036854775807", id="the-largest-integer"),
        pytest.param(-(2**63), b"-9223372036854775808", id="the-smallest-integer"),
        pytest.param("a" * 4093, b'"' + b"a" * 4093 + b'"', id="exactly-at-the-limit"),
    ],
)
def test_a_result_is_compact_json(value: object, data: bytes) -> None:
    begun = outputs.begin(outputs.encode_result(value))
    assert begun == data
    assert outputs.fits(begun)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(
            {"a": [0, 2**63]}, r"the result\.a\[1\]: an integer beyond 64", id="large-int"
        ),
        pytest.param([-(2**63) - 1], r"the result\[0\]: an integer beyond 64 bits", id="small-int"),
        pytest.param({"x": float("nan")}, r"the result\.x: not a finite number", id="nan"),
        pytest.param([float("-inf")], r"the result\[0\]: not a finite number", id="infinity"),
        pytest.param({1: 2}, "the result: the key 1 is no string", id="a-key-that-is-no-string"),
        pytest.param({"s": {1}}, r"the result\.s: set is no JSON", id="a-set"),
        pytest.param(b"x", "the result: bytes is no JSON", id="bytes"),
        pytest.param([datetime.date(2026, 1, 1)], r"\[0\]: date is no JSON", id="a-date"),
        pytest.param("\ud800", "the result: half of a surrogate pair", id="half-a-character"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_place(value: object, words: str) -> None:
    with pytest.raises(errors.InvalidResult, match=words):
        next(outputs.encode_result(value))


def test_a_result_inside_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(errors.InvalidResult, match="nested too deeply"):
        next(outputs.encode_result(value))


def test_of_a_large_result_no_more_is_encoded_than_shows_that_it_is_large() -> None:
    pieces = outputs.encode_result([{"n": n} for n in range(20_000)])
    begun = outputs.begin(pieces)
    assert not outputs.fits(begun)
    assert len(begun) < 5000


@pytest.mark.parametrize(
    ("message", "data"),
    [
        pytest.param("short", b"short", id="a-short-one-stays"),
        pytest.param("a" * 2000, b"a" * 1024, id="a-long-one-is-cut"),
        pytest.param("a" + "\u00fc" * 600, ("a" + "\u00fc" * 511).encode(), id="at-a-character"),
        pytest.param("\ud800", rb"\ud800", id="half-a-character-is-spelt-out"),
    ],
)
def test_a_message_is_at_most_a_kilobyte(message: str, data: bytes) -> None:
    assert outputs.encode_message(message) == data


def test_a_checkpoint_has_a_limit_of_its_own() -> None:
    assert len(outputs.encode_checkpoint("a" * 16_382)) == 16 * 1024
    with pytest.raises(ValueError, match="16385 bytes of JSON, the limit is 16384"):
        outputs.encode_checkpoint("a" * 16_383)
    with pytest.raises(ValueError, match="nested too deeply"):
        outputs.encode_checkpoint(json.loads("[" * 60 + "]" * 60))
    with pytest.raises(ValueError, match=r"the checkpoint\[0\]: not a finite number"):
        outputs.encode_checkpoint([float("nan")])


def test_the_file_is_written_in_place(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "termination-log"
    file.write_text("something longer from before")
    inode = file.stat().st_ino
    outputs.write(str(file), b"{}")
    assert (file.read_bytes(), file.stat().st_ino) == (b"{}", inode)

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_api.stores.log_tails import Tail, part
from longtask_crds.testing import NOW

TIME = b"2026-01-02T03:04:05.123456789Z "


def end_of(log: bytes, *, limit: int = 10, piece: int = 3) -> bytes:
    tail = Tail(limit)
    for start in range(0, len(log), piece):
        tail.feed(log[start : start + piece])
    return tail.close()


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"12345678\n", b"12345678\n", id="all-of-a-short-log"),
        pytest.param(b"123456789", b"123456789", id="a-last-line-without-an-end"),
        pytest.param(b"one\ntwo\nthree\n", b"two\nthree\n", id="whole-lines-only"),
        pytest.param(b"one\n" + b"x" * 40, b"x" * 10, id="the-end-of-a-line-that-is-too-long"),
        pytest.param(b"x" * 40 + b"\na\nb", b"a\nb", id="what-is-behind-a-long-line"),
        pytest.param(
            TIME + b"one\n" + TIME + b"two\n" + TIME + b"three\n",
            TIME + b"two\n" + TIME + b"three\n",
            id="times-do-not-count",
        ),
        pytest.param(TIME + b"x" * 40, TIME + b"x" * 10, id="a-long-line-keeps-its-time"),
    ],
)
def test_the_end_of_a_log(log: bytes, expected: bytes) -> None:
    assert end_of(log) == expected


@given(log=st.binary(max_size=200), piece=st.integers(1, 50))
def test_the_end_is_the_same_however_the_log_comes(log: bytes, piece: int) -> None:
    kept = end_of(log, piece=piece)
    assert kept == end_of(log, piece=1000)
    assert log.endswith(kept)
    assert len(kept) <= 10


KEPT = (
    b"2026-01-02T03:04:04.9Z one\r\n"
    b"2026-01-02T05:04:05.5+02:00 two\n"
    b"2026-01-02T03:04:06Z \n"
    b"2026-01-02T03:04:07.123456789Z 2026-01-02T03:04:07Z three"
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, b"one\r\ntwo\n\n2026-01-02T03:04:07Z three", id="all"),
        pytest.param({"tail": 2}, b"\n2026-01-02T03:04:07Z three", id="the-last-lines"),
        pytest.param({"tail": 9}, b"one\r\ntwo\n\n2026-01-02T03:04:07Z three", id="more-than-all"),
        pytest.param({"tail": 0}, b"", id="none"),
        pytest.param({"since": NOW}, b"two\n\n2026-01-02T03:04:07Z three", id="since"),
        pytest.param(
            {"since": NOW + timedelta(seconds=1), "tail": 2},
            b"\n2026-01-02T03:04:07Z three",
            id="since-and-the-last-lines",
        ),
        pytest.param({"timestamps": True}, KEPT, id="with-the-times"),
    ],
)
def test_part_of_what_is_kept(asked: dict[str, Any], expected: bytes) -> None:
    assert part(KEPT, **asked) == expected

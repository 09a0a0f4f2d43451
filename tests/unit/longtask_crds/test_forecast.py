import dataclasses
import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds.queueing import Place
from longtask_crds.queueing.forecast import Spread, estimate

FULL = Place(position=1, queue="q", running=2, max_running=2)
HELD = Spread(low=10, high=60)


def at(position: int, **changed: object) -> Place:
    return dataclasses.replace(FULL, position=position, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param(at(1), (0, 60), id="the-next-one-waits-for-one-end"),
        pytest.param(at(2), (0, 60), id="as-many-ends-as-places-come-in-one-round"),
        pytest.param(at(3), (10, 120), id="then-comes-another-round"),
        pytest.param(at(2, running=1), (0, 60), id="a-free-place-is-for-the-first"),
        pytest.param(at(1, running=1), None, id="who-may-start-is-not-told-when"),
        pytest.param(at(1, running=4), (10, 120), id="a-limit-that-was-lowered"),
        pytest.param(at(2_000_000), None, id="more-than-a-year-ahead"),
        pytest.param(at(1, paused=True), None, id="a-paused-queue"),
        pytest.param(at(1, exists=False), None, id="a-queue-that-is-not-there"),
        pytest.param(at(1, max_running=None), None, id="a-queue-without-a-limit"),
        pytest.param(at(1, running=0, max_running=0), None, id="a-queue-without-places"),
        pytest.param(at(1, max_running_per_owner=9), None, id="where-owners-have-limits"),
    ],
)
def test_estimate(place: Place, expected: tuple[float, float] | None) -> None:
    assert estimate(place, HELD) == expected
    assert estimate(place, None) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([5.0, 5.0], None, id="two-tell-nothing"),
        pytest.param([7.0, 7.0, 7.0], Spread(7, 7), id="three-of-one-length"),
        pytest.param([float(n) for n in range(11)], Spread(1, 9), id="outliers-are-left-out"),
    ],
)
def test_spread(seconds: list[float], expected: Spread | None) -> None:
    assert Spread.of(seconds) == expected


@given(st.integers(1, 9), st.integers(0, 12), st.floats(0, 1e6), st.floats(0, 1e6))
def test_who_is_ahead_is_never_told_a_later_time(
    places: int, running: int, one: float, other: float
) -> None:
    held = Spread(min(one, other), max(one, other))
    line = (at(p, running=running, max_running=places) for p in range(1, 40))
    told = [found for place in line if (found := estimate(place, held)) is not None]
    for times in zip(*told, strict=True):
        assert list(times) == sorted(times)


@given(st.integers(1, 5), st.data())
def test_in_a_queue_like_the_model_every_start_is_within_its_estimate(
    places: int, data: st.DataObject
) -> None:
    held = Spread(low=10, high=60)
    lengths = st.integers(10, 60)
    # Those that run have run for a while, nobody knows how long.
    ends = [data.draw(st.integers(0, 60)) for _ in range(places)]
    heapq.heapify(ends)
    for position in range(1, 3 * places + 1):
        starts = heapq.heappop(ends)
        earliest, latest = estimate(at(position, running=places, max_running=places), held) or ()
        assert earliest <= starts <= latest
        heapq.heappush(ends, starts + data.draw(lengths))

from datetime import timedelta
from typing import Any

import pytest

from longtask_api.stores.pace import Pace
from longtask_crds import v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing.forecast import Spread
from longtask_crds.testing import NOW, an_attempt

QUEUE = ObjectKey("ns", "q")


def attempt(number: int = 1, **moments: float | None) -> v1alpha1.Attempt:
    """Return an attempt; its moments are seconds before now."""
    at: dict[str, Any] = {
        name: None if ago is None else NOW - timedelta(seconds=ago) for name, ago in moments.items()
    }
    return an_attempt(number, **at)


def ends(pace: Pace, *, took: float, ago: float = 0) -> None:
    pace.note(QUEUE, None, attempt(claimed_at=ago + took, started_at=ago, finished_at=ago))


@pytest.mark.parametrize(
    ("notes", "starts"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([(None, attempt())], 0, id="a-claim-is-no-start"),
        pytest.param([(None, attempt(started_at=0))], 1, id="a-start"),
        pytest.param([(None, attempt(started_at=299))], 1, id="a-start-that-an-api-finds-later"),
        pytest.param([(None, attempt(started_at=300))], 0, id="five-minutes-ago-is-too-long"),
        pytest.param(
            [(attempt(started_at=9), attempt(started_at=9, finished_at=0))], 0, id="counted-once"
        ),
        pytest.param([(attempt(), attempt(started_at=9, finished_at=0))], 1, id="a-short-one"),
        pytest.param([(attempt(started_at=9), attempt(2, started_at=0))], 1, id="again"),
    ],
)
def test_starts(notes: list[Any], starts: int) -> None:
    pace = Pace()
    for before, after in notes:
        pace.note(QUEUE, before, after)
    assert pace.starts_per_minute(QUEUE, NOW) == starts / 5
    assert pace.starts_per_minute(QUEUE, NOW + timedelta(seconds=300)) == 0
    assert pace.starts_per_minute(QUEUE.sibling("other"), NOW) == 0


def test_a_queue_moves_when_a_place_is_taken_or_left() -> None:
    pace = Pace()
    assert pace.moved_at(QUEUE) is None
    pace.note(QUEUE, None, attempt(claimed_at=50))
    pace.note(QUEUE, None, attempt(claimed_at=60))
    assert pace.moved_at(QUEUE) == NOW - timedelta(seconds=50)
    pace.note(QUEUE, attempt(claimed_at=60), attempt(claimed_at=60, started_at=40))
    assert pace.moved_at(QUEUE) == NOW - timedelta(seconds=50)
    pace.note(QUEUE, attempt(claimed_at=60), attempt(claimed_at=60, finished_at=30))
    assert pace.moved_at(QUEUE) == NOW - timedelta(seconds=30)


def test_how_long_places_were_held() -> None:
    pace = Pace()
    pace.note(QUEUE, None, attempt(claimed_at=None, finished_at=0))
    for took in (5, 5):
        ends(pace, took=took)
    assert pace.spread(QUEUE) is None
    ends(pace, took=5)
    assert pace.spread(QUEUE) == Spread(5, 5)
    pace.forget(QUEUE)
    assert pace.spread(QUEUE) is None


def test_the_last_ends_count_in_whatever_order_they_are_heard_of() -> None:
    pace = Pace()
    for ago in range(100, 0, -1):
        ends(pace, took=1 if ago > 50 else 9, ago=ago)
    for ago in range(51, 200):
        ends(pace, took=1, ago=ago)
    assert pace.spread(QUEUE) == Spread(9, 9)


def test_of_many_starts_little_is_kept() -> None:
    pace = Pace()
    for ago in range(5_000, 0, -1):
        ends(pace, took=1, ago=ago)
    moves = pace._moves[QUEUE]
    assert len(moves.started) == 300
    assert len(moves._held) == 50
    assert pace.starts_per_minute(QUEUE, NOW) == 299 / 5

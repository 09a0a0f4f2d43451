"""The one order of a queue."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import queue_order

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def waiting(name: str, *, minute: float = 0, priority: int = 50) -> queue_order.Waiting:
    return queue_order.Waiting(name, NOON + timedelta(minutes=minute), priority)


@pytest.mark.parametrize(
    ("tasks", "order"),
    [
        pytest.param(
            [waiting("b", minute=1), waiting("a")], ["a", "b"], id="who-came-first-goes-first"
        ),
        pytest.param(
            [waiting("old"), waiting("urgent", minute=9, priority=60)],
            ["urgent", "old"],
            id="ten-points-make-up-for-nine-minutes",
        ),
        pytest.param(
            [waiting("old"), waiting("urgent", minute=11, priority=60)],
            ["old", "urgent"],
            id="ten-points-do-not-make-up-for-eleven",
        ),
        pytest.param(
            [waiting("late", minute=10, priority=60), waiting("early")],
            ["early", "late"],
            id="with-equal-head-starts-the-older-goes-first",
        ),
        pytest.param([waiting("b"), waiting("a")], ["a", "b"], id="the-name-settles-what-is-left"),
    ],
)
def test_in_order(tasks: list[queue_order.Waiting], order: list[str]) -> None:
    assert queue_order.in_order(tasks) == order


@pytest.mark.parametrize(
    ("running", "most", "paused", "admitted"),
    [
        pytest.param(0, None, False, ["a", "b", "c"], id="without-a-limit-all-start"),
        pytest.param(1, 3, False, ["a", "b"], id="the-first-fill-the-free-places"),
        pytest.param(3, 3, False, [], id="a-full-queue-starts-none"),
        pytest.param(5, 3, False, [], id="an-overfull-queue-starts-none"),
        pytest.param(0, 0, False, [], id="a-limit-of-zero-starts-none"),
        pytest.param(0, None, True, [], id="a-paused-queue-starts-none"),
    ],
)
def test_admissible(running: int, most: int | None, paused: bool, admitted: list[str]) -> None:
    tasks = [waiting("c", minute=2), waiting("a"), waiting("b", minute=1)]
    got = queue_order.admissible(tasks, running=running, max_running=most, paused=paused)
    assert got == admitted


TASKS = st.lists(
    st.builds(
        lambda name, minute, priority: waiting(str(name), minute=minute, priority=priority),
        st.integers(0, 999),
        st.integers(0, 300),
        st.integers(0, 100),
    ),
    unique_by=lambda task: task.name,
)


@given(TASKS, st.randoms(use_true_random=False), st.integers(0, 20))
def test_the_order_depends_on_the_tasks_alone(
    tasks: list[queue_order.Waiting], dice: object, places: int
) -> None:
    order = queue_order.in_order(tasks)
    shuffled = sorted(tasks, key=lambda _: dice.random())  # type: ignore[attr-defined]
    assert queue_order.in_order(shuffled) == order
    admitted = queue_order.admissible(shuffled, running=0, max_running=places, paused=False)
    assert admitted == order[:places]

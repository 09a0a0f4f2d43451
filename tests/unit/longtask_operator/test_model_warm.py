"""Every interleaving of tasks, operators and pods that wait, as far as each commit can search it.

`make model` goes further.
"""

import pytest

from warm_model import Searched


@pytest.mark.parametrize(
    ("searched", "least"),
    [
        pytest.param(
            Searched("cancelled", 1, 1, 0, 20_000, cancels=True), 1_500, id="cancelled-at-any-time"
        ),
        pytest.param(
            Searched("one fault", 1, 1, 1, 20_000, interleaved=False),
            3_000,
            id="with-any-one-fault",
        ),
    ],
)
def test_every_course_of_a_warm_task_ends_well(searched: Searched, least: int) -> None:
    search = searched.begin()
    search.explore(searched.most)
    assert not search.left, "there is more than was searched"
    assert len(search.nodes) > least, "the search is smaller than it looks"
    search.finish()


@pytest.mark.parametrize(
    "searched",
    [
        pytest.param(
            Searched("time", 1, 1, 0, 1_500, cancels=True, seconds=10, fails=True),
            id="as-time-passes",
        ),
        pytest.param(Searched("steps", 1, 1, 1, 1_500, is_chain=True), id="two-steps"),
        pytest.param(Searched("two", 2, 1, 0, 1_500, cancels=True), id="two-operators"),
        pytest.param(
            Searched("a fault", 2, 1, 1, 1_500, interleaved=False), id="two-operators-and-a-fault"
        ),
        pytest.param(
            Searched("tasks", 2, 2, 0, 1_500, interleaved=False), id="two-operators-and-two-tasks"
        ),
    ],
)
def test_the_first_states_of_more_end_well(searched: Searched) -> None:
    """They are cut off here, and nearest to the beginning; `make model` goes on."""
    search = searched.begin()
    search.explore(searched.most)
    assert len(search.nodes) >= searched.most, "all of it could be searched"
    search.finish()

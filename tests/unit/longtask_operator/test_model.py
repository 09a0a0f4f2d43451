"""Every interleaving of one task's life with faults, as far as each commit can search it.

`make model` goes further.
"""

import pytest

from task_model import (
    ALL,
    OF_PIPELINES,
    UNSAID,
    Action,
    Search,
    Universe,
    the_pipeline,
    the_task,
    without,
)


@pytest.mark.parametrize(
    ("actions", "faults", "cancels", "attempts", "seconds", "least"),
    [
        pytest.param(UNSAID, 0, True, 2, 20, 25_000, id="tried-again-and-cancelled-at-any-time"),
        pytest.param(UNSAID, 1, False, 1, 15, 25_000, id="with-any-one-fault"),
        pytest.param(ALL, 0, True, 1, 5, 1_400, id="reported-and-cancelled-at-any-time"),
        pytest.param(ALL, 1, False, 1, 0, 3_700, id="reported-with-any-one-fault"),
    ],
)
def test_every_course_of_things_ends_well(
    actions: dict[str, Action], faults: int, cancels: bool, attempts: int, seconds: int, least: int
) -> None:
    # After a crash a Job may be left alone for longer than a start takes at most in the other ones.
    task = the_task(attempts, start=15 if faults else 8)
    begun = Universe.begin(task, faults=faults, cancels=cancels, seconds=seconds)
    all_end_well(begun, actions, least)


def test_what_reports_a_failure_is_tried_again_when_it_has_ended() -> None:
    """Without a pause between the attempts no time need pass: there are fewer courses."""
    begun = Universe.begin(the_task(2, backoff=0), faults=0, cancels=True, seconds=0)
    all_end_well(begun, ALL, 2_200)


@pytest.mark.parametrize(
    ("actions", "faults", "cancels", "least"),
    [
        pytest.param(
            without(OF_PIPELINES, "the program says"), 0, True, 3_500, id="cancelled-at-any-time"
        ),
        pytest.param(
            without(OF_PIPELINES, "the program says"),
            1,
            False,
            2_800,
            id="with-a-fault-at-any-write",
        ),
        pytest.param(
            without(OF_PIPELINES, "the program says that it fails", "the pod fails"),
            0,
            False,
            1_400,
            id="reported",
        ),
    ],
)
def test_every_course_of_a_pipeline_ends_well(
    actions: dict[str, Action], faults: int, cancels: bool, least: int
) -> None:
    begun = Universe.begin(the_pipeline(), faults=faults, cancels=cancels, seconds=0)
    all_end_well(begun, actions, least)


def all_end_well(first: Universe, actions: dict[str, Action], least: int) -> None:
    search = Search(first, actions)
    search.explore()
    search.finish()
    assert len(search.nodes) > least, "the search is smaller than it looks"

"""Every interleaving of one task's life with faults, as far as each commit can search it.

`make model` goes further.
"""

import pytest

from task_model import OF_PIPELINES, Search, Searched, Universe, the_pipeline, without


@pytest.mark.parametrize(
    ("searched", "least"),
    [
        pytest.param(
            Searched("cancelled", 0, cancels=True, attempts=2, backoff=1, seconds=15, start=3),
            25_000,
            id="tried-again-and-cancelled-at-any-time",
        ),
        pytest.param(
            Searched("a fault", 1, seconds=8, without=("somebody deletes", "it hears of the")),
            17_000,
            id="with-any-one-fault",
        ),
        pytest.param(Searched("deleted", 1, seconds=5), 12_000, id="deleted-by-hand"),
        pytest.param(Searched("two faults", 2, without=("somebody",)), 1_000, id="with-two-faults"),
        pytest.param(
            Searched("reported", 0, cancels=True, seconds=5, start=8, reports=True),
            1_400,
            id="reported-and-cancelled-at-any-time",
        ),
        pytest.param(
            Searched("reported, a fault", 1, reports=True), 3_700, id="reported-with-any-one-fault"
        ),
        # Without a pause between the attempts no time need pass: there are fewer courses.
        pytest.param(
            Searched("reported twice", 0, cancels=True, attempts=2, backoff=0, reports=True),
            2_200,
            id="reported-tried-again-when-it-has-ended",
        ),
    ],
)
def test_every_course_of_things_ends_well(searched: Searched, least: int) -> None:
    assert searched.run().states > least, "the search is smaller than it looks"


@pytest.mark.parametrize(
    ("left_out", "faults", "cancels", "least"),
    [
        pytest.param(["the program says"], 0, True, 3_500, id="cancelled-at-any-time"),
        pytest.param(["the program says"], 1, False, 2_800, id="with-a-fault-at-any-write"),
        pytest.param(
            ["the program says that it fails", "the pod fails"], 0, False, 1_400, id="reported"
        ),
    ],
)
def test_every_course_of_a_pipeline_ends_well(
    left_out: list[str], faults: int, cancels: bool, least: int
) -> None:
    begun = Universe.begin(the_pipeline(), faults=faults, cancels=cancels, seconds=0)
    search = Search(begun, without(OF_PIPELINES, *left_out))
    search.explore()
    search.finish()
    assert len(search.nodes) > least, "the search is smaller than it looks"

import pytest

from longtask_client.shown import tasks as shown
from longtask_crds import v1alpha1
from longtask_crds.testing import a_condition, a_task, with_meta, with_status

WORKING = v1alpha1.Progress(percent=40, message="half of it")
ENDED = a_condition(v1alpha1.ConditionType.SUCCEEDED, message="as it should")
Phase = v1alpha1.Phase


@pytest.mark.parametrize(
    ("status", "percent", "message"),
    [
        pytest.param({"phase": Phase.QUEUED}, None, None, id="who-waits-says-nothing"),
        pytest.param(
            {"phase": Phase.RUNNING, "progress": WORKING},
            40,
            "half of it",
            id="as-the-program-says",
        ),
        pytest.param(
            {"phase": Phase.RETRYING, "progress": WORKING}, 40, None, id="not-what-an-attempt-said"
        ),
        pytest.param(
            {"phase": Phase.SUCCEEDED, "progress": WORKING, "conditions": [ENDED]},
            100,
            "as it should",
            id="success-is-all-of-it",
        ),
        pytest.param(
            {"phase": Phase.FAILED, "progress": WORKING}, 40, None, id="an-end-without-a-word"
        ),
    ],
)
def test_what_a_task_does(
    status: dict[str, object], percent: int | None, message: str | None
) -> None:
    view = shown.view(with_status(a_task(), **status))
    assert (view.percent, view.message) == (percent, message)


def test_what_only_the_api_knows_is_left_out() -> None:
    task = with_meta(a_task(type="fibonacci"), labels={"project": "alpha"})
    view = shown.view(task)
    assert (view.type, view.queue, view.priority) == ("fibonacci", "default", 50)
    assert view.labels == {"project": "alpha"}
    assert (view.queue_position, view.estimated_start, view.result_url, view.links) == (
        None,
        None,
        None,
        {},
    )

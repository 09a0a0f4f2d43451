"""The JSON Patch from one status to the next."""

from typing import Any

import pytest

from longtask_crds import v1alpha1
from longtask_crds.testing import NOW, a_task, an_attempt, with_status
from longtask_operator import cluster

GUARD = {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}
PLAIN = a_task()


def patch(before: v1alpha1.LongTask, **status: Any) -> list[dict[str, Any]]:
    return cluster.status_patch(before, before.status.model_copy(update=status))


def test_no_change_is_no_patch() -> None:
    assert patch(PLAIN) == []


def test_the_version_is_guarded_first() -> None:
    assert patch(PLAIN, waiting="x")[0] == GUARD


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param(
            {}, {"waiting": "x"}, {"op": "add", "path": "/status/waiting", "value": "x"}, id="new"
        ),
        pytest.param(
            {"waiting": "x"},
            {"waiting": "y"},
            {"op": "add", "path": "/status/waiting", "value": "y"},
            id="changed",
        ),
        pytest.param(
            {},
            {"result": v1alpha1.Result(value={"a": None, "b": [None, {"c": None}]})},
            {
                "op": "add",
                "path": "/status/result",
                "value": {"value": {"a": None, "b": [None, {"c": None}]}},
            },
            id="nulls-inside-a-result-stay",
        ),
        pytest.param(
            {},
            {"result": v1alpha1.Result()},
            {"op": "add", "path": "/status/result", "value": {}},
            id="no-value-is-null",
        ),
        pytest.param(
            {"attempts": [an_attempt()]},
            {"attempts": [an_attempt(job_uid="j")]},
            {
                "op": "add",
                "path": "/status/attempts",
                "value": [
                    {
                        "number": 1,
                        "jobName": an_attempt().job_name,
                        "jobUid": "j",
                        "claimedAt": "2026-01-02T03:04:05Z",
                    }
                ],
            },
            id="a-list-goes-as-a-whole",
        ),
    ],
)
def test_one_change(before: dict[str, Any], after: dict[str, Any], change: dict[str, Any]) -> None:
    assert patch(with_status(PLAIN, **before), **after) == [GUARD, change]


def test_what_goes_may_be_gone_already_where_the_write_is_stale() -> None:
    path = "/status/waiting"
    gone = [{"op": "add", "path": path, "value": None}, {"op": "remove", "path": path}]
    assert patch(with_status(PLAIN, waiting="x"), waiting=None) == [GUARD, *gone]


def test_times_are_whole_seconds_in_utc() -> None:
    (_, change) = patch(PLAIN, finished_at=NOW.replace(microsecond=999_999))
    assert change["value"] == "2026-01-02T03:04:05Z"


def test_what_the_api_wrote_stays_untouched() -> None:
    said = with_status(PLAIN, progress=v1alpha1.Progress(percent=3, checkpoint={"at": None}))
    assert [step["path"] for step in patch(said, waiting="x")[1:]] == ["/status/waiting"]

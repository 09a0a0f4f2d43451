"""Why a task can never run, as its outcome says it."""

from typing import Any

import pytest

from longtask_crds import address_guard, names
from longtask_crds.testing import NOW, a_task, a_type, with_meta
from longtask_crds.v1alpha1 import Phase, Reason
from longtask_operator.rules import outcome, refusal
from longtask_operator.testing import INSTALLATION

GUARD = address_guard.Guard.from_lists()
SCHEMA = {"required": ["n", "a/b~c"], "additionalProperties": True}


def refused(**spec: Any) -> outcome.Outcome | None:
    types = {"counts": a_type("counts", inputSchema=SCHEMA).spec}
    return refusal.refusal(a_task(**spec), types, INSTALLATION, GUARD)


def test_what_can_run_is_not_refused() -> None:
    assert refused(type="counts", input={"n": 1, "a/b~c": 2}) is None


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param(
            {"type": "gone"},
            Reason.TYPE_NOT_FOUND,
            "there is no LongTaskType named gone",
            id="a-type-that-is-not-there-is-told-without-a-field",
        ),
        pytest.param(
            {"steps": [{"name": "one", "type": "gone"}]},
            Reason.TYPE_NOT_FOUND,
            "spec.steps.0.type: there is no LongTaskType named gone",
            id="of-a-step-with-its-field",
        ),
        pytest.param(
            {"type": "counts", "input": {}, "resources": {"limits": {"memory": "9Gi"}}},
            Reason.INVALID_INPUT,
            'spec.input.a/b~c: "a/b~c" is a required property; '
            'spec.input.n: "n" is a required property; '
            "spec.resources.limits.memory: more than one task may have",
            id="all-is-told-and-the-first-is-the-reason",
        ),
        pytest.param(
            {
                "type": "counts",
                "input": {"n": 1, "a/b~c": 2},
                "callback": {"url": "http://10.0.0.1"},
            },
            Reason.CALLBACK_REFUSED,
            "spec.callback.url: ",
            id="where-callbacks-may-not-go",
        ),
    ],
)
def test_why_is_told_with_the_field(spec: dict[str, Any], reason: Reason, message: str) -> None:
    ended = refused(**spec)
    assert ended is not None
    assert (ended.phase, ended.reason) == (Phase.FAILED, reason)
    assert ended.message.startswith(message)


def test_when_it_may_start_counts_from_when_it_was_made() -> None:
    task = a_task(container={"image": "busybox"}, notBefore="2027-01-03T00:00:00Z")
    assert refusal.refusal(task, {}, INSTALLATION, GUARD) is None
    earlier = with_meta(task, creation_timestamp=NOW.replace(year=2025))
    ended = refusal.refusal(earlier, {}, INSTALLATION, GUARD)
    assert ended == outcome.failed(
        Reason.NOT_BEFORE_TOO_FAR, "spec.notBefore: more than a year ahead"
    )


def test_no_more_is_told_than_a_status_takes() -> None:
    ended = refused(steps=[{"name": f"s{number}", "type": "n" * 63} for number in range(20)])
    assert ended is not None
    assert len(ended.message) == names.MESSAGE_MAX

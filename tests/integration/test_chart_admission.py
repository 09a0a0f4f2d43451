"""The ValidatingAdmissionPolicy: what a task's author, the API and the operator may write."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

RELEASE, TASKS = "longtask", "longtasks"
API = f"system:serviceaccount:{RELEASE}:longtask-api"
OPERATOR = f"system:serviceaccount:{RELEASE}:longtask-operator"
POLICY = f"{RELEASE}-longtask-longtasks"
OWNER = "longtask.dev/owner"

Answer = subprocess.CompletedProcess[str]


def kubectl(*arguments: str, stdin: str = "", account: str | None = None) -> Answer:
    who = ("--as", account) if account else ()
    return subprocess.run(
        ["kubectl", "-n", TASKS, *arguments, *who],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def task(name: str, /, *, labels: dict[str, str] | None = None, **spec: Any) -> str:
    """Return a task that waits: its queue does not exist."""
    spec = {"type": "sleep", "input": {"seconds": 0}, "queue": "no-such-queue"} | spec
    return json.dumps(
        {
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
    )


def create(manifest: str, account: str | None = None) -> Answer:
    return kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest, account=account)


def patch(name: str, change: object, account: str | None = None) -> Answer:
    kind = "json" if isinstance(change, list) else "merge"
    arguments = ("patch", "longtask", name, "--type", kind, "-p", json.dumps(change))
    return kubectl(*arguments, "--dry-run=server", account=account)


def write_status(
    name: str,
    status: dict[str, Any],
    account: str | None = None,
    *,
    manager: str = "test",
    dry_run: bool = True,
) -> Answer:
    """Apply a part of the status; unlike `patch` it needs no right to read it."""
    manifest = json.loads(task(name))
    del manifest["spec"]
    return kubectl(
        *("apply", "--server-side", "--subresource=status", "--force-conflicts"),
        *(f"--field-manager={manager}", "-f", "-"),
        *(("--dry-run=server",) if dry_run else ()),
        stdin=json.dumps(manifest | {"status": status}),
        account=account,
    )


@pytest.fixture(scope="module")
def waiting() -> Iterator[str]:
    """A task of bob's that nothing starts."""
    name = f"test-admission-{uuid.uuid4().hex[:8]}"
    made = kubectl("create", "-f", "-", stdin=task(name, labels={OWNER: "bob"}), account=API)
    assert made.returncode == 0, made.stderr
    yield name
    kubectl("delete", "longtask", name, "--wait=false")


#: Of a pipeline that waits, so that nobody writes to it: what its programs said stands there.
TOLD = {
    "phase": "Pending",
    "progress": {"percent": 7},
    "steps": [
        {"name": "one", "phase": "Running", "attempt": 1, "result": {"value": 1}},
        {
            "name": "two",
            "phase": "Running",
            "items": 2,
            "children": [{"index": i, "phase": "Running", "attempt": 1} for i in (0, 1)],
        },
    ],
}
REF = {"ref": {"size": 1, "sha256": "0" * 64}}


def said(attempt: int = 1, exit_code: int = 0) -> dict[str, Any]:
    """Return how a program says that it ends."""
    at = "2026-01-02T03:04:05Z"
    whose = {"attempt": attempt, "podName": "p", "podUid": "u", "reportedAt": at}
    return whose | {"exitCode": exit_code}


def late(name: str, steps: list[dict[str, Any]]) -> str:
    """Return a pipeline that begins tomorrow."""
    at = datetime.now(UTC) + timedelta(days=1)
    not_before = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return task(name, type=None, input=None, steps=steps, notBefore=not_before)


def of_step(**values: Any) -> dict[str, Any]:
    return {"steps": [{"name": "one"} | values]}


def of_item(**values: Any) -> dict[str, Any]:
    return {"steps": [{"name": "two", "children": [{"index": 1} | values]}]}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[str]:
    name = f"test-admission-{uuid.uuid4().hex[:8]}"
    steps = [
        {"name": "one", "type": "sleep", "input": {"seconds": 0}},
        {"name": "two", "type": "sleep", "forEach": [1, 2]},
    ]
    made = kubectl("create", "-f", "-", stdin=late(name, steps))
    assert made.returncode == 0, made.stderr
    told = write_status(name, TOLD, OPERATOR, manager="operator", dry_run=False)
    assert told.returncode == 0, told.stderr
    yield name
    kubectl("delete", "longtask", name, "--wait=false")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(of_step(progress={"percent": 5}), id="progress"),
        pytest.param(
            of_step(progress={"percent": 5}) | {"progress": {"percent": 9}}, id="with-the-whole"
        ),
        pytest.param(of_item(progress={"percent": 5, "message": "…"}), id="progress-of-an-item"),
        pytest.param(of_step(result=REF), id="a-reference"),
        pytest.param(of_item(result=REF), id="a-reference-of-an-item"),
        pytest.param(of_step(report=said()), id="how-a-program-ends"),
        pytest.param(of_item(report=said()), id="how-that-of-an-item-ends"),
    ],
)
def test_what_the_api_may_write_of_steps(pipeline: str, status: dict[str, Any]) -> None:
    answer = write_status(pipeline, status, API)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(of_step(phase="Succeeded"), id="a-phase"),
        pytest.param(of_step(attempt=2), id="an-attempt"),
        pytest.param(of_step(podUid="p"), id="a-pod"),
        pytest.param(of_step(result={"value": 2}), id="a-value"),
        pytest.param(of_step(result={"mediaType": "text/plain"}), id="a-media-type"),
        pytest.param(of_item(phase="Succeeded"), id="an-items-phase"),
        pytest.param(of_item(result={"value": 2}), id="an-items-value"),
        pytest.param(of_item(index=0, progress={}) | {"step": "2/2"}, id="how-far-it-is"),
        pytest.param(of_item(index=5), id="another-item"),
        pytest.param({"steps": [{"name": "six"}]}, id="another-step"),
        pytest.param({"outcome": {"phase": "Failed", "reason": "x"}}, id="the-outcome"),
        pytest.param(of_step(report=said(2)), id="how-another-attempt-ends"),
        pytest.param(of_step(report=said(), reportedAt="2026-01-02T03:04:05Z"), id="that-it-ended"),
        pytest.param(of_step(report=said(), exitCode=0), id="the-exit-code"),
        pytest.param({"report": said()}, id="how-a-pipeline-ends"),
        pytest.param({"contradictions": [{"attempt": 1, "exitCode": 1}]}, id="a-contradiction"),
    ],
)
def test_what_the_api_may_not_write_of_steps(pipeline: str, status: dict[str, Any]) -> None:
    answer = write_status(pipeline, status, API)
    assert answer.returncode != 0
    assert "the API may change progress and result.ref only" in answer.stderr


@pytest.mark.parametrize("left_out", ["step", "item"])
def test_the_api_takes_nothing_away_from_steps(pipeline: str, left_out: str) -> None:
    status = json.loads(json.dumps(TOLD))
    del (status["steps"] if left_out == "step" else status["steps"][1]["children"])[1]
    answer = write_status(pipeline, status, API, manager="operator")
    assert answer.returncode != 0
    assert "the API may change progress and result.ref only" in answer.stderr


def test_a_report_of_the_largest_pipeline_is_not_too_dear() -> None:
    """All that one status can hold, compared item by item."""
    name = f"test-admission-{uuid.uuid4().hex[:8]}"
    steps = [{"name": f"s{n}", "type": "sleep", "forEach": [1]} for n in range(50)]
    made = kubectl("create", "-f", "-", stdin=late(name, steps))
    assert made.returncode == 0, made.stderr
    try:
        items = [{"index": i, "phase": "Running", "attempt": 1} for i in range(100)]
        told = [
            {"name": step["name"], "phase": "Running", "items": 100}
            | ({"children": items} if number < 6 else {})
            for number, step in enumerate(steps)
        ]
        status = TOLD | {"steps": told}
        made = write_status(name, status, OPERATOR, manager="operator", dry_run=False)
        assert made.returncode == 0, made.stderr
        item = {"index": 99, "progress": {"percent": 5}}
        said = {"steps": [{"name": f"s{n}", "children": [item]} for n in range(6)]}
        answer = write_status(name, said, API)
        assert answer.returncode == 0, answer.stderr
    finally:
        kubectl("delete", "longtask", name, "--wait=false")


@pytest.mark.parametrize(("days", "told"), [(365, ""), (367, "more than a year ahead")])
def test_a_task_begins_within_a_year(days: int, told: str) -> None:
    at = datetime.now(UTC) + timedelta(days=days)
    made = create(task("later", notBefore=at.strftime("%Y-%m-%dT%H:%M:%SZ")))
    assert told in made.stderr
    assert (made.returncode == 0) == (not told)


def test_the_policy_has_no_warnings() -> None:
    found = kubectl("get", "validatingadmissionpolicy", POLICY, "-o", "json")
    policy = json.loads(found.stdout)
    assert policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
    assert policy["status"]["typeChecking"] == {}


@pytest.mark.parametrize("account", [None, API])
def test_another_delivery_may_be_asked_for(waiting: str, account: str | None) -> None:
    change = {"metadata": {"annotations": {"longtask.dev/redeliver": "now"}}}
    assert patch(waiting, change, account).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"spec": {"input": {"seconds": 1}}}, id="another-input"),
        pytest.param({"spec": {"input": {"more": None, "seconds": 0, "x": 1}}}, id="a-key-added"),
        pytest.param([{"op": "remove", "path": "/spec/input"}], id="the-input-removed"),
        pytest.param([{"op": "replace", "path": "/spec/input", "value": None}], id="null"),
    ],
)
def test_the_input_cannot_be_changed(waiting: str, change: object) -> None:
    answer = patch(waiting, change)
    assert answer.returncode != 0
    assert "spec.input: cannot be changed" in answer.stderr


@pytest.mark.parametrize("place", ["0/input/seconds", "1/forEach/0"])
def test_the_input_of_a_step_cannot_be_changed(pipeline: str, place: str) -> None:
    answer = patch(pipeline, [{"op": "add", "path": f"/spec/steps/{place}", "value": 7}])
    assert answer.returncode != 0
    # Not the policy: the CRD compares steps with their inputs.
    assert "steps cannot be changed" in answer.stderr


def test_the_output_cannot_be_changed(pipeline: str) -> None:
    answer = patch(pipeline, {"spec": {"output": {"$from": "steps.one"}}})
    assert answer.returncode != 0
    assert "spec.output: cannot be changed" in answer.stderr


@pytest.mark.parametrize("change", [{"priority": 60}, {"cancel": True}])
def test_cancel_and_priority_can_be_changed(waiting: str, change: object) -> None:
    assert patch(waiting, {"spec": change}).returncode == 0


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a" * 65_534, id="text"),
        pytest.param("é" * 32_767, id="text-beyond-ascii"),
        pytest.param([1] * 32_767, id="digits"),
        pytest.param([1.5] * 16_383, id="fractions-that-cel-writes-long"),
        pytest.param([[]] * 21_845, id="empty-lists"),
    ],
)
def test_64_kib_of_input_are_accepted(value: object) -> None:
    answer = create(task("test-size", input=value))
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"input": "a" * 200_000}, id="one-input"),
        pytest.param({"input": "é" * 100_000}, id="counted-in-bytes"),
        pytest.param(
            {
                "type": None,
                "input": None,
                "steps": [
                    {"name": "one", "type": "sleep", "input": "a" * 100_000},
                    {"name": "two", "type": "sleep", "input": "a" * 100_000},
                ],
            },
            id="steps-together",
        ),
        pytest.param(
            {
                "type": None,
                "input": None,
                "steps": [{"name": "one", "type": "sleep", "forEach": ["a" * 100_000]}],
                "output": ["a" * 100_000],
            },
            id="items-and-output",
        ),
    ],
)
def test_a_huge_input_is_refused(spec: dict[str, Any]) -> None:
    answer = create(task("test-size", **spec))
    assert answer.returncode != 0
    assert "spec.input: more than 64 KiB" in answer.stderr


@pytest.mark.parametrize("account", [API, None])
def test_only_longtask_names_the_owner(account: str | None) -> None:
    answer = create(task("test-owner", labels={OWNER: "eve"}), account)
    assert (answer.returncode == 0) is (account == API)
    if account is None:
        assert OWNER in answer.stderr


def test_only_longtask_says_what_an_owner_is_called(waiting: str) -> None:
    annotations = {f"{OWNER}-name": "eve@example.com"}
    manifest = json.loads(task("test-owner-name"))
    manifest["metadata"]["annotations"] = annotations
    refused = create(json.dumps(manifest))
    assert f"{OWNER}-name" in refused.stderr
    taken = create(json.dumps(manifest), API)
    assert taken.returncode == 0, taken.stderr
    for account in (API, None):
        changed = patch(waiting, {"metadata": {"annotations": annotations}}, account)
        assert f"{OWNER}-name" in changed.stderr


def test_only_the_api_says_what_is_taken_over(waiting: str) -> None:
    annotations = {"longtask.dev/reuse": "{}"}
    manifest = json.loads(task("test-reuse"))
    manifest["metadata"]["annotations"] = annotations
    refused = create(json.dumps(manifest))
    assert "only the API sets it" in refused.stderr
    taken = create(json.dumps(manifest), API)
    assert taken.returncode == 0, taken.stderr
    changed = patch(waiting, {"metadata": {"annotations": annotations}})
    assert "only the API sets it" in changed.stderr


# The operator has no right to change a task at all.
@pytest.mark.parametrize("account", [API, None])
@pytest.mark.parametrize("owner", ["eve", None])
def test_nobody_changes_the_owner(waiting: str, owner: str | None, account: str | None) -> None:
    answer = patch(waiting, {"metadata": {"labels": {OWNER: owner}}}, account)
    assert answer.returncode != 0
    assert OWNER in answer.stderr


def test_other_labels_are_free(waiting: str) -> None:
    assert patch(waiting, {"metadata": {"labels": {"team": "red"}}}).returncode == 0


@pytest.mark.parametrize(
    ("account", "status"),
    [
        pytest.param(OPERATOR, {"phase": "Running", "attempt": 1}, id="operator-phase"),
        pytest.param(OPERATOR, {"result": {"value": 1}}, id="operator-result"),
        pytest.param(API, {"progress": {"percent": 5, "message": "…"}}, id="api-progress"),
        pytest.param(API, {"result": {"ref": {"size": 1, "sha256": "0" * 64}}}, id="api-ref"),
        pytest.param(
            API,
            {"result": {"ref": {"size": 1, "sha256": "0" * 64, "mediaType": "text/plain"}}},
            id="api-ref-of-text",
        ),
    ],
)
def test_status_that_may_be_written(waiting: str, account: str, status: dict[str, Any]) -> None:
    answer = write_status(waiting, status, account)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("account", "status", "message"),
    [
        pytest.param(API, {"phase": "Succeeded"}, "the API may change", id="api-phase"),
        pytest.param(API, {"attempt": 3}, "the API may change", id="api-attempt"),
        pytest.param(API, {"result": {"value": 1}}, "the API may change", id="api-result"),
        pytest.param(
            API, {"result": {"mediaType": "text/plain"}}, "the API may change", id="api-media-type"
        ),
        pytest.param(
            API, {"progress": {"percent": 5}, "waiting": "x"}, "the API may change", id="api-both"
        ),
        pytest.param(None, {"phase": "Succeeded"}, "only the operator", id="administrator"),
        pytest.param(None, {"progress": {"percent": 5}}, "only the operator", id="progress"),
    ],
)
def test_status_that_may_not_be_written(
    waiting: str, account: str | None, status: dict[str, Any], message: str
) -> None:
    answer = write_status(waiting, status, account)
    assert answer.returncode != 0
    assert message in answer.stderr


def schedule(labels: dict[str, str] | None = None, **spec: Any) -> str:
    """Return a schedule whose runs could be made."""
    template = {"taskTemplate": {"spec": {"type": "sleep", "input": {"seconds": 0}}}}
    return json.dumps(
        {
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTaskSchedule",
            "metadata": {"name": "test-admission", "labels": labels or {}},
            "spec": template | spec,
        }
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({}, "exactly one of schedule and intervalSeconds", id="neither"),
        pytest.param(
            {"schedule": "@daily", "intervalSeconds": 60}, "exactly one of schedule", id="both"
        ),
        pytest.param({"schedule": {"a": 1}}, "a list of 1 to 10", id="an-object"),
        pytest.param({"schedule": ["@daily", 1]}, "a list of 1 to 10", id="a-number-in-a-list"),
        pytest.param({"schedule": []}, "a list of 1 to 10", id="an-empty-list"),
        pytest.param(
            {
                "schedule": "@daily",
                "taskTemplate": {"labels": {OWNER: "bob"}, "spec": {"type": "sleep"}},
            },
            "LongTask's own to give",
            id="runs-of-somebody-else",
        ),
    ],
)
def test_a_schedule_that_names_no_times_is_refused(spec: dict[str, Any], told: str) -> None:
    answer = create(schedule(**spec))
    assert answer.returncode != 0
    assert told in answer.stderr


@pytest.mark.parametrize("spec", [{"schedule": "@daily"}, {"intervalSeconds": 5}])
def test_a_schedule_is_made_and_only_the_api_says_whose_it_is(spec: dict[str, Any]) -> None:
    assert create(schedule(**spec)).returncode == 0
    owned = schedule({OWNER: "bob"}, **spec)
    answer = create(owned)
    assert answer.returncode != 0
    assert "only LongTask itself sets it" in answer.stderr
    assert create(owned, API).returncode == 0

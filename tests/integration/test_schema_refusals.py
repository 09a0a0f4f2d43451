"""What the API server itself refuses, one by one, and the field's name that it says.

No policy and no webhook of ours is asked here: these rules hold wherever the CRDs are.
"""

import copy
import json
import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spec_corpus
from longtask_crds import names
from spec_corpus import ONE_KIND, callback, container, env

Try = Callable[..., str]


@pytest.fixture(scope="module")
def attempt(kubeconfig: Path, namespace: str) -> Try:
    """Run kubectl in the scratch namespace; returns what was said if it was refused."""

    def run(*arguments: str, document: Any = None) -> str:
        done = subprocess.run(
            ["kubectl", "-n", namespace, *arguments],
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stderr if done.returncode else ""

    return run


def a_document(kind: str, spec: Any, name: str = "one") -> dict[str, Any]:
    meta = {"name": name}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": meta, "spec": spec}


def create(attempt: Try, document: dict[str, Any]) -> str:
    return attempt("create", "--dry-run=server", "--validate=false", "-f", "-", document=document)


@pytest.mark.parametrize("spec", spec_corpus.GOOD)
def test_a_good_task_is_taken(attempt: Try, spec: dict[str, Any]) -> None:
    assert create(attempt, a_document("LongTask", spec)) == ""


@pytest.mark.parametrize("case", spec_corpus.BROKEN)
def test_a_broken_task_is_refused_as_the_api_refuses_it(
    attempt: Try, case: spec_corpus.Broken
) -> None:
    assert case.told in create(attempt, a_document("LongTask", case.spec))


@pytest.mark.parametrize("spec", spec_corpus.GOOD_TYPES)
def test_a_good_type_is_taken(attempt: Try, spec: dict[str, Any]) -> None:
    assert create(attempt, a_document("LongTaskType", spec)) == ""


@pytest.mark.parametrize("case", spec_corpus.BROKEN_TYPES)
def test_a_broken_type_is_refused(attempt: Try, case: spec_corpus.Broken) -> None:
    assert case.told in create(attempt, a_document("LongTaskType", case.spec))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"steps": []}, "spec.steps", id="no-steps"),
        pytest.param(
            {"steps": [{"name": "a", "type": "x"}] * 2},
            "Duplicate value",
            id="two-steps-of-one-name",
        ),
        pytest.param(
            {"steps": [{"name": "a", "type": "x", "needs": ["b"]}]},
            "is the name of a step",
            id="a-step-that-needs-nobody",
        ),
        pytest.param(
            {"steps": [{"name": "a", "type": "x", "finally": True}]},
            "at least one step must not be marked finally",
            id="nothing-but-an-end",
        ),
        pytest.param(
            {"type": "x", "maxParallel": 2}, "only a task with steps", id="nothing-side-by-side"
        ),
        pytest.param(
            {"steps": [{"name": "a" * 61, "type": "x"}]}, "spec.steps[0].name", id="a-long-step"
        ),
        pytest.param({"type": "Not_A_Name"}, "spec.type", id="a-types-name"),
        pytest.param({"type": "x" * 64}, "spec.type", id="a-types-long-name"),
        pytest.param({"type": "x", "queue": "-q"}, "spec.queue", id="a-queues-name"),
        pytest.param({"type": "x", "priority": 101}, "spec.priority", id="too-urgent"),
        pytest.param({"type": "x", "priority": -1}, "spec.priority", id="not-urgent-at-all"),
        pytest.param({"container": {}}, "spec.container.image", id="no-image"),
        pytest.param({"container": {"image": ""}}, "spec.container.image", id="an-empty-image"),
        pytest.param(container(command=["x"] * 65), "spec.container.command", id="many-words"),
        pytest.param(
            env(name="1A", value="x"), "spec.container.env[0].name", id="a-variables-name"
        ),
        pytest.param(
            env(name="A", secretRef={"name": "../x", "key": "k"}), "secretRef.name", id="a-path"
        ),
        pytest.param(callback(url="ftp://example.com"), "spec.callback.url", id="another-scheme"),
        pytest.param(callback(url="https://me@example.com"), "spec.callback.url", id="a-user"),
        pytest.param(callback(url="https://example.com/#x"), "spec.callback.url", id="a-fragment"),
        pytest.param(callback(url="https://a b/"), "spec.callback.url", id="a-space"),
        pytest.param(callback(url="https://e/" + "x" * 2048), "spec.callback.url", id="a-long-url"),
        pytest.param(callback(events=["sometimes"]), "spec.callback.events", id="no-such-event"),
        pytest.param(callback(events=["failed"] * 2), "Duplicate value", id="an-event-twice"),
        pytest.param(
            callback(headers={"X": "a\r\nHost: b"}), "spec.callback.headers", id="a-second-header"
        ),
        pytest.param(callback(headers={"X": "é"}), "spec.callback.headers", id="not-ascii"),
        pytest.param(
            callback(headers={f"X-{n}": "x" for n in range(21)}), "callback.headers", id="too-many"
        ),
        pytest.param(
            {"type": "x", "resources": {"requests": {"cpu": -1}}}, "cpu", id="a-negative-number"
        ),
        pytest.param(
            {"type": "x", "resources": {"requests": {"cpu": "-1"}}}, "cpu", id="a-negative-amount"
        ),
        pytest.param(
            {"type": "x", "resources": {"limits": {"memory": "1GiB"}}}, "memory", id="no-unit"
        ),
        pytest.param({"type": "x", "timeouts": {"runSeconds": 0}}, "runSeconds", id="no-time"),
        pytest.param({"type": "x", "retry": {"maxAttempts": 0}}, "maxAttempts", id="no-attempt"),
        pytest.param({"type": "x", "cancel": "yes"}, "spec.cancel", id="a-word-for-a-truth"),
        pytest.param({"type": "x", "notify": [{"email": "me"}]}, "email", id="no-address"),
    ],
)
def test_a_bad_task_is_refused_with_the_fields_name(
    attempt: Try, spec: dict[str, Any], told: str
) -> None:
    assert told in create(attempt, a_document("LongTask", spec))


@pytest.mark.parametrize(
    ("kind", "spec", "name", "told"),
    [
        pytest.param(
            "LongTask", {"type": "x"}, "a" * 53, "at most 52 characters", id="a-long-task"
        ),
        pytest.param("LongTask", {"type": "x"}, "a.b", "as in a DNS label", id="a-dotted-task"),
        pytest.param("LongTaskQueue", {}, "a" * 64, "at most 63 characters", id="a-long-queue"),
        pytest.param("LongTaskType", {}, "a.b", "as in a DNS label", id="a-dotted-type"),
        pytest.param(
            "LongTaskSchedule",
            {"intervalSeconds": 60, "taskTemplate": {"spec": {"type": "x"}}},
            "a" * 44,
            "at most 43 characters",
            id="a-long-schedule",
        ),
        pytest.param("LongTaskQueue", {"maxRunning": -1}, "q", "maxRunning", id="a-negative-limit"),
        pytest.param(
            "LongTaskType",
            {"security": {"runAsUser": 0}},
            "t",
            "runAsUser",
            id="a-type-that-runs-as-root",
        ),
        pytest.param(
            "LongTaskType",
            {"container": {"env": [{"name": "LONGTASK_X", "value": "x"}]}},
            "t",
            "LONGTASK_ are reserved",
            id="our-names-in-a-type",
        ),
        pytest.param(
            "LongTaskType",
            {"defaults": {"resources": {"limits": {"memory": "64"}}}},
            "t",
            "memory: at least 4Mi",
            id="a-type-whose-tasks-cannot-start",
        ),
        pytest.param(
            "LongTaskType",
            {"defaults": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}},
            "t",
            "cpu: the request is above the limit",
            id="a-type-that-asks-for-more-than-its-limit",
        ),
        pytest.param(
            "LongTaskSchedule",
            {"intervalSeconds": 60, "taskTemplate": {"spec": spec_corpus.limits(memory=64)}},
            "s",
            "memory: at least 4Mi",
            id="a-schedule-of-tasks-that-cannot-start",
        ),
        pytest.param("LongTaskType", {"egress": "everywhere"}, "t", "egress", id="no-such-egress"),
        pytest.param(
            "LongTaskSchedule",
            {"intervalSeconds": 4, "taskTemplate": {"spec": {"type": "x"}}},
            "s",
            "intervalSeconds",
            id="a-schedule-that-comes-too-often",
        ),
        pytest.param(
            "LongTaskSchedule",
            {"intervalSeconds": 60, "taskTemplate": {"spec": {}}},
            "s",
            ONE_KIND,
            id="a-schedule-of-nothing",
        ),
    ],
)
def test_names_and_other_kinds(
    attempt: Try, kind: str, spec: dict[str, Any], name: str, told: str
) -> None:
    assert told in create(attempt, a_document(kind, spec, name))


def test_unknown_fields_are_refused_by_kubectl_and_dropped_by_the_server(attempt: Try) -> None:
    smuggled = {"type": "x", "hostNetwork": True, "namespace": "kube-system"}
    document = a_document("LongTask", smuggled)
    refused = attempt("create", "--dry-run=server", "-f", "-", document=document)
    assert 'unknown field "spec.hostNetwork"' in refused
    assert 'unknown field "spec.namespace"' in refused
    assert create(attempt, document) == ""


# --- what cannot be changed any more ---

FULL = {
    "type": "sleep",
    "input": {"n": 1},
    "queue": "default",
    "priority": 50,
    "resources": {"requests": {"cpu": "100m"}},
    "retry": {"maxAttempts": 2},
    "timeouts": {"runSeconds": 60},
    "callback": {"url": "https://example.com/", "headers": {"X-A": "b"}},
    "notify": [{"email": "a@example.com"}],
    "notBefore": "2026-01-02T03:04:05Z",
    "ttlSecondsAfterFinished": 60,
}


def stored(attempt: Try, spec: dict[str, Any]) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    assert attempt("create", "-f", "-", document=a_document("LongTask", spec, name)) == ""
    return name


@pytest.fixture(scope="module")
def full(attempt: Try) -> str:
    """A task in which every field stands."""
    return stored(attempt, FULL)


@pytest.fixture(scope="module")
def bare(attempt: Try) -> str:
    """A task in which only the type stands."""
    return stored(attempt, {"type": "sleep"})


def patch(attempt: Try, name: str, spec: dict[str, Any], *, dry: bool = True) -> str:
    how = ("--dry-run=server",) if dry else ()
    change = json.dumps({"spec": spec})
    return attempt("patch", "longtask", name, "--type=merge", "-p", change, *how)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("queue", "other", id="the-queue"),
        pytest.param("resources", {"requests": {"cpu": "200m"}}, id="the-resources"),
        pytest.param("retry", {"maxAttempts": 3}, id="the-retries"),
        pytest.param("timeouts", {"runSeconds": 61}, id="the-timeouts"),
        pytest.param("callback", {"url": "https://example.org/"}, id="the-callback"),
        pytest.param("notify", [{"email": "b@example.com"}], id="the-addresses"),
        pytest.param("notBefore", "2026-01-02T03:04:06Z", id="the-time"),
    ],
)
def test_a_field_cannot_be_changed_removed_or_added(
    attempt: Try, full: str, bare: str, field: str, value: Any
) -> None:
    told = f"{field} cannot be changed once the task exists"
    assert told in patch(attempt, full, {field: value})
    assert told in patch(attempt, full, {field: None})
    assert told in patch(attempt, bare, {field: value})


def test_the_work_cannot_be_changed(attempt: Try, bare: str) -> None:
    assert "type cannot be changed" in patch(attempt, bare, {"type": "other"})
    other = {"type": None, "container": {"image": "x"}}
    assert "cannot be changed once the task exists" in patch(attempt, bare, other)
    own = stored(attempt, container())
    assert "container cannot be changed" in patch(attempt, own, {"container": {"image": "x"}})
    steps = stored(attempt, {"steps": [{"name": "a", "type": "x"}]})
    change = {"steps": [{"name": "a", "type": "y"}]}
    assert "steps cannot be changed" in patch(attempt, steps, change)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"priority": 60}, id="the-priority"),
        pytest.param({"priority": None}, id="no-priority-any-more"),
        pytest.param({"ttlSecondsAfterFinished": 5}, id="the-time-to-live"),
        pytest.param({"cancel": False}, id="not-to-cancel"),
    ],
)
def test_these_may_change(attempt: Try, full: str, change: dict[str, Any]) -> None:
    assert patch(attempt, full, change) == ""


def test_a_cancelled_task_stays_cancelled(attempt: Try) -> None:
    name = stored(attempt, {"type": "sleep"})
    assert patch(attempt, name, {"cancel": True}, dry=False) == ""
    for back in (False, None):
        assert "a cancelled task stays cancelled" in patch(attempt, name, {"cancel": back})
    assert patch(attempt, name, {"cancel": True}) == ""


# --- a finished status ---

AT = "2026-01-02T03:04:05Z"


def condition(kind: str, status: str, reason: str = "Because") -> dict[str, Any]:
    given = {"type": kind, "status": status, "reason": reason}
    return given | {"message": "", "lastTransitionTime": AT}


ENTRY = {"id": "msg_1", "event": "succeeded", "state": "Pending", "tries": 1}
FINISHED: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "conditions": [
        condition("Finished", "True"),
        condition("Succeeded", "True"),
        condition("CallbackDelivered", "False"),
    ],
    "queue": "default",
    "queuedAt": AT,
    "startedAt": AT,
    "finishedAt": AT,
    "attempt": 1,
    "attempts": [{"number": 1, "jobName": "job", "exitCode": 0}],
    "progress": {"percent": 100},
    "result": {"value": {"n": 1, "none": None, "list": [1, None]}},
    "callback": ENTRY,
}


@pytest.fixture(scope="module")
def finished(attempt: Try) -> str:
    name = stored(attempt, {"type": "sleep"})
    assert set_status(attempt, name, FINISHED) == ""
    return name


def set_status(attempt: Try, name: str, status: dict[str, Any], *, dry: bool = False) -> str:
    """Set the whole status, with a JSON Patch: a merge patch would drop what is null."""
    change = json.dumps([{"op": "add", "path": "/status", "value": status}])
    how = ("--dry-run=server",) if dry else ()
    arguments = ("longtask", name, "--subresource=status", "--type=json", "-p", change)
    return attempt("patch", *arguments, *how)


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in FINISHED.items() if key != field}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("phase", "Failed", id="the-phase"),
        pytest.param("queue", "other", id="the-queue"),
        pytest.param("queuedAt", "2026-01-02T03:04:06Z", id="when-it-was-queued"),
        pytest.param("startedAt", "2026-01-02T03:04:06Z", id="when-it-started"),
        pytest.param("finishedAt", "2026-01-02T03:04:06Z", id="when-it-ended"),
        pytest.param("attempt", 2, id="the-attempt"),
        pytest.param("attempts", [{"number": 1, "jobName": "job", "exitCode": 1}], id="attempts"),
        pytest.param("progress", {"percent": 50}, id="the-progress"),
        pytest.param("result", {"value": {"n": 2}}, id="the-result"),
        pytest.param("result", {"value": {"n": 1, "list": [1, None]}}, id="a-null-in-the-result"),
    ],
)
def test_a_finished_field_cannot_be_changed_or_removed(
    attempt: Try, finished: str, field: str, value: Any
) -> None:
    told = f"{field} of a finished task cannot be changed"
    assert told in set_status(attempt, finished, FINISHED | {field: value}, dry=True)
    if field != "phase":  # its default comes back in its place, which is another change
        assert told in set_status(attempt, finished, without(field), dry=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("waiting", "for nothing", id="a-cause"),
        pytest.param("steps", [{"name": "a"}], id="a-step"),
    ],
)
def test_nothing_is_added_to_a_finished_status(
    attempt: Try, finished: str, field: str, value: Any
) -> None:
    told = f"{field} of a finished task cannot be changed"
    assert told in set_status(attempt, finished, FINISHED | {field: value}, dry=True)


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param([], id="none-left"),
        pytest.param(
            [condition("Finished", "False"), *FINISHED["conditions"][1:]], id="unfinished"
        ),
        pytest.param(
            [FINISHED["conditions"][0], condition("Succeeded", "False")], id="failed-after-all"
        ),
        pytest.param([*FINISHED["conditions"], condition("Stalled", "True")], id="one-more"),
        pytest.param(
            [condition("Finished", "True", "Other"), *FINISHED["conditions"][1:]],
            id="another-reason",
        ),
    ],
)
def test_its_other_conditions_stay(attempt: Try, finished: str, conditions: list[Any]) -> None:
    change = FINISHED | {"conditions": conditions}
    told = "of a finished task's conditions only CallbackDelivered can be changed"
    assert told in set_status(attempt, finished, change, dry=True)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"callback": ENTRY | {"state": "Delivered", "tries": 2}}, id="its-callback"),
        pytest.param(
            {"conditions": [*FINISHED["conditions"][:2], condition("CallbackDelivered", "True")]},
            id="the-callbacks-condition",
        ),
        pytest.param({"observedGeneration": 2}, id="what-was-observed"),
    ],
)
def test_its_callback_goes_on(attempt: Try, finished: str, change: dict[str, Any]) -> None:
    assert set_status(attempt, finished, copy.deepcopy(FINISHED) | change, dry=True) == ""


def test_an_unfinished_status_may_change_freely(attempt: Try) -> None:
    name = stored(attempt, {"type": "sleep"})
    running = FINISHED | {"conditions": [condition("Finished", "False")], "phase": "Running"}
    assert set_status(attempt, name, running) == ""
    assert set_status(attempt, name, running | {"progress": {"percent": 3}}) == ""
    assert set_status(attempt, name, FINISHED) == ""

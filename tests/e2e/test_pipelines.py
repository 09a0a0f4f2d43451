"""Pipelines on real pods: the examples, undisturbed and with the operator killed in the middle."""

import dataclasses
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e_support import (
    PATIENT,
    Kubectl,
    Product,
    Receiver,
    callback_key,
    client_of,
    eventually,
    evict,
    finished,
    jobs_ever_created,
    kill,
    ready,
    shell,
    submit,
)

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "pipelines"
OVER = {"Succeeded", "Failed", "Cancelled", "Skipped"}


def spec_of(example: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((FOLDER / f"{example}.yaml").read_text())["spec"]
    return spec


def look(rest: httpx.Client, task: str) -> dict[str, Any]:
    view: dict[str, Any] = rest.get(f"/api/v1/tasks/{task}").json()
    return view


def steps_of(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in view["steps"]}


def phases_of(view: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["phase"] for step in view["steps"]}


def value_of(view: dict[str, Any], step: str) -> Any:
    return steps_of(view)[step]["result"]["value"]


def has_begun(view: dict[str, Any]) -> bool:
    return any(step.get("attempt") for step in view["steps"])


def log_of(rest: httpx.Client, task: str, step: str) -> str:
    answer = rest.get(f"/api/v1/tasks/{task}/logs", params={"step": step})
    assert answer.status_code == 200, answer.text
    return answer.text.strip()


def attempts_of(view: dict[str, Any]) -> int:
    """Count the attempts of all programs, by the status."""
    programs = [program for step in view["steps"] for program in (step.get("children") or [step])]
    return sum(program.get("attempt") or 0 for program in programs if not program.get("reused"))


# --- the examples ---


@dataclasses.dataclass(frozen=True)
class Round:
    """Each example run once, all of them at the same time."""

    is_disturbed: bool
    views: dict[str, dict[str, Any]]


EXAMPLES = ("page-report", "diamond", "fan-out", "nightly", "retry-from-failed")


@pytest.fixture(scope="module", params=[False, True], ids=["undisturbed", "operator-killed"])
def a_round(request: pytest.FixtureRequest, product: Product) -> Iterator[Round]:
    kubectl = Kubectl()
    with client_of(product, product.token) as rest:
        tasks = {
            example: submit(rest, **spec_of(example), name=f"{example}-{uuid.uuid4().hex[:10]}")
            for example in EXAMPLES
        }
        names = {example: str(view["id"]) for example, view in tasks.items()}
        if request.param:
            for name in names.values():
                eventually(lambda name=name: look(rest, name), has_begun, within=60)  # type: ignore[misc]
            before = {example: look(rest, name)["phase"] for example, name in names.items()}
            kill(kubectl, "operator")
            assert not set(before.values()) & OVER, "the kill was to come in the middle"
        views = {example: finished(rest, name, within=150) for example, name in names.items()}
        ready(kubectl, "operator")
        yield Round(request.param, views)


@pytest.mark.alone
def test_fetch_convert_report(a_round: Round) -> None:
    view = a_round.views["page-report"]
    url = "http://longtask-api.longtask.svc:8080/healthz"
    assert view["phase"] == "Succeeded", view
    assert view["result"]["value"] == {"report": f"{url} answers 200: ['OK']"}
    assert (view["percent"], view["step"]) == (100, "3/3")


@pytest.mark.alone
def test_a_diamond(a_round: Round) -> None:
    view = a_round.views["diamond"]
    assert view["phase"] == "Succeeded", view
    assert view["result"]["value"] == {"primes": 25, "sum": 75114}
    steps = steps_of(view)
    for name, needed in (("small", "primes"), ("large", "primes"), ("sum", "small")):
        assert steps[name]["begunAt"] >= steps[needed]["finishedAt"]
    assert steps["sum"]["begunAt"] >= steps["large"]["finishedAt"]


@pytest.mark.alone
def test_out_over_a_list_and_back(a_round: Round) -> None:
    view = a_round.views["fan-out"]
    assert view["phase"] == "Succeeded", view
    assert view["result"]["value"] == {"items": 8, "total": 6121}
    each = steps_of(view)["each"]
    assert (each["items"], each["succeeded"], len(each["children"])) == (8, 8, 8)
    # No more than three at a time: of any four, one began after another had ended.
    begun = [child["begunAt"] for child in each["children"]]
    ended = sorted(child["finishedAt"] for child in each["children"])
    assert all(later >= over for later, over in zip(sorted(begun)[3:], ended, strict=False))


@pytest.mark.alone
def test_a_nightly_job_cleans_up(a_round: Round) -> None:
    view = a_round.views["nightly"]
    assert (view["phase"], view["result"]["value"]) == ("Succeeded", "all is well"), view
    assert phases_of(view) == {
        "load": "Succeeded",
        "compact": "Skipped",
        "check": "Succeeded",
        "clean-up": "Succeeded",
        "alert": "Skipped",
    }
    said = value_of(view, "clean-up")
    assert said["outcome"]["phase"] == "Succeeded"
    assert said["remove"].startswith("/scratch/")


@pytest.mark.alone
def test_again_from_the_failed_step(
    a_round: Round, rest: httpx.Client, kubectl: Kubectl, product: Product, name: str
) -> None:
    origin = a_round.views["retry-from-failed"]
    assert (origin["phase"], origin["reason"]) == ("Failed", "StepFailed"), origin
    assert phases_of(origin) == {"list": "Succeeded", "send": "Failed", "confirm": "Skipped"}
    send = steps_of(origin)["send"]
    assert (send["reason"], send["message"]) == (
        "ProgramFailed",
        "the receiver hung up after 7 rows",
    )

    # By a name of its own: one that began with the origin's would be counted with it.
    path, changes = f"/api/v1/tasks/{origin['id']}:retry", {"name": name}
    answer = rest.post(path, params={"fromFailed": "true"}, json=changes)
    assert answer.status_code == 202, answer.text
    task = str(answer.json()["id"])
    if a_round.is_disturbed:
        eventually(lambda: look(rest, task), has_begun, within=60)
        kill(kubectl, "operator")
    view = finished(rest, task, within=120)
    ready(kubectl, "operator")

    assert view["phase"] == "Succeeded", view
    assert view["result"]["value"] == {"rows": 15, "sent": 8, "receipt": "610"}
    assert view["retryOf"] == origin["id"]
    assert steps_of(view)["list"]["reused"] is True
    assert jobs_ever_created(product, task) == attempts_of(view) == 2


def test_again_from_the_failed_step_with_another_input(rest: httpx.Client) -> None:
    share = (
        "import json, os, sys; given = json.load(open(os.environ['LONGTASK_INPUT_FILE']));"
        "given['limit'] or sys.exit(65);"
        "json.dump(given, open(os.environ['LONGTASK_OUTPUT_FILE'], 'w'))"
    )
    steps = [
        {"name": "list", "type": "prime-numbers", "input": {"n": {"$from": "input#/n"}}},
        {
            "name": "share",
            "container": shell("") | {"command": ["python3", "-c", share]},
            "input": {"limit": {"$from": "input#/limit"}, "rows": {"$from": "steps.list#/count"}},
        },
    ]
    origin = submit(rest, input={"n": 20, "limit": 0}, steps=steps)["id"]
    assert phases_of(finished(rest, origin)) == {"list": "Succeeded", "share": "Failed"}
    path, whole = f"/api/v1/tasks/{origin}:retry", {"fromFailed": "true"}

    # What the list was made of is not to be changed, for it is not made again.
    refused = rest.post(path, params=whole, json={"input": {"n": 30, "limit": 3}})
    assert refused.status_code == 422
    assert [wrong["pointer"] for wrong in refused.json()["errors"]] == ["/input/n"]
    again = rest.post(path, params=whole, json={"input": {"n": 20, "limit": 3}})
    anew = rest.post(path, json={"input": {"n": 30, "limit": 3}})
    assert (again.status_code, anew.status_code) == (202, 202), (again.text, anew.text)

    for answer, reused, rows in ((again, True, 8), (anew, None, 10)):
        view = finished(rest, str(answer.json()["id"]))
        assert (view["phase"], view["retryOf"]) == ("Succeeded", origin), view
        assert view["result"]["value"] == {"limit": 3, "rows": rows}
        assert steps_of(view)["list"].get("reused") == reused
        assert not steps_of(view)["share"].get("reused")
    assert phases_of(look(rest, origin)) == {"list": "Succeeded", "share": "Failed"}


@pytest.mark.alone
def test_each_program_was_started_once(a_round: Round, product: Product) -> None:
    programs = {"page-report": 3, "diamond": 4, "fan-out": 10, "nightly": 3, "retry-from-failed": 2}
    assert {name: attempts_of(view) for name, view in a_round.views.items()} == programs
    assert {
        name: jobs_ever_created(product, view["id"]) for name, view in a_round.views.items()
    } == programs


def test_what_came_from_argo(rest: httpx.Client) -> None:
    names = {
        example: submit(rest, **spec_of(f"argo-{example}"))["id"]
        for example in ("diamond", "loop", "exit-handler")
    }
    views = {example: finished(rest, name) for example, name in names.items()}

    assert set(phases_of(views["diamond"]).values()) == {"Succeeded"}
    assert [log_of(rest, names["diamond"], step) for step in "ad"] == ["A", "D"]

    assert views["loop"]["phase"] == "Succeeded"
    assert log_of(rest, names["loop"], "print-message.1") == '"goodbye world"'

    failed = views["exit-handler"]
    assert (failed["phase"], failed["reason"]) == ("Failed", "StepFailed")
    assert phases_of(failed) == {
        "intentional-fail": "Failed",
        "notify": "Succeeded",
        "celebrate": "Skipped",
        "cry": "Succeeded",
    }
    assert log_of(rest, names["exit-handler"], "cry") == "boohoo!"


# --- what else may happen to a pipeline ---

#: What a step marked `finally` was told of how the others ended.
TELL = 'cat "$LONGTASK_INPUT_FILE" >"$LONGTASK_OUTPUT_FILE"'
CLEAN_UP = {
    "name": "clean-up",
    "finally": True,
    "container": shell(TELL),
    "input": {"$from": "outcome"},
}


def test_a_step_that_is_evicted_is_started_again(rest: httpx.Client, kubectl: Kubectl) -> None:
    script = f'[ "$LONGTASK_ATTEMPT" -ge 2 ] && exit 0; {PATIENT}'
    steps = [
        {"name": "first", "container": shell(script)},
        {"name": "second", "type": "fibonacci", "input": {"n": 5}},
    ]
    task = submit(rest, steps=steps)["id"]
    eventually(
        lambda: phases_of(look(rest, task)).get("first"),
        lambda phase: phase == "Running",
        within=60,
    )

    head, row = kubectl("get", "lt", task).splitlines()
    at = head.index("STEP")
    assert row[at:].startswith("1/2 first")
    (pod,) = kubectl.get("pods", "-l", f"longtask.dev/task={task},longtask.dev/step=first")["items"]
    evict(kubectl, pod["metadata"]["name"])

    view = finished(rest, task)
    assert view["phase"] == "Succeeded", view
    steps_now = steps_of(view)
    assert (steps_now["first"]["attempt"], steps_now["first"]["disruptions"]) == (2, 1)
    assert steps_now["second"]["attempt"] == 1


def test_a_callback_tells_which_step_failed_and_why(
    rest: httpx.Client, receiver: Receiver, kubectl: Kubectl
) -> None:
    order = spec_of("nightly") | {"input": {"rows": 0}, "callback": {"url": receiver.url()}}
    task = submit(rest, **order)["id"]

    (delivery,) = receiver.wait_for(task, within=240)

    data = delivery.verify(callback_key(rest))["data"]
    assert (data["phase"], data["reason"]) == ("Failed", "StepFailed")
    assert (data["step"], "there are no rows" in data["message"]) == ("check", True)
    assert {step["name"]: step["phase"] for step in data["steps"]}["clean-up"] == "Succeeded"
    view = finished(rest, task)
    assert phases_of(view) == {
        "load": "Succeeded",
        "compact": "Skipped",
        "check": "Failed",
        "clean-up": "Succeeded",
        "alert": "Succeeded",
    }
    outcome = value_of(view, "clean-up")["outcome"]
    assert (outcome["phase"], outcome["step"]) == ("Failed", "check")
    assert log_of(rest, task, "alert") == 'the night failed at:\n"check"'
    assert kubectl.get("lt", task)["status"]["outcome"]["step"] == "check"


def test_what_is_cancelled_or_takes_too_long_is_cleaned_up_after(rest: httpx.Client) -> None:
    steps = [
        {"name": "work", "container": shell(PATIENT)},
        {"name": "next", "type": "sleep", "input": {"seconds": 0}},
        CLEAN_UP,
    ]
    late = submit(rest, steps=steps, timeouts={"totalSeconds": 20})["id"]
    cancelled = submit(rest, steps=steps)["id"]
    eventually(
        lambda: phases_of(look(rest, cancelled)).get("work"),
        lambda phase: phase == "Running",
        within=60,
    )
    rest.post(f"/api/v1/tasks/{cancelled}:cancel").raise_for_status()

    for task, phase, reason in (
        (cancelled, "Cancelled", "Cancelled"),
        (late, "Failed", "TotalTimeout"),
    ):
        view = finished(rest, task)
        assert (view["phase"], view["reason"]) == (phase, reason), view
        assert phases_of(view) == {
            "work": "Cancelled",
            "next": "Skipped",
            "clean-up": "Succeeded",
        }
        told = value_of(view, "clean-up")
        assert (told["phase"], told["reason"]) == (phase, reason)


def test_large_results_and_items_that_fail(rest: httpx.Client) -> None:
    count = (
        "import json, os; given = json.load(open(os.environ['LONGTASK_INPUT_FILE']));"
        "whole = json.load(open(given['file']));"
        "found = {'all': len(whole['primes']), 'part': given['count'], 'last': given['last']};"
        "json.dump(found, open(os.environ['LONGTASK_OUTPUT_FILE'], 'w'))"
    )
    large = submit(
        rest,
        steps=[
            {"name": "list", "type": "prime-numbers", "input": {"n": 100_000}},
            {
                "name": "count",
                "container": shell("") | {"command": ["python3", "-c", count]},
                "input": {
                    "file": {"$ref": "steps.list"},
                    "count": {"$from": "steps.list#/count"},
                    "last": {"$from": "steps.list#/primes/9591"},
                },
            },
        ],
    )["id"]
    items = {
        "name": "each",
        "forEach": ["a", "b", "c"],
        "container": shell(f'grep -q b "$LONGTASK_INPUT_FILE" && exit 65; {TELL}'),
        "input": {"$from": "item"},
    }
    enough = submit(rest, steps=[items | {"minSuccessful": 2}])["id"]
    too_few = submit(rest, steps=[items])["id"]

    view = finished(rest, large)
    assert view["phase"] == "Succeeded", view
    assert steps_of(view)["list"]["result"]["ref"]["size"] > 4095
    assert view["result"]["value"] == {"all": 9592, "part": 9592, "last": 99991}

    assert finished(rest, enough)["phase"] == "Succeeded"
    assert rest.get(f"/api/v1/tasks/{enough}/result").json() == ["a", None, "c"]

    view = finished(rest, too_few)
    assert (view["phase"], view["reason"]) == ("Failed", "StepFailed")
    assert steps_of(view)["each"]["reason"] == "ItemsFailed"


def test_what_can_never_work_is_refused(rest: httpx.Client, kubectl: Kubectl, name: str) -> None:
    steps = [
        {"name": "a", "type": "sleep", "input": {"seconds": {"$from": "steps.b#/seconds"}}},
        {"name": "b", "type": "sleep", "input": {"seconds": 0}},
    ]
    refused = rest.post("/api/v1/tasks", json={"steps": steps})
    assert refused.status_code == 422
    assert [wrong["pointer"] for wrong in refused.json()["errors"]] == ["/steps/0/input/seconds"]

    kubectl.apply_task(name, {"steps": steps})

    conditions = kubectl.wait_finished(name)["status"]["conditions"]
    accepted = next(one for one in conditions if one["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSteps")


def test_the_command_shows_each_step(
    longtask: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    done = longtask("submit", "-f", str(FOLDER / "diamond.yaml"), "--name", name, "--wait")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"primes": 25, "sum": 75114}
    told = [line for line in done.stderr.splitlines() if ": sum " in line]
    assert told[-1].startswith(f"{name}: sum Succeeded after ")
    shown = longtask("get", name).stdout
    assert "a pipeline of 4 steps" in shown
    assert [line.split()[:2] for line in shown.splitlines()[-4:]] == [
        [step, "Succeeded"] for step in ("primes", "small", "large", "sum")
    ]

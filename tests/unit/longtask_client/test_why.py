import re
from pathlib import Path
from typing import Any

import pytest
import typer

from client_support import a_task
from longtask_client import models, why
from longtask_client.cli import program
from longtask_client.cli.commands import schedules
from longtask_crds import v1alpha1
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Reason


def explained(**parts: Any) -> list[str]:
    return why.of(models.TaskView.model_validate(a_task("a", **parts)), NOW).lines()


def test_every_reason_has_its_words() -> None:
    assert set(why.WORDS) == set(Reason)


def test_every_reason_of_the_docs_is_one_of_these() -> None:
    text = (Path(__file__).parents[3] / "docs/reasons.md").read_text()
    assert {reason for reason in Reason if f"`{reason}`" not in text} == set()


@pytest.mark.parametrize("reason", list(Reason))
def test_what_to_do_next_names_commands_that_there_are(reason: Reason) -> None:
    lines = explained(reason=reason)
    assert lines[0] == f"a is Queued ({reason})."
    assert why.WORDS[reason].means in lines
    for command in re.findall(r"longtask ([\w-]+)", "\n".join(lines)):
        assert command in program.COMMANDS
    assert "{" not in "".join(lines)


@pytest.mark.parametrize("reason", [one for one in Reason if one is not Reason.ACTIVE])
def test_of_a_schedule_it_names_commands_for_schedules(reason: Reason) -> None:
    found = models.ScheduleView.model_construct(reason=reason, name="s")
    means, *helps = why.of_schedule(found)
    assert means == why.WORDS[reason].means
    for command in re.findall(r"longtask (.+)", "\n".join(helps)):
        verb = re.fullmatch(r"schedule (\w+) s( .*)?", command)
        assert verb is not None
        assert verb[1] in typer.main.get_group(schedules.schedule).commands


def test_a_schedule_that_starts_runs_needs_no_words() -> None:
    found = models.ScheduleView.model_construct(reason="Active")
    assert why.of_schedule(found) == []
    for unknown in (None, "OfANewerServer"):
        assert why.of_schedule(models.ScheduleView.model_construct(reason=unknown)) == []


def test_a_task_that_waits() -> None:
    start = {"earliest": "2026-01-02T03:06:05Z", "latest": "2026-01-02T03:09:05Z"}
    assert explained(reason="Queued", waiting="waits: 2 of 2 running", estimatedStart=start) == [
        "a is Queued (Queued).",
        "It waits until its queue has room.",
        "It waits: 2 of 2 running.",
        "It may start in 2m to 5m, by what ran before.",
        "→ See who is ahead: longtask queue show default",
        "→ Let it go first: longtask priority a 100",
    ]


def test_a_pipeline_whose_step_failed() -> None:
    steps = [
        {"name": "b", "phase": "Failed", "reason": "OOMKilled", "message": "64Mi"},
        {"name": "c", "phase": "Starting", "stalled": "PodCannotStart", "waiting": "no image"},
    ]
    lines = explained(phase="Failed", reason="StepFailed", message="step b failed", steps=steps)
    assert lines[:5] == [
        "a is Failed (StepFailed).",
        "One of its steps failed.",
        "step b failed",
        "Step b failed: OOMKilled: 64Mi",
        "Step c cannot go on: PodCannotStart: no image",
    ]
    assert "→ Go on where it failed: longtask retry a --from-failed" in lines


def test_an_attempt_that_follows_and_a_callback_that_was_given_up() -> None:
    again = explained(
        phase="Retrying", reason="Retrying", message="it broke", retryAt="2026-01-02T03:05:05Z"
    )
    assert again[2:4] == ["it broke", "The next attempt joins the queue in 60s."]
    sent = {"id": "m", "event": "failed", "state": "Exhausted", "tries": 9}
    lines = explained(phase="Failed", reason="ProgramFailed", callback=sent)
    assert "Its callback was given up: longtask callbacks a" in lines


def test_a_reason_of_a_newer_server_hinders_nothing() -> None:
    assert explained(reason="MoonInWrongPhase") == ["a is Queued."]


def test_how_each_start_was_has_its_words() -> None:
    assert set(why.STARTS) == set(v1alpha1.Start)


def test_how_it_began_where_its_type_keeps_pods_waiting() -> None:
    attempts = [{"number": 1, "jobName": "a-1", "start": "NoneIdle"}]
    lines = explained(phase="Running", reason="Running", attempts=attempts)
    assert "It started cold: no pod of its type waited just then." in lines


def test_which_steps_started_cold_and_why() -> None:
    starts = ("Warm", "NoneIdle", "NoneIdle", None)
    children = [{"index": index, "start": start} for index, start in enumerate(starts)]
    steps = [
        {"name": "a", "phase": "Running", "start": "Warm"},
        {"name": "b", "phase": "Running", "start": "TakesFiles"},
        {"name": "c", "phase": "Running", "items": 4, "children": children},
    ]
    lines = explained(phase="Running", reason="Running", steps=steps)
    assert [line for line in lines if line.startswith("Step")] == [
        "Step b: started cold: it takes results as files.",
        "Step c, 2 of 4: started cold: no pod of its type waited just then.",
    ]

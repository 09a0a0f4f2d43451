import re
from pathlib import Path
from typing import Any

import pytest

from client_support import a_task
from longtask_client import models
from longtask_client.cli import program, why
from longtask_crds.testing import NOW
from longtask_crds.v1alpha1 import Reason


def explained(**parts: Any) -> list[str]:
    return why.explain(models.TaskView.model_validate(a_task("a", **parts)), NOW)


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

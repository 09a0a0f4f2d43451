"""Which steps there is room for, and how they look on a terminal."""

import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from longtask_client import models
from longtask_client.cli.output import phrases, steps, tree
from longtask_crds.v1alpha1 import StepPhase

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "now", lambda: NOW)


def drawn(task: models.TaskView, *, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    """What a terminal without colours shows of a task while it is watched."""
    encoding = options.pop("encoding", "utf-8")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, height=height, force_terminal=False)
    console.print(tree.Tree(task, **{"is_live": True} | options))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding).rstrip("\n").split("\n")  # type: ignore[attr-defined]


def a_run(phase: str, *, ago: int | None = None, **changed: Any) -> dict[str, Any]:
    begun = {} if ago is None else {"begunAt": (NOW - timedelta(seconds=ago)).isoformat()}
    return {"phase": phase, "attempt": 1, "jobName": "j"} | begun | changed


@pytest.fixture
def of(a_task: Any) -> Any:
    """Builds a pipeline of these steps."""

    def build(found: list[dict[str, Any]], **changed: Any) -> models.TaskView:
        created = (NOW - timedelta(seconds=75)).isoformat()
        fields = {"createdAt": created, "step": "2/9 b", "percent": 50, "steps": found}
        return models.TaskView.model_validate(a_task("a-task", "Running", **fields | changed))

    return build


def chain(length: int, *, at: int) -> list[dict[str, Any]]:
    """Steps one after the other, of which one runs."""
    phases = ["Succeeded"] * at + ["Running"] + ["Pending"] * (length - at - 1)
    return [{"name": f"s{index}", **a_run(phase)} for index, phase in enumerate(phases)]


def test_a_task_and_its_steps_are_a_tree(of: Any) -> None:
    items = [
        {"index": 0, **a_run("Succeeded", ago=20)},
        {"index": 1, **a_run("Failed", ago=20, reason="OOMKilled", finishedAt=NOW.isoformat())},
        {"index": 2, **a_run("Running", ago=9, progress={"percent": 50, "message": "page 3"})},
    ]
    found = [
        {"name": "fetch", **a_run("Succeeded", ago=70, finishedAt=NOW.isoformat())},
        {"name": "convert", **a_run("Running", ago=60), "items": 4, "succeeded": 1, "failed": 1},
        {"name": "report", "phase": "Pending"},
    ]
    found[1]["children"] = items
    # Without colours a bar has no other part than what is done.
    assert [re.sub("[⠀-⣿]", "*", line.rstrip()) for line in drawn(of(found))] == [
        "* a-task      ━━━━━━         50%   75s  Running, 2/9 b",
        "├─ ✓ fetch    ━━━━━━━━━━━━  100%   70s",
        "├─ * convert  ━━━━━━━        62%   60s  1/4 done, 1 failed, 1 at work",
        "│  ├─ ✗ 1                          20s  OOMKilled",
        "│  └─ * 2     ━━━━━━         50%    9s  page 3",
        "└─ · report",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_longer_than_the_terminal(of: Any, width: int, encoding: str) -> None:
    long_one = {
        "name": "a" * 60,
        **a_run("Failed", ago=5, reason="ProgramFailed", message="x" * 256),
    }
    lines = drawn(of([*chain(3, at=1), long_one]), width=width, encoding=encoding)
    assert len(lines) == 5
    assert max(map(cell_len, lines)) <= width


def test_looked_at_once_a_reason_is_shown_whole(of: Any) -> None:
    words = "the receiver hung up after seven rows of fifteen, and nobody knows why it did so"
    failed = {"name": "send", **a_run("Failed", ago=5, message=words)}
    shown = " ".join(" ".join(drawn(of([failed]), is_live=False)).split())
    assert words in shown


@pytest.mark.parametrize(
    ("at", "over", "to_come"), [(31, True, True), (0, False, True), (49, True, False)]
)
def test_of_fifty_steps_those_next_to_what_runs_are_seen(
    of: Any, at: int, over: bool, to_come: bool
) -> None:
    lines = drawn(of(chain(50, at=at)), height=24)
    assert len(lines) <= 23
    text = "\n".join(lines)
    assert f" s{at} " in text
    assert (" over" in text, " to come" in text) == (over, to_come)
    assert all(f" s{near} " in f"{text} " for near in (at - 1, at + 1) if 0 <= near < 50)


def test_of_a_hundred_items_some_that_failed_and_some_at_work_are_seen(of: Any) -> None:
    items = [
        {"index": index, **a_run("Failed" if index < 20 else "Running", ago=5)}
        for index in range(100)
    ]
    each = {"name": "each", **a_run("Running"), "items": 100, "failed": 20, "children": items}
    shown = [row.name for row in steps.rows(of([each]), NOW)]
    assert shown == ["each", *(f"each.{n}" for n in (0, 1, 2, 3, 20, 21, 22, 23))]


ROWS = st.lists(
    st.builds(
        steps.Row,
        name=st.text("ab", min_size=1, max_size=3),
        phase=st.sampled_from(StepPhase),
        is_item=st.booleans(),
    ),
    max_size=60,
)


@given(ROWS, st.integers(1, 30))
def test_never_more_rows_than_there_is_room_for(found: list[steps.Row], height: int) -> None:
    left = steps.folded(found, height)
    assert len(left) <= height
    if len(found) <= height:
        assert left == found
    shown = [row for row in left if row.phase is not None]
    # In their order, and none that is not there.
    rest = iter(found)
    assert all(any(row is one for one in rest) for row in shown)
    if len(found) > height and not any(row.is_item for row in found):
        hidden = sum(int(row.name.split()[0]) for row in left if row.phase is None)
        assert hidden + len(shown) == len(found)

"""The table of faults in the docs."""

from pathlib import Path

import pytest

import fault_nodes
import fault_table
import marked_text
from fault_cases import FAULTS
from fault_checker import Finding, Verdict

VERDICT = Verdict(20, 19, 1, 0, 0, (3.0, 1.0, 2.04), (Finding("I1", "a", "is gone"),))
ROOT = Path(__file__).resolve().parents[3]


def test_a_run_takes_the_place_of_the_last_one_of_its_fault(tmp_path: Path) -> None:
    file = tmp_path / "runs.json"
    for name in ("F10", "F2.1", "F2", "F10"):
        runs = fault_table.keep(file, fault_table.record(name, name, VERDICT, day="2026-01-02"))
    assert [run["id"] for run in runs] == ["F2", "F2.1", "F10"]


def test_the_table() -> None:
    run = fault_table.record("F2", "answers lost", VERDICT, day="2026-01-02")
    table = fault_table.rendered([run])
    assert "| F2 | answers lost | 20 | 19 | 1 | 0 | 0 | 2.0, at most 3.0 |" in table
    assert "|  | 1 faults | 20 | 19 | 1 | 0 | 0 |  |" in table
    assert table.endswith("- F2: I1 a: is gone")


def test_only_what_is_between_the_markers_changes() -> None:
    document = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n"
    assert marked_text.written(document, "x", "new") == document.replace("old", "new")
    with pytest.raises(ValueError, match="has no"):
        marked_text.written(document, "y", "new")


@pytest.mark.parametrize("mark", ["faults", "node-faults"])
def test_the_docs_have_a_place_for_it(mark: str) -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    assert marked_text.written(text, mark, "new") != text


def test_each_fault_is_one_of_the_docs() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    every = (*FAULTS, *fault_nodes.FAULTS)
    assert len({fault.id for fault in every}) == len(every)
    for fault in every:
        assert f"\n| {fault.id} | " in text

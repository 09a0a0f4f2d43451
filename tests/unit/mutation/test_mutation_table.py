"""The table of mutants in the docs."""

import importlib
import pkgutil
from datetime import date
from pathlib import Path

import pytest

import marked_text
import mutation_table
import run_mutants
from mutation_table import Count

ROOT = Path(__file__).resolve().parents[3]
ENDS = {"a": "killed", "b": "timeout", "c": "survived", "d": "no tests", "e": "not checked"}


def test_what_was_not_tried_is_not_counted() -> None:
    count = Count.of("rules/decide", ENDS)
    assert (count.mutants, count.tried, count.noticed, count.percent) == (5, 4, 2, 50.0)


@pytest.mark.parametrize(("noticed", "is_enough"), [(90, True), (89, False)])
def test_nine_of_ten_are_enough(noticed: int, is_enough: bool) -> None:
    assert Count("names", 300, 100, noticed).is_enough is is_enough


def test_the_table_ends_with_its_sum() -> None:
    counts = [Count("names", 20, 10, 9), Count("forecast", 5, 5, 5)]
    lines = mutation_table.rendered(counts, seed=7, day=date(2026, 1, 2)).splitlines()
    assert lines[0] == "Last run on 2026-01-02; where not all were tried, a sample by seed 7."
    assert lines[-3:] == [
        "| names | 20 | 10 | 9 | 1 | 90.0 |",
        "| forecast | 5 | 5 | 5 | 0 | 100.0 |",
        "|  | 25 | 15 | 14 | 1 | 93.3 |",
    ]


def test_a_table_can_be_read_again() -> None:
    counts = {one.module: one for one in (Count("a/names", 20, 10, 9), Count("b", 5, 5, 5))}
    table = mutation_table.rendered([*counts.values()], seed=7, day=date(2026, 1, 2))
    assert mutation_table.read(table) == counts


def test_the_docs_have_a_place_for_it() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    assert marked_text.read(marked_text.written(text, "mutants", "new"), "mutants") == "\nnew\n"


@pytest.mark.parametrize("part", run_mutants.PARTS, ids=lambda part: part.folder)
def test_all_that_is_mutated_or_left_out_is_there(part: run_mutants.Part) -> None:
    for module in part.modules:
        importlib.import_module(f"{part.package}.{module.replace('/', '.')}")
    assert all(callable(pkgutil.resolve_name(f"{part.package}.{name}")) for name in part.left_out)

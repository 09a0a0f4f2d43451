"""A short run of `make fuzz`: the description and the service say the same."""

from pathlib import Path

import marked_text
import run_fuzz
from fuzz_service import Seen

PAGE = Path(__file__).parents[3] / "docs/reliability.md"


def test_nothing_breaks_and_nobody_sees_what_is_anothers() -> None:
    code, seen = run_fuzz.fuzz(examples=1, seed=1, seconds=25)
    assert (seen.broken, seen.told) == ([], [])
    assert code == 0, "schemathesis says above what it found"
    assert seen.requests > 100


def test_the_page_has_a_place_for_the_table_and_what_broke_is_seen_in_it() -> None:
    seen = Seen(requests=6_000, broken=["500 GET /"])
    seen.asked.update(ann=3_000, bob=3_000)
    seen.others.update(ann=1_200)
    made = run_fuzz.table(0, seen, least=5_000)
    written = marked_text.written(PAGE.read_text(encoding="utf-8"), "fuzz", made)
    assert "| requests | 6,000 | ✓ |" in written
    assert "| answers with a 5xx | 1 | ✗ |" in written
    assert "| answers unlike their description | 0 | ✓ |" in written
    assert "| ann asked for a task of another by its name | 1,200 times | ✓ |" in written
    assert "| bob asked for a task of another by its name | 0 times | ✗ |" in written

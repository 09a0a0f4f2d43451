"""A short run of `make fuzz`: the description and the service say the same."""

import run_fuzz


def test_nothing_breaks_and_nobody_sees_what_is_anothers() -> None:
    code, seen = run_fuzz.fuzz(examples=1, seed=1, seconds=25)
    assert (seen.broken, seen.told) == ([], [])
    assert code == 0, "schemathesis says above what it found"
    assert seen.requests > 100

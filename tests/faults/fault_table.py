"""The table of docs/reliability.md, from what the runs wrote down."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fault_checker import Verdict

_HEAD = (
    "| | fault | tasks | ended as they must | lost | doubled | orphaned | goes on after, s |",
    "|--|--|--|--|--|--|--|--|",
)


def record(fault_id: str, what: str, verdict: Verdict, *, day: str) -> dict[str, Any]:
    """Return one fault's run as it is written down."""
    return {
        "id": fault_id,
        "what": what,
        "day": day,
        "tasks": verdict.tasks,
        "asExpected": verdict.as_expected,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "orphaned": verdict.orphaned,
        "recovery": [round(seconds, 1) for seconds in verdict.recovery],
        "findings": [str(finding) for finding in verdict.findings],
    }


def keep(file: Path, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write a run down in place of that fault's last one; return all, in their order."""
    known = {old["id"]: old for old in json.loads(file.read_text())} if file.is_file() else {}
    known[one["id"]] = dict(one)
    every = sorted(known.values(), key=lambda run: float(run["id"].lstrip("F")))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(every, indent=1) + "\n")
    return every


def rendered(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table, its sum, and each finding."""
    days = sorted({run["day"] for run in runs})
    since = f"{days[0]} to {days[-1]}" if len(days) > 1 else days[0]
    lines = [f"Run on {since}.", "", *_HEAD, *map(_row, runs), _sum(runs)]
    findings = [f"- {run['id']}: {one}" for run in runs for one in _told(run["findings"])]
    if findings:
        lines += ["", "What did not hold:", "", *findings]
    return "\n".join(lines)


def _row(run: Mapping[str, Any]) -> str:
    cells = (run["id"], run["what"], run["tasks"], run["asExpected"], *_bad(run), _recovery(run))
    return "| " + " | ".join(map(str, cells)) + " |"


def _sum(runs: Sequence[Mapping[str, Any]]) -> str:
    total = [sum(run[key] for run in runs) for key in ("tasks", "asExpected")]
    bad = [sum(column) for column in zip(*map(_bad, runs), strict=True)]
    cells = ("", f"{len(runs)} faults", *total, *bad, "")
    return "| " + " | ".join(map(str, cells)) + " |"


def _bad(run: Mapping[str, Any]) -> tuple[int, int, int]:
    return run["lost"], run["doubled"], run["orphaned"]


def _recovery(run: Mapping[str, Any]) -> str:
    seconds = sorted(run["recovery"])
    if not seconds:
        return "-"
    if len(seconds) == 1:
        return f"{seconds[0]:.1f}"
    return f"{statistics.median(seconds):.1f}, at most {seconds[-1]:.1f}"


def _told(findings: Sequence[str]) -> list[str]:
    """Return the first of them, and how many more there are."""
    more = [f"and {len(findings) - 3} more"] if len(findings) > 3 else []
    return [*findings[:3], *more]

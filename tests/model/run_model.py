"""Search the courses of one task, and of warm ones, further than each commit can; write it down.

    python tests/model/run_model.py [SEARCH …] [--write docs/reliability.md]

A search that finds a course which breaks what must hold, or ends badly, tells that course, and
fails. Of one that is cut off the table says how many states were reached and not looked at. The
rows of searches that were not made stay as they are.
"""

import argparse
import concurrent.futures
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import marked_text
import task_model
import warm_model
from model_support import Found

#: What is searched, in the order of the table. Those of one task are made to the end; the others
#: have no other bound than that of patience.
SEARCHES: Final = (
    task_model.Searched("one task, with any two faults", faults=2),
    task_model.Searched(
        "one task, with any two faults of crashes, lost answers, disruptions, deleted Jobs; 5 s",
        faults=2,
        seconds=5,
        without=(
            *("somebody makes it anew", "somebody deletes the pod"),
            *("the runner reports", "it hears of the task"),
        ),
    ),
    task_model.Searched("one task, with any two faults, 5 s of time", faults=2, seconds=5),
    task_model.Searched("one task, with any one fault, 15 s of time", faults=1, seconds=15),
    task_model.Searched("one task, cancelled at any time, with any one fault", 1, cancels=True),
    warm_model.Searched(
        "warm: one operator, with any one fault, things in between, and news of one kind only",
        *(1, 1, 1, 150_000),
        deaf=True,
    ),
    warm_model.Searched(
        "warm: one operator, cancelled at any time, programs that fail, 10 s of time",
        *(1, 1, 0, 150_000),
        cancels=True,
        seconds=10,
        fails=True,
    ),
    warm_model.Searched("warm: two steps, with any one fault", *(1, 1, 1, 150_000), is_chain=True),
    warm_model.Searched(
        "warm: two operators, cancelled at any time", *(2, 1, 0, 150_000), cancels=True
    ),
    warm_model.Searched(
        "warm: two operators, with any one fault, one pass after the other",
        *(2, 1, 1, 150_000),
        interleaved=False,
    ),
    warm_model.Searched(
        "warm: two operators and two tasks", *(2, 2, 0, 150_000), interleaved=False
    ),
)
HEAD: Final = (
    "| what | states | of them not looked at | steps | CPU, min | run on |",
    "|--|--|--|--|--|--|",
)


def run(one: task_model.Searched | warm_model.Searched) -> Found:
    """Search, and tell what was found."""
    logging.disable()
    return one.run()


def row(one: Found) -> str:
    """Return the row of a search."""
    return (
        f"| {one.name} | {one.states:,} | {one.left:,} | {one.steps:,} "
        f"| {one.seconds / 60:.1f} | {datetime.now(UTC).date()} |"
    )


def rows_in(table: str) -> dict[str, str]:
    """Return the rows of a table, by what was searched."""
    rows = [line for line in table.splitlines() if line.startswith("|") and line not in HEAD]
    return {line.split("|")[1].strip(): line for line in rows}


def rendered(rows: Mapping[str, str]) -> str:
    """Return the table, of the searches that there are."""
    return "\n".join([*HEAD, *(rows[one.name] for one in SEARCHES if one.name in rows)])


def main(words: Sequence[str] | None = None) -> int:
    """Make the searches that are named by their numbers, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", nargs="*", type=int, metavar="SEARCH", help="1, 2, …")
    parser.add_argument("--children", type=int, default=2, help="how many run at a time")
    parser.add_argument("--most", type=int, help="so many states of warm tasks, in place of all")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the rows into its table")
    arguments = parser.parse_args(words)
    numbers = arguments.searches or range(1, len(SEARCHES) + 1)
    searches = [SEARCHES[number - 1] for number in numbers]
    if arguments.most:
        searches = [
            one._replace(most=arguments.most) if isinstance(one, warm_model.Searched) else one
            for one in searches
        ]
    rows: dict[str, str] = {}
    with concurrent.futures.ProcessPoolExecutor(arguments.children) as children:
        waited = [children.submit(run, one) for one in searches]
        for done in concurrent.futures.as_completed(waited):
            found = done.result()
            rows[found.name] = row(found)
            print(rows[found.name], flush=True)
            if arguments.write:
                write(arguments.write, rows)
    return 0


def write(file: Path, rows: Mapping[str, str]) -> None:
    """Write these rows into the table; the others stay."""
    text = file.read_text(encoding="utf-8")
    table = rendered(rows_in(marked_text.read(text, "model")) | rows)
    file.write_text(marked_text.written(text, "model", table), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Search the courses of warm tasks further than each commit can, and write down how far.

    python tests/model/run_model.py [SEARCH …] [--write docs/reliability.md]

A search that finds a course which breaks what must hold, or ends badly, tells that course, and
fails. Of one that is cut off the table says how many states were reached and not looked at.
"""

import argparse
import concurrent.futures
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import marked_text
from warm_model import Found, Searched

#: What is searched, in the order of the table. None has another bound than that of patience.
SEARCHES: Final = {
    one.name: one
    for one in (
        Searched(
            "one operator, with any one fault, things in between, and news of one kind only",
            *(1, 1, 1, 150_000),
            deaf=True,
        ),
        Searched(
            "one operator, cancelled at any time, programs that fail, 10 s of time",
            *(1, 1, 0, 150_000),
            cancels=True,
            seconds=10,
            fails=True,
        ),
        Searched("two steps, with any one fault", *(1, 1, 1, 150_000), is_chain=True),
        Searched("two operators, cancelled at any time", *(2, 1, 0, 150_000), cancels=True),
        Searched(
            "two operators, with any one fault, one pass after the other",
            *(2, 1, 1, 150_000),
            interleaved=False,
        ),
        Searched("two operators and two tasks", *(2, 2, 0, 150_000), interleaved=False),
    )
}


def run(one: Searched) -> Found:
    """Search, and tell what was found."""
    logging.disable()
    begun = time.process_time()
    search = one.begin()
    search.explore(one.most)
    states, left = len(search.nodes), search.left
    search.finish()
    return Found(one.name, states, left, search.steps, time.process_time() - begun)


def rendered(found: Iterable[Found]) -> str:
    """Return the table."""
    day = datetime.now(UTC).date()
    return "\n".join(
        [
            f"Run on {day}; each state was followed to its calm end.",
            "",
            "| of warm tasks: what | states | of them not looked at | steps | CPU, min |",
            "|--|--|--|--|--|",
            *(
                f"| {one.name} | {one.states:,} | {one.left:,} | {one.steps:,} "
                f"| {one.seconds / 60:.1f} |"
                for one in found
            ),
        ]
    )


def main(words: Sequence[str] | None = None) -> int:
    """Make the searches that are named by their numbers, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", nargs="*", type=int, metavar="SEARCH", help="1, 2, …")
    parser.add_argument("--children", type=int, default=2, help="how many run at a time")
    parser.add_argument("--most", type=int, help="so many states, in place of each one's bound")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table")
    arguments = parser.parse_args(words)
    searches = list(SEARCHES.values())
    if arguments.searches:
        searches = [searches[number - 1] for number in arguments.searches]
    if arguments.most:
        searches = [one._replace(most=arguments.most) for one in searches]
    with concurrent.futures.ProcessPoolExecutor(arguments.children) as children:
        waited = [children.submit(run, one) for one in searches]
        for done in concurrent.futures.as_completed(waited):
            print(done.result(), flush=True)
    table = rendered(one.result() for one in waited)
    print(table)
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(marked_text.written(text, "model", table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How many writes one task costs the API server, by its audit log, beside a raw Job.

    . .localcluster/env; python bench/writes.py [--tasks 20]

A write is a successful create, update, patch or delete. Counted are those of the objects of the
measured tasks alone, so that an idle cluster's own writes play no part.
"""

import argparse
import collections
import os
import time
from pathlib import Path
from typing import Any

import kubernetes
import latency

from longtask_localcluster import audit


def counted(log: Path, offset: int, prefixes: list[str]) -> collections.Counter[str]:
    """Return the writes by agent, verb and resource of the objects with these names."""
    found: collections.Counter[str] = collections.Counter()
    for request in audit.requests(log, offset=offset):
        if request.is_write and request.name.startswith(tuple(prefixes)):
            found[f"{request.agent:<26} {request.verb:<7} {request.resource}"] += 1
    return found


def main() -> None:
    """Run tasks and raw Jobs, then print what each of them cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20)
    count = parser.parse_args().tasks
    kubernetes.config.load_kube_config()
    log = Path(os.environ["LONGTASK_AUDIT_LOG"])
    tasks = latency.installed()
    totals = {}
    same = {"container": {"image": latency.IMAGE, "command": ["true"]}}
    longer = {"container": {"image": latency.IMAGE, "command": ["sleep", "3"]}}
    runs: list[tuple[str, Any]] = [
        ("raw Job", lambda _: latency.raw_job()),
        ("task that ends at once", lambda n: tasks.run("t", {**same, "name": n})),
        ("task of three seconds", lambda n: tasks.run("t", {**longer, "name": n})),
    ]
    for title, run in runs:
        offset, stamp = log.stat().st_size, f"{time.time_ns():x}"
        names = [f"w{stamp}-{number}" for number in range(count)]
        for name in names:
            run(name)
        time.sleep(3)  # the last writes and the log's own buffer
        prefixes = ["raw-"] if title == "raw Job" else names
        found = counted(log, offset, prefixes)
        totals[title] = sum(found.values()) / count
        print(f"\n{title}: {totals[title]:.2f} writes each, over {count}")
        for line, times in sorted(found.items(), key=lambda item: -item[1]):
            print(f"  {times / count:5.2f}  {line}")
    raw = totals.pop("raw Job")
    print()
    for title, total in totals.items():
        print(f"{title}: raw Job {total - raw:+.2f}")


if __name__ == "__main__":
    main()

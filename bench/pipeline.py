"""What a step of a pipeline costs beside a plain task: seconds, and writes of ours.

    . .localcluster/env; python bench/pipeline.py [--steps 50] [--rounds 2] [--json FILE]

Each round runs half of the plain tasks, then a chain of as many steps of the same container, each
after the one before, then the other half, so that a slow minute hits both. Both are timed from
submit to callback, and the chain's time is divided by its steps. Plain tasks follow each other as
the steps do, without a pause: a pod that starts at another moment of the kubelet's second would be
another measurement. Writes are those of our own accounts, by the API server's audit log, to objects
whose names begin with the task's.
"""

import argparse
import collections
import os
import statistics
import time
from pathlib import Path
from typing import Any

import latency
import waiting

from longtask_localcluster import audit

#: Our own accounts, by the namespace that they are in.
OURS = "system:serviceaccount:longtask:"
WORK: dict[str, Any] = {"container": {"image": latency.IMAGE, "command": ["true"]}}


def writes_of_ours(log: Path, offset: int, prefix: str) -> collections.Counter[str]:
    """Return what our accounts wrote of tasks and what belongs to them, by verb and resource."""
    return collections.Counter(
        f"{request.verb:<7} {request.resource}"
        for request in audit.requests(log, offset=offset)
        if request.is_write and request.user.startswith(OURS) and request.name.startswith(prefix)
    )


def seconds(tasks: latency.Tasks, name: str, order: dict[str, Any], programs: int = 1) -> float:
    """Run a task; return its time from submit to callback."""
    took = tasks.run("task", {**order, "name": name}, within=60 + 10 * programs)
    return took["task, submit -> callback"]


def main() -> None:
    """Measure, print what each costs and the ratios, and keep the figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    count, log = arguments.steps, Path(os.environ["LONGTASK_AUDIT_LOG"])
    tasks, offset, stamp = latency.installed(), log.stat().st_size, f"{time.time_ns():x}"
    chain = {"steps": [{"name": f"s{number}", **WORK} for number in range(count)]}
    plain: list[float] = []
    steps: list[float] = []
    seconds(tasks, f"warm-{stamp}", WORK)
    for turn in range(arguments.rounds):
        for number in range(count):
            if number == count // 2:
                steps.append(seconds(tasks, f"chain-{stamp}-{turn}", chain, count) / count)
            plain.append(seconds(tasks, f"plain-{stamp}-{turn}-{number}", WORK))
    time.sleep(3)  # the last writes and the log's own buffer
    programs = arguments.rounds * count
    written = {kind: writes_of_ours(log, offset, f"{kind}-{stamp}-") for kind in ("plain", "chain")}
    for kind, found in written.items():
        print(f"{kind}: our writes for each program, over {programs}")
        for line, times in found.most_common():
            print(f"  {times / programs:5.2f}  {line}")
    mean, middle, step = statistics.mean(plain), statistics.median(plain), statistics.mean(steps)
    waiting.show(
        {
            "plain task, submit -> callback, p50": middle,
            "plain task, submit -> callback, mean": mean,
            f"step of a chain of {count}, submit -> callback / {count}": step,
            "step / plain task, by the mean": step / mean,
            "step / plain task, by the p50": step / middle,
            "writes of ours, a plain task": written["plain"].total() / programs,
            "writes of ours, a step": written["chain"].total() / programs,
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()

"""Break what an operator stands on, one fault after the other, with twenty tasks each.

    . .localcluster/env
    PYTHONPATH=tests/support python tests/faults/run_faults.py [F5 …] [--write docs/reliability.md]

With `--nodes` those of a cluster with several nodes, which are named F13.1 and so on.

The installed operator rests meanwhile: one of this checkout takes its place, outside of the
cluster, behind a proxy. API server, Jobs, kubelet and pods are real. What came out is kept in
`.faults`, each fault's last run; the table is made of all of them.
"""

import argparse
import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx

import fault_checker
import fault_nodes
import fault_stage
import fault_table
import marked_text
from e2e_support import Kubectl, Product, client_of, eventually
from fault_cases import FAULTS, Ends, Fault
from fault_checker import Evidence, Expected, Finding, Verdict
from fault_proxy import Proxy, Upstream
from fault_stage import Operators, Stage
from fault_witness import Witness
from longtask_crds import names, v1alpha1
from longtask_localcluster import audit

_KEPT = Path(__file__).resolve().parents[2] / ".faults"
_SETTLED = frozenset({"Delivered", "Exhausted"})
#: Nothing is written any more once nothing was written for so long.
_CALM_SECONDS = 3.0


def run(fault: Fault, stage: Stage, folder: Path) -> Verdict:
    """Let a fault happen, wait for the end of its tasks, and judge."""
    log = Path(stage.product.audit_log)
    offset, began = log.stat().st_size, len(stage.proxy.history)
    problems: list[Finding] = []
    ends: Ends = {}
    with stage.watched:
        try:
            ends = fault.act(stage)
            stage.wait_for(lambda task: task.is_finished, within=fault.within)
            stage.wait_for(_is_settled, within=fault.within)
            _wait_until_calm(stage)
        except Exception as error:  # one fault's end is not the others'
            problems.append(Finding("run", fault.id, f"{type(error).__name__}: {error}"[:300]))
        final = {task.metadata.name: task for task in stage.tasks()}
        stage.pause(1)  # the watch has told the last change
    calls = stage.proxy.history[began:]
    left = _clean(stage)
    made = fault_checker.counted(
        request.name
        for request in audit.requests(log, offset=offset)
        if (request.verb, request.resource) == ("create", "jobs")
        and request.name.startswith(stage.stamp)
    )
    default = ends if isinstance(ends, Expected) else Expected()
    special = {} if isinstance(ends, Expected) else ends
    evidence = Evidence(
        acknowledged=stage.acknowledged,
        deleted=frozenset(stage.deleted),
        final=final,
        expected={name: special.get(name, default) for name in final},
        history=stage.watched.history(),
        starts={key: frozenset(pods) for key, pods in stage.witness.starts().items()},
        webhook_ids={name: frozenset(ids) for name, ids in stage.witness.webhook_ids().items()},
        jobs_made=made,
        left=left,
        calls=calls,
        marks=stage.marks,
        faults=sum(bool(call.fault) for call in calls) + len(stage.marks),
        max_running=fault_stage.MAX_RUNNING,
        may_go_back=stage.may_go_back,
    )
    judged = fault_checker.verdict(evidence)
    _keep_calls(folder / "calls.jsonl", stage)
    said = (Finding("run", fault.id, problem) for problem in stage.problems)
    return dataclasses.replace(
        judged,
        tasks=judged.tasks + len(stage.refused),
        as_expected=judged.as_expected + len(stage.refused),
        recovery=(*judged.recovery, *stage.measured),
        findings=(*problems, *said, *judged.findings),
    )


def _is_settled(task: v1alpha1.LongTask) -> bool:
    callback = task.status.callback
    return task.spec.callback is None or (callback is not None and callback.state in _SETTLED)


def _wait_until_calm(stage: Stage) -> None:
    """Wait until nothing is written any more, but for leases; fail if that takes too long."""

    def last_write() -> float:
        writes = [
            entry.at
            for entry in stage.proxy.history
            if entry.call.is_write and entry.call.name.startswith(stage.stamp)
        ]
        return time.time() - writes[-1] if writes else _CALM_SECONDS

    eventually(last_write, lambda ago: ago >= _CALM_SECONDS, within=30)


def _clean(stage: Stage) -> list[str]:
    """Delete the tasks; return the Jobs and pods that outlive them."""
    stage.kubectl("delete", "lt", "-l", stage.selector, "--wait=false")
    every = f"{names.TASK_LABEL} in ({','.join(stage.acknowledged or ['none'])})"

    def left() -> list[str]:
        return stage.kubectl("get", "jobs,pods", "-l", every, "-o", "name").split()

    try:
        return eventually(left, lambda found: not found, within=90)
    except AssertionError:
        return left()


def _keep_calls(file: Path, stage: Stage) -> None:
    with file.open("w") as lines:
        for entry in stage.proxy.history:
            lines.write(f"{dataclasses.asdict(entry)}\n")


@contextlib.contextmanager
def staged() -> Iterator[tuple[Product, Witness, Proxy, Operators, httpx.Client]]:
    """Put an operator of this checkout behind a proxy in place of the installed one."""
    product, kubectl = Product.from_environ(os.environ), Kubectl()
    _KEPT.mkdir(exist_ok=True)
    upstream = Upstream.of_kubeconfig(Path(os.environ["KUBECONFIG"]))
    with (
        Witness(product.host_address) as witness,
        Proxy(upstream, _KEPT) as proxy,
        client_of(product, product.token) as rest,
        fault_stage.queue_made(kubectl, product.host_address),
        fault_stage.installed_operator_away(kubectl) as deployment,
    ):
        fault_stage.write_kubeconfig(_KEPT / "kubeconfig", proxy, kubectl)
        environment = fault_stage.environment_of(deployment, _KEPT / "kubeconfig")
        operators = Operators(environment, _KEPT)
        operators[0].start()
        try:
            operators[0].ready()
            yield product, witness, proxy, operators, rest
        finally:
            operators.stop()


def _told(fault: Fault, verdict: Verdict, seconds: float) -> str:
    bad = f"lost {verdict.lost}, doubled {verdict.doubled}, orphaned {verdict.orphaned}"
    ended = f"{verdict.as_expected} of {verdict.tasks} ended as they must"
    lines = [f"{fault.id:<4} {fault.what}: {ended}; {bad} ({seconds:.0f} s)"]
    return "\n".join([*lines, *(f"     {finding}" for finding in verdict.findings[:8])])


def main(words: Sequence[str] | None = None) -> int:
    """Run the faults that are named, or all; tell whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="F1 to F32; all by default")
    parser.add_argument("--nodes", action="store_true", help="those of `make up NODES=3`")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table into it")
    arguments = parser.parse_args(words)
    faults, mark, kept = FAULTS, "faults", "runs.json"
    if arguments.nodes:
        faults, mark, kept = fault_nodes.FAULTS, "node-faults", "node-runs.json"
    known = {fault.id: fault for fault in faults}
    unknown = set(arguments.faults) - set(known)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}")
    # What breaks a connection on purpose is no news.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    held = True
    runs: list[dict[str, object]] = []
    with staged() as (product, witness, proxy, operators, rest):
        for fault in [known[name] for name in arguments.faults] or faults:
            folder = _KEPT / fault.id
            folder.mkdir(exist_ok=True)
            (folder / "watched.json").unlink(missing_ok=True)
            stage = Stage(
                fault.id,
                product=product,
                witness=witness,
                proxy=proxy,
                operators=operators,
                rest=rest,
                folder=folder,
            )
            operators[0].ready()
            began = time.monotonic()
            verdict = run(fault, stage, folder)
            print(_told(fault, verdict, time.monotonic() - began), flush=True)
            day = datetime.now(UTC).date().isoformat()
            one = fault_table.record(fault.id, fault.what, verdict, day=day)
            runs = fault_table.keep(_KEPT / kept, one)
            held = held and not verdict.findings
    table = fault_table.rendered(runs)
    print(f"\n{table}")
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(marked_text.written(text, mark, table), encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

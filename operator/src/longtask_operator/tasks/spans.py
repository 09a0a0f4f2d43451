"""The spans that a write records: an attempt from its place to its end, and each try to call back.

Only of tasks that belong to a trace. Their times are those of the status, so that nothing has to be
remembered, and a restart costs none.
"""

from collections.abc import Iterator
from datetime import timedelta

from longtask_adapters.kube.cache import key_of
from longtask_adapters.tracing import Span, Value
from longtask_crds import runner_contract, traces, v1alpha1
from longtask_crds.pipeline import runs


def of(before: v1alpha1.LongTask, after: v1alpha1.LongTask) -> Iterator[Span]:
    """Yield the spans of what is over since."""
    parent = traces.of(after)
    if parent is None:
        return
    common: dict[str, Value] = {
        "longtask.task": str(key_of(after)),
        "longtask.uid": after.metadata.uid,
    }
    known = {run.name: run.last for run in runs.of(before)}
    for run in runs.of(after):
        last, old = run.last, known.get(run.name)
        if old is not None and old.number != last.number:
            old = None
        # Of an item that is over, its status keeps less.
        claimed_at = last.claimed_at or (old.claimed_at if old else None) or last.started_at
        if last.finished_at and claimed_at and not (old and old.finished_at):
            told: dict[str, Value] = {
                "longtask.attempt": last.number,
                "longtask.step": run.name,
                "longtask.reason": last.reason or "",
            }
            is_good = last.exit_code is not None and (
                runner_contract.classify_exit(last.exit_code) is runner_contract.ExitMeaning.SUCCESS
            )
            yield Span(
                "attempt", parent, claimed_at, last.finished_at, common | told, failed=not is_good
            )
    entry, sent = after.status.callback, before.status.callback
    if entry is not None and entry.deliveries and (sent is None or sent.tries < entry.tries):
        made = entry.deliveries[-1]
        told = {
            "longtask.event": str(entry.event),
            "longtask.webhook_id": entry.id,
            "http.response.status_code": made.code or 0,
        }
        yield Span(
            "callback",
            parent,
            made.at,
            made.at + timedelta(seconds=made.seconds),
            common | told,
            failed=made.code is None or made.code >= 300,
        )

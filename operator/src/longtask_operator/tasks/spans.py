"""The spans that a write records: an attempt from its place to its end, and each try to call back.

Only of tasks that belong to a trace. Their times are those of the status, so that nothing has to be
remembered, and a restart costs none.
"""

from collections.abc import Iterator
from datetime import timedelta

from longtask_adapters.kube.cache import key_of
from longtask_adapters.tracing import Span, Value
from longtask_crds import runner_contract, traces
from longtask_operator.tasks import news


def of(found: news.News) -> Iterator[Span]:
    """Yield the spans of what is over since."""
    task = found.after
    parent = traces.of(task)
    if parent is None:
        return
    common: dict[str, Value] = {
        "longtask.task": str(key_of(task)),
        "longtask.uid": task.metadata.uid,
    }
    for one in found.attempts:
        attempt = one.attempt
        began = one.claimed_at or attempt.started_at
        if one.is_ended and attempt.finished_at and began:
            about: dict[str, Value] = {
                "longtask.attempt": attempt.number,
                "longtask.step": one.run,
                "longtask.reason": attempt.reason or "",
            }
            is_good = attempt.exit_code is not None and (
                runner_contract.classify_exit(attempt.exit_code)
                is runner_contract.ExitMeaning.SUCCESS
            )
            yield Span(
                "attempt", parent, began, attempt.finished_at, common | about, failed=not is_good
            )
    entry = found.tried
    if entry is not None and entry.deliveries:
        made = entry.deliveries[-1]
        about = {
            "longtask.event": str(entry.event),
            "longtask.webhook_id": entry.id,
            "http.response.status_code": made.code or 0,
        }
        yield Span(
            "callback",
            parent,
            made.at,
            made.at + timedelta(seconds=made.seconds),
            common | about,
            failed=made.code is None or made.code >= 300,
        )

"""What one task costs the API server, by the API server's own audit log."""

import collections
from pathlib import Path

import httpx

from e2e_support import BASE_IMAGE, Product, Receiver, eventually, finished, submit
from longtask_localcluster import audit


def test_a_task_costs_no_more_requests_than_planned(
    rest: httpx.Client, product: Product, receiver: Receiver, name: str
) -> None:
    log = Path(product.audit_log)
    offset = log.stat().st_size
    submit(
        rest,
        name=name,
        container={"image": BASE_IMAGE, "command": ["sleep", "4"]},
        callback={"url": receiver.url()},
    )
    finished(rest, name)
    receiver.wait_for(name)

    def ours() -> collections.Counter[tuple[str, str, str]]:
        found = audit.requests(log, offset=offset)
        return collections.Counter(
            (request.agent, request.verb, request.resource)
            for request in found
            if request.name.startswith(name) and request.agent.startswith("longtask-")
        )

    # The release of the Job comes last; it belongs to the Job's removal.
    release = ("longtask-operator", "patch", "jobs")
    assert dict(eventually(ours, lambda seen: seen[release] == 1, within=20)) == {
        ("longtask-api", "create", "longtasks"): 1,
        ("longtask-api", "get", "pods/log"): 1,  # its end, to be kept
        ("longtask-operator", "get", "longtasks"): 1,  # live, before the claim
        # Claim, running, outcome, callback delivered.
        ("longtask-operator", "patch", "longtasks/status"): 4,
        ("longtask-operator", "create", "jobs"): 1,
        release: 1,
    }

"""What kopf watches, all but tasks: each handler takes the object into the mirror.

An exception in an `on.event` handler is ignored by kopf, and what it returns is stored in the
resource: so a handler only remembers, queues the name of a pod's task, and returns None. Together
with `__main__` this is all that knows kopf.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import kopf
from kopf._core.reactor import inventory  # its parameter's type has no public name

from longtask_adapters.kube import cache, informer, kinds
from longtask_crds import names
from longtask_crds.names import ObjectKey
from longtask_operator import mirror, resync
from longtask_operator.rules import pods
from longtask_operator.warm import pool

registry = kopf.OperatorRegistry()
_ours = (names.GROUP, names.VERSION)


class Memo(kopf.Memo):
    """What the handlers share: `start` fills in the rest."""

    start: Callable[["Memo"], contextlib.AbstractAsyncContextManager[None]]
    running: contextlib.AsyncExitStack
    mirror: mirror.Mirror
    hearing: resync.Hearing
    ahead: pool.Pool
    add: Callable[[ObjectKey], None]


class NoMemories(inventory.ResourceMemories):
    """Keeps nothing of an object between two of its events.

    kopf would keep some 5 KB of each as long as it is there, for handlers of kinds that we have
    none of.
    """

    async def recall(self, raw_body: Any, **given: Any) -> inventory.ResourceMemory:
        """Return what a first event of an object gets."""
        return await super().recall(raw_body, **{**given, "ephemeral": True})


class NoDiffs(kopf.DiffBaseStorage):
    """Compares no object with what it was: kopf would copy each one, deep, for each event."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, *, body: kopf.Body) -> Any:
        """Return that nothing is known of before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        """Store nothing."""


class CappedJitter:
    """Endless pauses between tries of a watch, growing to a cap. A list would run out."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most

    def __iter__(self) -> Iterator[float]:
        """Yield the pauses anew, from the shortest."""
        pause = self._first
        while True:
            yield random.uniform(pause / 2, pause)
            pause = min(self._most, pause * 2)


@kopf.on.startup(registry=registry)
async def configure(settings: kopf.OperatorSettings, memo: Memo, **_: Any) -> None:
    """Make kopf a watch engine and no more, then start our own parts."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.queueing.idle_timeout = 0.5
    settings.watching.label_selectors["", "v1", "pods"] = names.TASK_LABEL
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 100
    settings.networking.error_backoffs = CappedJitter(1, 15)
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.enforce_retry_after = True
    settings.process.ultimate_exiting_timeout = 25
    memo.running = contextlib.AsyncExitStack()
    await memo.running.enter_async_context(memo.start(memo))


@kopf.on.cleanup(registry=registry)
async def clean_up(memo: Memo, **_: Any) -> None:
    """Finish what is being worked on."""
    await memo.running.aclose()


@kopf.on.login(registry=registry)
def login(**kwargs: Any) -> Any:
    """Log in as the pod's service account, or as the kubeconfig says."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


@kopf.on.event("", "v1", "pods", registry=registry)
async def on_pod(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a pod of an attempt over."""
    raw: kinds.Raw = dict(event["object"])
    pod = pods.Pod.parse(raw, seen_at=datetime.now(UTC))
    deleted = event["type"] == "DELETED"
    if not deleted:
        memo.hearing.heard(pod.uid, pod.version)
    if pod.is_nobodys:
        if deleted:
            memo.ahead.drop_pod(pod)
        else:
            memo.ahead.put_pod(pod)
        return
    memo.ahead.was_taken(pod)
    if deleted and not pod.is_over:
        memo.mirror.drop_pod(pod.task, pod.uid)
    else:
        # Its last words may come with its deletion only; the next resync forgets it.
        memo.mirror.put_pod(pod)
    memo.add(pod.task)


@kopf.on.event(*_ours, names.LONGTASKQUEUES, registry=registry)
async def on_queue(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a queue over; the mirror tells who may start by it."""
    _take_over(event["type"], dict(event["object"]), kinds.QUEUES, memo.mirror.queues)


@kopf.on.event(*_ours, names.LONGTASKTYPES, registry=registry)
async def on_type(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a type over; the mirror tells who waits elsewhere by it."""
    _take_over(event["type"], dict(event["object"]), kinds.TYPES, memo.mirror.types)


def _take_over(
    what: str | None, raw: kinds.Raw, kind: kinds.Kind[kinds.R], into: cache.Cache[kinds.R]
) -> None:
    """Bring a cache up to an event."""
    if what == "DELETED":
        into.remove(kinds.key_of(raw), raw["metadata"]["uid"])
    else:
        informer.take(kind, raw, into)

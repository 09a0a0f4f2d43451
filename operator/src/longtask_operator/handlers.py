"""What kopf watches, queues and types: each handler takes the object into the mirror.

An exception in an `on.event` handler is ignored by kopf, and what it returns is stored in the
resource: so a handler only remembers, and returns None. Together with `__main__` this is all that
knows kopf.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from longtask_adapters.kube import cache, informer, kinds
from longtask_crds import names
from longtask_operator import mirror

registry = kopf.OperatorRegistry()
_ours = (names.GROUP, names.VERSION)


class Memo(kopf.Memo):
    """What the handlers share: `start` fills in the rest."""

    start: Callable[["Memo"], contextlib.AbstractAsyncContextManager[None]]
    running: contextlib.AsyncExitStack
    mirror: mirror.Mirror


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

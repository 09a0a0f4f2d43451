"""What kopf watches: each handler takes the object into the mirror and queues a task's name.

An exception in an `on.event` handler is ignored by kopf, and what it returns is stored in the
resource: so a handler only remembers, enqueues and returns None. Together with `__main__` this is
all that knows kopf.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import kopf

from longtask_crds import names, v1alpha1
from longtask_operator import mirror, pods

registry = kopf.OperatorRegistry()
_ours = (names.GROUP, names.VERSION)


class Memo(kopf.Memo):
    """What the handlers share: set by `__main__` at the start."""

    mirror: mirror.Mirror
    add: Callable[[str], None]
    start: Callable[[], Any]
    stop: Callable[[], Any]


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
    settings.queueing.idle_timeout = 0.5
    settings.watching.label_selectors["", "v1", "pods"] = names.TASK_LABEL
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 500
    settings.networking.error_backoffs = CappedJitter(1, 15)
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.enforce_retry_after = True
    settings.process.ultimate_exiting_timeout = 25
    await memo.start()


@kopf.on.cleanup(registry=registry)
async def clean_up(memo: Memo, **_: Any) -> None:
    """Finish what is being worked on."""
    await memo.stop()


@kopf.on.login(registry=registry)
def login(**kwargs: Any) -> Any:
    """Log in as the pod's service account, or as the kubeconfig says."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


@kopf.on.event(*_ours, names.LONGTASKS, registry=registry)
async def on_task(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a task over."""
    raw: dict[str, Any] = dict(event["object"])
    meta = raw["metadata"]
    if event["type"] == "DELETED":
        gone = memo.mirror.tasks.get(meta["name"])
        memo.mirror.drop_task(meta["name"], meta["uid"])
        if gone is not None:
            _wake_queue_of(gone, memo)
        return
    memo.mirror.watched[meta["uid"]] = int(meta["resourceVersion"])
    task = mirror.parse(v1alpha1.LongTask, raw)
    if task is not None and memo.mirror.put_task(task):
        memo.add(task.metadata.name)


@kopf.on.event("", "v1", "pods", registry=registry)
async def on_pod(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a pod of an attempt over."""
    raw: dict[str, Any] = dict(event["object"])
    pod = pods.Pod.parse(raw, seen_at=datetime.now(UTC))
    deleted = event["type"] == "DELETED"
    if not deleted:
        memo.mirror.watched[pod.uid] = pod.version
    if deleted and not pod.is_over:
        memo.mirror.drop_pod(pod.task, pod.uid)
    else:
        # Its last words may come with its deletion only; the next resync forgets it.
        memo.mirror.put_pod(pod)
    memo.add(pod.task)


@kopf.on.event(*_ours, names.LONGTASKQUEUES, registry=registry)
async def on_queue(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a queue over; its tasks may start, or learn why they may not."""
    _remember(event, v1alpha1.LongTaskQueue, memo.mirror.queues)
    _wake_waiting(memo)


@kopf.on.event(*_ours, names.LONGTASKTYPES, registry=registry)
async def on_type(event: kopf.RawEvent, memo: Memo, **_: Any) -> None:
    """Take a type over; tasks that wait may get another queue or another priority by it."""
    _remember(event, v1alpha1.LongTaskType, memo.mirror.types)
    _wake_waiting(memo)


def _remember(event: kopf.RawEvent, kind: type[mirror.Kind], into: dict[str, mirror.Kind]) -> None:
    raw: dict[str, Any] = dict(event["object"])
    name = raw["metadata"]["name"]
    resource = None if event["type"] == "DELETED" else mirror.parse(kind, raw)
    if resource is None:
        into.pop(name, None)
    else:
        into[name] = resource


def _wake_waiting(memo: Memo) -> None:
    for name in memo.mirror.unfinished:
        if not memo.mirror.tasks[name].status.attempts:
            memo.add(name)


def _wake_queue_of(task: v1alpha1.LongTask, memo: Memo) -> None:
    if task.status.queue:
        for name in memo.mirror.may_start(task.status.queue):
            memo.add(name)

"""Watches the pods of tasks; what it brings goes into the mirror, or to the pods that wait."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from longtask_adapters.kube import kinds, listing, watching
from longtask_adapters.kube.connection import Connection, Event, EventType
from longtask_crds import names
from longtask_crds.names import ObjectKey
from longtask_operator import mirror
from longtask_operator.rules import pods
from longtask_operator.warm import pool

LABELLED: Final = {"labelSelector": names.TASK_LABEL}


class PodWatch(watching.Watch):
    """Takes pods over, and queues their tasks.

    Args:
        connection: To the API server.
        namespace: Where tasks run.
        seen: Takes the pods of tasks.
        ahead: Takes those that wait for one.
        heard: Is told uid and version of what the watch brought, or the list it goes on from.
        add: Is told which tasks are to be looked at.
        clock: Tells the time.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        seen: mirror.Mirror,
        ahead: pool.Pool,
        *,
        heard: Callable[[str, int], None],
        add: Callable[[ObjectKey], None],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(connection, kinds.PODS.collection(namespace), query=LABELLED)
        self._mirror = seen
        self._ahead = ahead
        self._heard = heard
        self._add = add
        self._now = clock

    async def list(self) -> tuple[int, list[pods.Pod]]:
        """Return the version of a list of all pods, and the pods; the watch goes on from the first.

        Raises:
            ClusterError: The list was not complete.
        """
        version, found = await listing.listed(
            self._connection, self._path, LABELLED, pods.Pod.parse
        )
        if not self.synced.is_set():
            self._go_on_from(version)
            for pod in found:
                self._heard(pod.uid, pod.version)
        return version, found

    async def _list(self) -> int:
        """Take over what came while the place was lost; what went, the next resync finds."""
        version, found = await listing.listed(self._connection, self._path, LABELLED, self._parse)
        self._go_on_from(version)
        for pod in found:
            self._take_over(pod, is_gone=False)
        return version

    def _take(self, event: Event) -> None:
        if event.type is not EventType.BOOKMARK:
            self._take_over(self._parse(event.object), is_gone=event.type is EventType.DELETED)

    def _parse(self, raw: kinds.Raw) -> pods.Pod:
        return pods.Pod.parse(raw, seen_at=self._now())

    def _take_over(self, pod: pods.Pod, *, is_gone: bool) -> None:
        if not is_gone:
            self._heard(pod.uid, pod.version)
        if pod.is_nobodys:
            if is_gone:
                self._ahead.drop_pod(pod)
            else:
                self._ahead.put_pod(pod)
            return
        is_news = self._ahead.was_taken(pod)
        if is_gone and not pod.is_over:
            self._mirror.drop_pod(pod.task, pod.uid)
            self._add(pod.task)
        # Its last words may come with its deletion only; the next resync forgets it.
        elif self._mirror.put_pod(pod) or is_news:
            self._add(pod.task)

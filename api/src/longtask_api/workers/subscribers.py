"""Who among the subscriptions wants to hear of an event, and what they are told of it.

They are kept in memory, for it is asked at each change of each task. What is made here is known
here at once; what is made at another replica, after some seconds: that one notes for it until then.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final

from longtask_api import errors
from longtask_api.stores.blobs import Blobs, Kind
from longtask_api.stores.ledger import Channel, Notice
from longtask_api.stores.subscriptions import Subscription, Subscriptions
from longtask_api.workers.under_way import UnderWay
from longtask_crds import effective, events, names, v1alpha1

_logger = logging.getLogger(__name__)

_FRESH_SECONDS: Final = 5.0


class Subscribers:
    """The audience of the teller that is told at URLs."""

    def __init__(
        self,
        store: Subscriptions,
        blobs: Blobs,
        *,
        public_url: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Ask the store; nobody is known yet.

        Args:
            store: Who wants to hear.
            blobs: Where results are that are not in the resource.
            public_url: Where users reach the API, for links to what is too large to be sent.
            sleep: Takes the place of `asyncio.sleep`, in tests.
        """
        self._store = store
        self._blobs = blobs
        self._public_url = public_url
        self._sleep = sleep
        self._under_way = UnderWay()
        self._is_known = False
        self._of_all: list[Subscription] = []
        self._of_owner: dict[str, list[Subscription]] = {}

    async def run(self) -> None:
        """Keep knowing them, for ever."""
        try:
            while True:
                try:
                    await asyncio.shield(self._under_way.begin(self.learn()))
                except errors.DatabaseAway as error:
                    _logger.info("Could not look who wants to hear", extra={"cause": str(error)})
                await self._sleep(_FRESH_SECONDS)
        finally:
            await self._under_way.settle()

    async def learn(self) -> None:
        """Look who wants to hear.

        Raises:
            DatabaseAway: The database does not answer; those who were known still are.
        """
        of_all: list[Subscription] = []
        of_owner: dict[str, list[Subscription]] = {}
        for one in await self._store.to_tell():
            (of_all if one.scope == "all" else of_owner.setdefault(one.owner, [])).append(one)
        self._is_known, self._of_all, self._of_owner = True, of_all, of_owner

    def may_care(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether anybody may want to hear of the task; until somebody looked, yes."""
        return not self._is_known or any(fits(one, task) for one in self._concerned(task))

    def _concerned(self, task: v1alpha1.LongTask) -> Iterable[Subscription]:
        owner = task.metadata.labels.get(names.OWNER_LABEL, "")
        return itertools.chain(self._of_all, self._of_owner.get(owner, ()))

    async def notices(self, task: v1alpha1.LongTask, event: events.Event) -> Iterable[Notice]:
        """Return what is to be told of an event, and to whom.

        Raises:
            DatabaseAway: It is not known who they are, or what is to be told.
        """
        if not self._is_known:
            await self.learn()
        wanted = [one for one in self._concerned(task) if hears(one, task, event)]
        if not wanted:
            return []
        kind = v1alpha1.TaskEvent(event.type)
        content = await self._fetched(task, kind)
        facts = events.facts_of(event, task.status)
        bodies: dict[v1alpha1.MessageFormat, str] = {}
        for one in wanted:
            form = v1alpha1.MessageFormat(one.format)
            if form not in bodies:
                body = events.body(
                    task,
                    kind,
                    webhook_id=event.id,
                    form=form,
                    facts=facts,
                    public_url=self._public_url,
                    result=content,
                )
                told = {"body": body.decode(), "mediaType": events.media_type(form)}
                bodies[form] = json.dumps(told)
        return [
            Notice.of(
                task,
                event,
                channel=Channel.WEBHOOK,
                recipient=one.id,
                document=bodies[v1alpha1.MessageFormat(one.format)],
            )
            for one in wanted
        ]

    async def _fetched(self, task: v1alpha1.LongTask, kind: v1alpha1.TaskEvent) -> bytes | None:
        """Return what of the event is not in the resource; None if nothing, or if it is gone."""
        ref = events.fetched(task, kind)
        if ref is None:
            return None
        uid = ref.task_uid or task.metadata.uid
        blob = await self._blobs.find(uid, Kind.RESULT, sha256=ref.sha256)
        if blob is None:
            return None
        try:
            return b"".join([piece async for piece in self._blobs.read(blob)])
        except LookupError:
            return None


def hears(one: Subscription, task: v1alpha1.LongTask, event: events.Event) -> bool:
    """Tell whether a subscription is to be told of an event."""
    # Events are dated by whole seconds.
    is_news = event.at >= _second(one.since)
    return event.type in one.events and is_news and fits(one, task)


def fits(one: Subscription, task: v1alpha1.LongTask) -> bool:
    """Tell whether a subscription hears of the task at all."""
    wanted, labels = one.filter, task.metadata.labels
    owner = labels.get(names.OWNER_LABEL, "")
    if one.scope != "all" and owner != one.owner:
        return False
    queue = wanted.get("queue")
    return (
        wanted.get("type") in (None, task.spec.type)
        and wanted.get("namespace") in (None, task.metadata.namespace)
        and wanted.get("owner") in (None, owner)
        and queue in (None, task.status.queue or effective.queue_of(task.spec, None))
        and all(labels.get(key) == value for key, value in wanted.get("labels", {}).items())
    )


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)

"""Who is told by mail: the addresses that a task names, and owners who wish to hear of theirs."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from longtask_api import errors
from longtask_api.mail import addresses, message
from longtask_api.stores.addresses import Addresses, Wish
from longtask_api.stores.ledger import Channel, Notice
from longtask_crds import events, names, v1alpha1

_logger = logging.getLogger(__name__)

#: How often is looked at what users wish for that they said to another replica, in seconds.
_INTERVAL: Final = 15.0


class Addressees:
    """Those who are told by mail; an audience of the teller's.

    Args:
        store: What users wish.
        sleep: Takes the place of `asyncio.sleep`, in tests.
    """

    def __init__(
        self, store: Addresses, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._wishes: dict[str, Wish] | None = None  #: by owner; None: not known yet

    async def run(self) -> None:
        """Keep knowing what users wish, for ever."""
        while True:
            try:
                await self.refresh()
            except errors.DatabaseAway as error:
                _logger.info("Could not read who wants mails", extra={"cause": str(error)})
            await self._sleep(_INTERVAL * random.uniform(0.5, 1.0))

    async def refresh(self) -> None:
        """Read what users wish; raise DatabaseAway."""
        self._wishes = {wish.username: wish for wish in await self._store.wishes()}

    def may_care(self, task: v1alpha1.LongTask) -> bool:
        """Tell whether anybody may be mailed about the task."""
        owner = task.metadata.labels.get(names.OWNER_LABEL)
        if task.spec.notify:
            return True
        return owner is not None and (self._wishes is None or owner in self._wishes)

    async def notices(self, task: v1alpha1.LongTask, event: events.Event) -> Iterable[Notice]:
        """Return a notice to each who is mailed about an event; raise DatabaseAway."""
        if self._wishes is None:
            await self.refresh()
        found = {addresses.normal(address): address for address in self._of(task, event)}
        document = message.Said.of(task, event).document()
        return [
            Notice.of(task, event, channel=Channel.MAIL, recipient=address, document=document)
            for address in found.values()
        ]

    async def of_schedule(self, schedule: v1alpha1.LongTaskSchedule, at: datetime) -> list[Notice]:
        """Return what tells the owner of a schedule that it has suspended itself.

        An owner who wishes for any mail gets this one.

        Args:
            schedule: The schedule.
            at: When that happened: the same for whoever tells it.
        """
        if self._wishes is None:
            await self.refresh()
        meta = schedule.metadata
        owner = meta.labels.get(names.OWNER_LABEL)
        wish = (self._wishes or {}).get(owner or "")
        if wish is None or wish.email is None:
            return []
        stamp = int(at.timestamp())
        return [
            Notice(
                channel=Channel.MAIL,
                event_id=events.webhook_id(meta.uid, message.SUSPENDED, stamp),
                event=message.SUSPENDED,
                sequence=stamp,
                task_uid=meta.uid,
                namespace=meta.namespace,
                task_name=meta.name,
                owner=owner,
                recipient=wish.email,
                document=message.Said.of_schedule(schedule, at=at).document(),
            )
        ]

    def _of(self, task: v1alpha1.LongTask, event: events.Event) -> Iterator[str]:
        for named in task.spec.notify or ():
            if events.is_wanted(named, event.type):
                yield named.email
        wish = (self._wishes or {}).get(task.metadata.labels.get(names.OWNER_LABEL, ""))
        if wish is None or wish.email is None or event.type not in wish.events:
            return
        if wish.since is None or event.at >= wish.since:
            yield wish.email

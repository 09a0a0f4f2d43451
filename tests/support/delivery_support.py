"""What the tests of deliveries to subscriptions say in one line."""

import asyncio
import contextlib
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import aiohttp.abc

from longtask_adapters import webhooks
from longtask_api.database.engine import Database
from longtask_api.stores.ledger import Channel, Entry, Ledger, Notice
from longtask_api.stores.subscriptions import Subscription, Subscriptions
from longtask_api.workers.deliverer import Deliverer
from longtask_crds import address_guard, signing_keys
from longtask_crds.testing import NOW

KEY = signing_keys.new_key()
LOOPBACK = address_guard.Guard.from_lists(allow=["127.0.0.1", "127.0.0.0/8"])
SUBSCRIPTION = Subscription(
    id="",
    owner="ada",
    is_local=False,
    scope="own",
    url="",
    events=("succeeded", "failed"),
    filter={},
    format="standard",
    description=None,
    paused=False,
    paused_reason=None,
    created_at=NOW,
    since=NOW,
)


class Rig:
    """A database, and what tells subscriptions what is noted in it."""

    def __init__(self, database: Database, *, schedule: Sequence[int] = (0, 5, 300)) -> None:
        # A sender goes by the clock on the wall.
        self.now = self.began = datetime.now(UTC)
        self.schedule = schedule
        self.ledger = Ledger(database, clock=self.clock)
        self.store = Subscriptions(database)
        self.asked_keys_of: list[str] = []

    def clock(self) -> datetime:
        return self.now

    async def keys(self, owner: str) -> list[str]:
        self.asked_keys_of.append(owner)
        return [KEY]

    async def subscribe(self, url: str, **parts: Any) -> Subscription:
        """Make a subscription."""
        made = dataclasses.replace(SUBSCRIPTION, id=uuid.uuid4().hex, url=url, **parts)
        assert await self.store.add(made, most=1000)
        return made

    async def note(self, to: Subscription, *names: str, event: str = "succeeded") -> None:
        """Note an event of each of these tasks."""
        await self.ledger.note(
            Notice(
                Channel.WEBHOOK,
                event_id=f"msg_{name}",
                event=event,
                sequence=1900,
                task_uid=f"uid-of-{name}",
                namespace="longtasks",
                task_name=name,
                owner=to.owner,
                recipient=to.id,
                document=json.dumps(
                    {"body": f'{{"of":"{name}"}}', "mediaType": "application/json"}
                ),
            )
            for name in names
        )

    async def rows(self, to: Subscription) -> dict[str, Entry]:
        """Return what is noted for a subscription, by the tasks' names."""
        found = await self.ledger.page(Channel.WEBHOOK, recipient=to.id, limit=500)
        return {entry.task_name: entry for entry in found}

    def deliverer(self, sender: webhooks.Sender, **parts: Any) -> Deliverer:
        """Return one that looks again and again."""
        usual = {
            "schedule": self.schedule,
            "clock": self.clock,
            "sleep": lambda _: asyncio.sleep(0),
        }
        return Deliverer(self.ledger, self.store, sender, self.keys, **usual | parts)

    @contextlib.asynccontextmanager
    async def delivering(
        self, sender: webhooks.Sender | None = None, **parts: Any
    ) -> AsyncIterator[None]:
        """Tell what is due meanwhile; over HTTP when no sender is given."""
        async with contextlib.AsyncExitStack() as stack:
            if sender is None:
                sender = await stack.enter_async_context(http_sender())
            running = asyncio.create_task(self.deliverer(sender, **parts).run())
            try:
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def later(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)


@contextlib.asynccontextmanager
async def http_sender(
    *,
    seconds: float = 30.0,
    guard: address_guard.Guard = LOOPBACK,
    resolver: aiohttp.abc.AbstractResolver | None = None,
) -> AsyncIterator[webhooks.HttpSender]:
    """Make a sender over HTTP that waits so long for an answer."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    sender = webhooks.HttpSender(guard, timeout=timeout, resolver=resolver)
    try:
        yield sender
    finally:
        await sender.close()

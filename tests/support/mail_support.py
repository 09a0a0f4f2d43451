"""What the tests of the mailer have in common: a clock that is set, notices, and mailers."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from clock_support import Clock
from longtask_api.database.engine import Database
from longtask_api.mail import addresses, message, smtp
from longtask_api.mail.writer import Writer
from longtask_api.metrics import Metrics
from longtask_api.settings import Tls
from longtask_api.stores.addresses import Addresses
from longtask_api.stores.ledger import Channel, Ledger, Notice
from longtask_api.workers.mailer import Mailer
from longtask_crds.testing import NOW

ADA = "ada@example.com"
ANYBODY = addresses.Guard.of(domains=["*"], recipients=[])
SENDER = message.Sender("LongTask <longtask@example.org>", "https://longtask.example.com")


async def link_key() -> bytes:
    return b"the installation's key"


def a_notice(
    event: str = "succeeded", task: str = "report", *, to: str = ADA, **parts: Any
) -> Notice:
    """Return what tells somebody of an event of a task."""
    said = message.Said(event=event, name=task, uid=f"uid-of-{task}", at=NOW)
    notice = Notice(
        channel=Channel.MAIL,
        event_id=f"msg_{task}_{event}",
        event=event,
        sequence=1,
        task_uid=f"uid-of-{task}",
        namespace="longtasks",
        task_name=task,
        owner="ada",
        recipient=to,
        document=said.document(),
    )
    return dataclasses.replace(notice, **parts)


class Replica:
    """A replica, as far as it mails."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        port: int,
        *,
        guard: addresses.Guard = ANYBODY,
        door: smtp.Door | None = None,
        ledger: Ledger | None = None,
        seconds: float = 20,
    ) -> None:
        self.ledger = ledger or Ledger(database, clock=clock)
        self.store = Addresses(database)
        self.metrics = Metrics()
        self.slept: list[float] = []
        self.mailer = Mailer(
            self.ledger,
            self.store,
            Writer(message.Templates(), SENDER, link_key, clock=clock),
            door or smtp.SmtpDoor("127.0.0.1", port, tls=Tls.NONE, seconds=seconds),
            guard,
            self.metrics,
            clock=clock,
            mail_seconds=seconds,
        )

    async def note(self, *notices: Notice) -> None:
        await self.ledger.note(notices)

    async def serve(self) -> None:
        """Send all that is due now."""
        while await self.mailer.serve():
            pass

    async def states(self) -> list[tuple[str, str, str | None]]:
        """Return how each row stands: task and event, state, error."""
        found = await self.ledger.page(Channel.MAIL, limit=999)
        return sorted((f"{e.task_name} {e.event}", str(e.state), e.last_error) for e in found)


def subjects(mails: Iterable[Any]) -> list[str]:
    return [str(mail["Subject"]) for mail in mails]

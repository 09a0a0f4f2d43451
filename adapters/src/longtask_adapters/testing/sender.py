"""A sender of webhooks in memory."""

import dataclasses
from collections.abc import Callable
from datetime import datetime

from longtask_adapters import webhooks
from longtask_crds import delivery
from longtask_crds.testing import NOW


@dataclasses.dataclass(frozen=True)
class Sent:
    """One request that a `MemorySender` got."""

    url: str
    webhook_id: str
    body: bytes
    keys: tuple[str, ...]
    headers: dict[str, str]
    owner: str = ""
    media_type: str = "application/json"


class MemorySender:
    """Keeps what it is given to send, and answers from a script, then with 200."""

    def __init__(self, *answers: delivery.Try, clock: Callable[[], datetime] = lambda: NOW) -> None:
        self.answers = list(answers)
        self.sent: list[Sent] = []
        self._clock = clock

    async def send(
        self,
        url: str,
        *,
        owner: str,
        webhook_id: str,
        headers: dict[str, str],
        write: webhooks.Writer,
    ) -> delivery.Try:
        """Keep one webhook."""
        body, keys, media_type = await write()
        self.sent.append(Sent(url, webhook_id, body, tuple(keys), headers, owner, media_type))
        return self.answers.pop(0) if self.answers else delivery.Try(at=self._clock(), code=200)

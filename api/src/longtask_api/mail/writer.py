"""Makes mails: of what is told, of the templates, and of links that the installation has signed."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from email.message import EmailMessage
from typing import Final

from longtask_api import errors
from longtask_api.mail import links, message

_logger = logging.getLogger(__name__)

#: Where mails are ended, below where users reach the API.
UNSUBSCRIBE_PATH: Final = "/api/v1/unsubscribe"


class Writer:
    """Makes mails of what stands in the outbox.

    Args:
        templates: The words; where those fail, the ones that come with LongTask.
        sender: Whom mails are from.
        key: Returns what signs links, or raises Unavailable: then mails go without.
        clock: Returns the time.
    """

    def __init__(
        self,
        templates: message.Templates,
        sender: message.Sender,
        key: Callable[[], Awaitable[bytes]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._templates = templates
        self._built_in = message.Templates()
        self._sender = sender
        self._key = key
        self._clock = clock

    def words(self, said: Sequence[message.Said], **values: str | None) -> message.Words:
        """Return what is said of events, in their order."""
        values["link"] = message.link_to(said, self._sender.public_url)
        try:
            return self._templates.render(said, **values)
        except message.FAILURES:
            _logger.exception("A template for mails failed")
            return self._built_in.render(said, **values)

    async def mail(
        self, recipient: str, told: Sequence[tuple[str, int, message.Said]]
    ) -> EmailMessage:
        """Return the mail that tells of events.

        Args:
            recipient: Whom.
            told: The events, each with its id and number, in their order.

        Raises:
            Unavailable: A code cannot be signed for now; nothing else needs a signature.
        """
        said = [one for _, _, one in told]
        values: dict[str, str | None] = {"code": None, "unsubscribe": None}
        if said[-1].event == message.VERIFICATION:
            key = await self._key()
            values["code"] = links.code(key, said[-1].name, recipient, now=self._clock())
        elif self._sender.public_url:
            with contextlib.suppress(errors.Unavailable):
                values["unsubscribe"] = self._unsubscribe(await self._key(), recipient)
        return message.compose(
            self.words(said, **values),
            said,
            ids=[event_id for event_id, _, _ in told],
            numbers=[number for _, number, _ in told],
            recipient=recipient,
            sender=self._sender,
            now=self._clock(),
            unsubscribe=values["unsubscribe"],
        )

    def _unsubscribe(self, key: bytes, recipient: str) -> str:
        token = links.unsubscribe_token(key, recipient)
        return f"{self._sender.public_url.rstrip('/')}{UNSUBSCRIBE_PATH}/{token}"

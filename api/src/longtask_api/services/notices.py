"""What was told by mail, who wants to hear of what, and whose an address is."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.mail import addresses, links, message
from longtask_api.mail.writer import Writer
from longtask_api.services import bodies, cursors
from longtask_api.stores.addresses import Addresses, LinkKey, Wish
from longtask_api.stores.ledger import Channel, Entry, Ledger, Notice, State
from longtask_client import models
from longtask_crds import v1alpha1

_logger = logging.getLogger(__name__)

#: From one user an address gets one code in so many seconds.
_PAUSE_OF_CODES: Final = 600
#: So many notices are put into words without a pause.
_TOGETHER: Final = 20

#: Counts a try, and raises TooManyRequests if it is too many.
Limit = Callable[[str], None]


class NoticeService:
    """All that is asked about mails.

    Args:
        ledger: What was told.
        store: What users wish, and who wants no mails.
        key: What signs links and codes.
        writer: Makes the words.
        wishes_changed: Is told when somebody wishes for something else.
        noted: Is told when there is a mail to send.
        code_asked: Counts a code, by who asks for it and for which address.
        clock: Returns the time.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Addresses,
        key: LinkKey,
        writer: Writer,
        *,
        wishes_changed: Callable[[], Awaitable[None]],
        noted: Callable[[], None],
        code_asked: Callable[[str, str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._key = key
        self._writer = writer
        self._wishes_changed = wishes_changed
        self._noted = noted
        self._code_asked = code_asked
        self._clock = clock

    async def page(
        self,
        caller: callers.Caller,
        *,
        task: str | None,
        state: models.NoticeState | None,
        limit: int,
        cursor: str | None,
    ) -> models.NoticePage:
        """Return one page of the notices of tasks that the caller may see, the newest first.

        Raises:
            Malformed: The cursor is none of ours, or of another list.
        """
        mark = cursors.mark_of("notices", caller.sees_all, caller.subject, task, state)
        found = await self._ledger.page(
            Channel.MAIL,
            owner=None if caller.sees_all else caller.subject,
            task=None if task is None else task.replace("\0", "\ufffd"),  # no database has it
            states=() if state is None else (State(state),),
            behind=cursors.moment_and_id(cursor, mark),
            limit=limit + 1,
        )
        shown, more = cursors.one_page(found, limit, mark, lambda one: (one.created_at, one.id))
        items = []
        for number, entry in enumerate(shown):
            if number % _TOGETHER == 0:
                await asyncio.sleep(0)  # to write the words of hundreds takes half a second
            items.append(self._view(entry))
        return models.NoticePage(items=items, next_cursor=more)

    async def wish(self, caller: callers.Caller) -> models.NoticeWishView:
        """Return of what the caller is mailed.

        Raises:
            Forbidden: They have no account here.
        """
        return _wish_view(await self._own(caller))

    async def set_wish(self, caller: callers.Caller, document: Any) -> models.NoticeWishView:
        """Note of what the caller is to be mailed from now on.

        Raises:
            Forbidden: They have no account here.
            Invalid: A field is wrong.
        """
        order = bodies.read(models.NoticeWish, document)
        await self._own(caller)
        wanted = tuple(event for event in v1alpha1.TaskEvent if event in order.events)
        await self._store.set_events(caller.subject, wanted, at=self._clock())
        await self._wishes_changed()
        _logger.info("Changed wish for mails", extra={"by": caller.name, "events": list(wanted)})
        return _wish_view(await self._own(caller))

    async def ask_for_code(
        self, caller: callers.Caller, document: Any, *, limit: Limit
    ) -> models.NoticeWishView:
        """Send the caller a code by which they show that an address is theirs.

        Raises:
            Forbidden: They have no account here, or are not logged in.
            Invalid: No mail can be sent to the address, or there is none.
            TooManyRequests: They ask too often.
            Unavailable: No code can be made for now.
        """
        _check_session(caller)
        order = bodies.read(models.EmailOrder, document)
        limit(caller.subject)
        own = await self._own(caller)
        address = order.email or own.email
        if address is None:
            raise _wrong("/email", "your account has none: say one")
        if not addresses.is_address(address):
            raise _wrong("/email", "no mail can be sent there")
        self._code_asked(caller.subject, addresses.normal(address))
        await self._key.get()
        now = self._clock()
        said = message.Said(event=message.VERIFICATION, kind="account", name=caller.subject)
        since = int(now.timestamp()) // _PAUSE_OF_CODES
        made = uuid.uuid5(uuid.NAMESPACE_OID, f"{caller.subject} {address} {since}")
        await self._ledger.note(
            [
                Notice(
                    channel=Channel.MAIL,
                    event_id=f"msg_{made}",
                    event=message.VERIFICATION,
                    sequence=0,
                    task_uid=f"account-{caller.subject}",
                    namespace="",
                    task_name="",
                    owner=caller.subject,
                    recipient=address,
                    document=said.document(),
                )
            ]
        )
        self._noted()
        _logger.info("Asked for a code for an address", extra={"by": caller.name})
        return _wish_view(own)

    async def confirm(
        self, caller: callers.Caller, document: Any, *, limit: Limit
    ) -> models.NoticeWishView:
        """Take an address for the caller's, which gets their mails from now on.

        Raises:
            Forbidden: They have no account here, or are not logged in.
            Invalid: The code is none of theirs, or too old.
            TooManyRequests: They try too often.
        """
        _check_session(caller)
        order = bodies.read(models.EmailCode, document)
        limit(caller.subject)
        await self._own(caller)
        key, now = await self._key.get(), self._clock()
        address = links.confirmed(key, caller.subject, order.code, now=now)
        if address is None:
            raise _wrong("/code", "it is none of yours, or a day old: ask for another")
        await self._store.verify(caller.subject, address, at=now)
        await self._wishes_changed()
        _logger.info("Confirmed an address", extra={"by": caller.name})
        return _wish_view(await self._own(caller))

    async def address_of(self, token: str) -> str:
        """Return the address whose mails a link ends.

        Raises:
            Missing: It is no such link.
        """
        address = links.unsubscribed(await self._key.get(), token)
        if address is None:
            raise errors.Missing("There is no such link.")
        return address

    async def unsubscribe(self, token: str) -> str:
        """End the mails to the address that a link is for, and return it.

        Raises:
            Missing: It is no such link.
        """
        address = await self.address_of(token)
        await self._store.mute(address, at=self._clock())
        _logger.info("Ended the mails to an address")
        return address

    async def _own(self, caller: callers.Caller) -> Wish:
        wish = await self._store.wish_of(caller.subject) if caller.is_local else None
        if wish is None:
            raise errors.Forbidden("Only users of LongTask's own have an address here.")
        return wish

    def _view(self, entry: Entry) -> models.NoticeView:
        # What a code is made of is nobody's to read here.
        words = None
        if entry.event != message.VERIFICATION:
            words = self._writer.words([message.Said.read(entry.document)])
        return models.NoticeView(
            id=entry.id,
            event=entry.event,
            event_id=entry.event_id,
            sequence=entry.sequence,
            task=entry.task_name,
            namespace=entry.namespace,
            to=entry.recipient,
            state=models.NoticeState(entry.state),
            tries=entry.tries,
            code=entry.last_code,
            error=entry.last_error,
            mail=entry.batch,
            created_at=entry.created_at,
            next_try_at=entry.next_try_at,
            settled_at=entry.settled_at,
            subject=words.subject if words else None,
            text=words.text if words else None,
        )


def _wish_view(wish: Wish) -> models.NoticeWishView:
    events = [event for event in v1alpha1.TaskEvent if event in wish.events]
    return models.NoticeWishView(events=events, email=wish.email, verified=wish.is_verified)


def _check_session(caller: callers.Caller) -> None:
    """Let no token for programs decide where its owner's mails go."""
    if caller.via is not callers.Via.SESSION:
        raise errors.Forbidden("Log in for that.")


def _wrong(pointer: str, detail: str) -> errors.Invalid:
    return errors.Invalid(errors=[errors.finding(pointer, detail)])

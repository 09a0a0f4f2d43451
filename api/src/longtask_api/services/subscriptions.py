"""Subscriptions: who wants to be told what happens to tasks, and how that went."""

import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.services import bodies, cursors
from longtask_api.stores import subscriptions
from longtask_api.stores.ledger import Channel, Entry, Ledger, State
from longtask_client import models
from longtask_crds import address_guard, v1alpha1
from longtask_crds.v1alpha1 import MessageFormat, TaskEvent

_logger = logging.getLogger(__name__)

#: How many one owner has.
MOST: Final = 50
_ENDS: Final = (TaskEvent.SUCCEEDED, TaskEvent.FAILED, TaskEvent.CANCELLED)
#: As they are made up here; nothing else ever gets into a statement.
_ID: Final = re.compile("[0-9a-f]{32}")


class SubscriptionService:
    """All that is done with subscriptions, by whose they are and by admins."""

    def __init__(
        self,
        store: subscriptions.Subscriptions,
        ledger: Ledger,
        guard: address_guard.Guard,
        *,
        learn: Callable[[], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        """Serve them.

        Args:
            store: Where they are.
            ledger: What they are told.
            guard: Judges URLs.
            learn: Lets those who tell know of a change, at once.
            clock: Returns the time.
        """
        self._store = store
        self._ledger = ledger
        self._guard = guard
        self._learn = learn
        self._clock = clock

    async def make(self, caller: callers.Caller, document: Any) -> models.SubscriptionView:
        """Make one. An admin's hears of everybody's tasks.

        Raises:
            Invalid: A field is wrong, or the URL may not be called.
            Clash: The caller has as many as may be.
        """
        order = bodies.read(models.SubscriptionOrder, document)
        self._check(caller, order.url, order.filter)
        now = self._clock()
        made = subscriptions.Subscription(
            id=uuid.uuid4().hex,
            owner=caller.subject,
            is_local=caller.is_local,
            scope=_scope_of(caller),
            url=order.url,
            events=_words(order.events or _ENDS),
            filter=_filter(order.filter),
            format=order.format or MessageFormat.STANDARD,
            description=order.description,
            paused=False,
            paused_reason=None,
            created_at=now,
            since=now,
        )
        if not await self._store.add(made, most=MOST):
            raise errors.Clash(f"You have {MOST} subscriptions: delete those of no use.")
        await self._learn()
        deeds.to(made.id, host=self._host(made.url), scope=str(made.scope))
        _logger.info("Made subscription", extra={"subscription": made.id, "by": caller.name})
        return _view(made)

    async def page(
        self, caller: callers.Caller, *, limit: int, cursor: str | None
    ) -> models.SubscriptionPage:
        """Return one page of the caller's; of everybody's, for an admin.

        Raises:
            Malformed: The cursor is none of ours.
        """
        owner = None if caller.is_admin else caller.subject
        mark = cursors.mark_of("subscriptions", owner)
        found = await self._store.page(
            owner=owner, behind=cursors.moment_and_id(cursor, mark), limit=limit + 1
        )
        shown, more = cursors.one_page(found, limit, mark, lambda one: (one.created_at, one.id))
        return models.SubscriptionPage(items=list(map(_view, shown)), next_cursor=more)

    async def get(self, caller: callers.Caller, subscription_id: str) -> models.SubscriptionView:
        """Return one.

        Raises:
            Missing: The caller has none of that id.
        """
        return _view(await self._of(caller, subscription_id))

    async def change(
        self, caller: callers.Caller, subscription_id: str, document: Any
    ) -> models.SubscriptionView:
        """Change one: what happens from now on is told by the new words.

        Raises:
            Invalid: A field is wrong, or the URL may not be called.
            Missing: The caller has none of that id.
        """
        order = bodies.read(models.SubscriptionChange, document)
        known = await self._of(caller, subscription_id)
        self._check(caller, order.url, order.filter)
        said = order.model_fields_set
        values: dict[str, Any] = {}
        if order.url is not None:
            values["url"] = order.url
        if order.events is not None:
            values["events"] = _words(order.events)
        if order.filter is not None:
            values["filter"] = _filter(order.filter)
        if order.format is not None:
            values["format"] = order.format
        if "description" in said:
            values["description"] = order.description
        if order.paused is not None:
            values |= {"paused": order.paused, "paused_reason": None}
        if not values:
            return _view(known)
        if not values.keys().isdisjoint({"events", "filter", "paused"}):
            # What it was not to hear of when it happened is no news later.
            values["since"] = self._clock()
        changed = await self._store.change(subscription_id, **values)
        if changed is None:
            raise _missing()
        await self._learn()
        told = {"host": self._host(changed.url)} if order.url is not None else {}
        deeds.to(subscription_id, paused=changed.paused, **told)
        _logger.info("Changed subscription", extra={"subscription": known.id, "by": caller.name})
        return _view(changed)

    async def delete(self, caller: callers.Caller, subscription_id: str) -> None:
        """Delete one with its deliveries: nothing more is sent.

        Raises:
            Missing: The caller has none of that id.
        """
        await self._of(caller, subscription_id)
        if not await self._store.remove(subscription_id):
            raise _missing()
        await self._learn()
        told = {"subscription": subscription_id, "by": caller.name}
        _logger.info("Deleted subscription", extra=told)

    async def deliveries(
        self,
        caller: callers.Caller,
        subscription_id: str,
        *,
        state: models.DeliveryState | None,
        limit: int,
        cursor: str | None,
    ) -> models.DeliveryPage:
        """Return one page of what was, or is to be, told; the newest first.

        Raises:
            Missing: The caller has no subscription of that id.
            Malformed: The cursor is none of ours, or of another list.
        """
        await self._of(caller, subscription_id)
        mark = cursors.mark_of("deliveries", subscription_id, state)
        found = await self._ledger.page(
            Channel.WEBHOOK,
            recipient=subscription_id,
            states=[State(state)] if state is not None else [],
            behind=cursors.moment_and_id(cursor, mark),
            limit=limit + 1,
        )
        shown, more = cursors.one_page(found, limit, mark, lambda one: (one.created_at, one.id))
        return models.DeliveryPage(items=list(map(_delivery, shown)), next_cursor=more)

    async def redeliver(
        self, caller: callers.Caller, subscription_id: str, document: Any
    ) -> models.SubscriptionRedelivery:
        """Have deliveries that are over made once more: the same ids, the same bytes.

        Raises:
            Invalid: A field is wrong, or it says nothing of which.
            Missing: The caller has no subscription of that id.
            Clash: It is paused.
        """
        order = bodies.read(models.SubscriptionRedeliveryOrder, document)
        known = await self._of(caller, subscription_id)
        if not order.model_fields_set:
            raise errors.Invalid(errors=[errors.finding("", "say which: ids, from, to or state")])
        if order.state is models.DeliveryState.PENDING:
            raise errors.Invalid(errors=[errors.finding("/state", "those are to be sent anyway")])
        if known.paused:
            raise errors.Clash("The subscription is paused.")
        states = subscriptions.SETTLED if order.state is None else (State(order.state),)
        ids = None if order.ids is None else [one for one in order.ids if _ID.fullmatch(one)]
        count = await self._store.reopen(
            subscription_id,
            at=self._clock(),
            ids=ids,
            since=order.from_,
            until=order.to,
            states=states,
        )
        deeds.to(subscription_id, count=count)
        told = {"subscription": subscription_id, "count": count, "by": caller.name}
        _logger.info("Asked for other deliveries", extra=told)
        return models.SubscriptionRedelivery(count=count)

    # --- inside

    async def _of(self, caller: callers.Caller, subscription_id: str) -> subscriptions.Subscription:
        found = None
        if _ID.fullmatch(subscription_id):
            found = await self._store.find(subscription_id)
        # Its URL may be a secret: who sees others' tasks does not see that.
        if found is None or not (caller.is_admin or found.owner == caller.subject):
            raise _missing()
        return found

    def _check(
        self, caller: callers.Caller, url: str | None, wanted: models.SubscriptionFilter | None
    ) -> None:
        found: list[models.ProblemError] = []
        if url is not None:
            try:
                self._guard.check_url(url)
            except address_guard.Refused as refused:
                found.append(errors.finding("/url", str(refused)))
        hears_all = _scope_of(caller) is models.SubscriptionScope.ALL
        if wanted is not None and not hears_all and wanted.owner not in (None, caller.subject):
            found.append(errors.finding("/filter/owner", "you hear of your own tasks alone"))
        if found:
            raise errors.Invalid(errors=found)

    def _host(self, url: str) -> str:
        """Return what of a URL is no secret."""
        return self._guard.check_url(url).host


def _scope_of(caller: callers.Caller) -> models.SubscriptionScope:
    # Nobody would tell us when an account of Kubernetes sees less than it did.
    return models.SubscriptionScope.ALL if caller.is_admin else models.SubscriptionScope.OWN


def _words(wanted: Any) -> tuple[str, ...]:
    return tuple(str(event) for event in TaskEvent if event in wanted)


def _filter(wanted: models.SubscriptionFilter) -> dict[str, Any]:
    return wanted.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _missing() -> errors.Missing:
    return errors.Missing("There is no such subscription.")


# --- what is shown


def _view(one: subscriptions.Subscription) -> models.SubscriptionView:
    return models.SubscriptionView(
        id=one.id,
        url=one.url,
        events=[TaskEvent(event) for event in one.events],
        filter=models.SubscriptionFilter.model_validate(one.filter),
        format=v1alpha1.MessageFormat(one.format),
        description=one.description,
        owner=one.owner,
        scope=models.SubscriptionScope(one.scope),
        paused=one.paused,
        paused_reason=one.paused_reason,
        created_at=one.created_at,
    )


def _delivery(entry: Entry) -> models.DeliveryView:
    return models.DeliveryView(
        id=entry.id,
        webhook_id=entry.event_id,
        event=entry.event,
        sequence=entry.sequence,
        task_id=entry.task_name,
        state=models.DeliveryState(entry.state),
        tries=entry.tries,
        next_try_at=entry.next_try_at,
        last_code=entry.last_code,
        last_error=entry.last_error or None,
        created_at=entry.created_at,
        settled_at=entry.settled_at,
    )

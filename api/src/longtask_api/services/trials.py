"""Try a receiver of callbacks: one signed event that tells of no task."""

import collections
import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from longtask_adapters import webhooks
from longtask_api import deeds, errors
from longtask_api.auth import callers
from longtask_api.services import bodies, callback_keys
from longtask_client import models
from longtask_crds import address_guard, events, v1alpha1

_logger = logging.getLogger(__name__)

#: How many receivers one caller may try at once.
_AT_ONCE = 4


class Trials:
    """Sends what the operator would send, from where the API is, by the same rules."""

    def __init__(
        self,
        sender: webhooks.Sender,
        guard: address_guard.Guard,
        keys: callback_keys.CallbackKeys,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._sender = sender
        self._guard = guard
        self._keys = keys
        self._clock = clock
        self._under_way: collections.Counter[str] = collections.Counter()  #: by caller

    async def run(self, caller: callers.Caller, document: Any) -> models.CallbackTrial:
        """Send a `longtask.test` once, signed with the caller's keys; tell what came back.

        Raises:
            Invalid: The document is no such order, or the URL may not be called.
            TooManyRequests: Enough receivers are being tried for the caller.
        """
        order = bodies.read(models.CallbackTrialOrder, document)
        try:
            target = self._guard.check_url(order.url)
        except address_guard.Refused as refused:
            raise errors.Invalid(errors=[errors.finding("/url", str(refused))]) from refused
        # Of an address no more: who reads the audit is not to learn a path that is a secret.
        deeds.to(target.host)
        if self._under_way[caller.subject] >= _AT_ONCE:
            raise errors.TooManyRequests("Other receivers are being tried for you.")
        self._under_way[caller.subject] += 1
        try:
            return await self._send(caller, order)
        finally:
            self._under_way[caller.subject] -= 1

    async def _send(
        self, caller: callers.Caller, order: models.CallbackTrialOrder
    ) -> models.CallbackTrial:
        keys = await self._keys.active(caller)

        made_up, form = f"msg_{uuid.uuid4()}", order.format or v1alpha1.MessageFormat.STANDARD

        async def write() -> webhooks.Letter:
            body = events.trial_body(self._clock(), webhook_id=made_up, form=form)
            return webhooks.Letter(body, keys, events.media_type(form))

        made = await self._sender.send(
            order.url, owner=caller.subject, webhook_id=made_up, headers={}, write=write
        )
        _logger.info("Tried a receiver", extra={"id": made_up, "by": caller.name})
        return models.CallbackTrial(
            id=made_up,
            delivered=made.is_delivered,
            code=made.code,
            error=made.problem,
            seconds=round(made.seconds, 3),
        )

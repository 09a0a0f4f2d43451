"""Each request that changes something is written down: who, what, to what, what became of it."""

from collections.abc import Callable
from typing import Final

from asgi_correlation_id import correlation_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtask_api import deeds
from longtask_client.models import ActOutcome

#: What changes nothing.
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED: Final = frozenset({401, 403})
#: Parts of paths that are more than names.
_SECRET_PARTS: Final = frozenset({"token"})

#: Takes what is done: the deed, the act's name, its outcome, the answer's status, the name in the
#: path, the request's id, and where it came from.
Note = Callable[[deeds.Deed, str, ActOutcome, int, str, str, str], None]


class Auditing:
    """Notes each change of who is known, and each one that they may not make.

    What was wrong in itself, or came too late, changed nothing and is noted by nobody. And an
    unknown that knocks leaves nothing but the line of its request in the log: else whoever likes
    could fill the database.
    """

    def __init__(self, app: ASGIApp, note: Note) -> None:
        self._app = app
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note what it did when it is over."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        deed, status = deeds.begin(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            act = getattr(scope.get("route"), "operation_id", None)
            outcome = outcome_of(status)
            if act is not None and outcome is not None and deed.actor is not None:
                named = next(
                    (
                        value
                        for part, value in scope.get("path_params", {}).items()
                        if part not in _SECRET_PARTS
                    ),
                    "",
                )
                asked_from = scope["client"][0] if scope.get("client") else ""
                request = correlation_id.get() or ""
                self._note(deed, act, outcome, status, named, request, asked_from)


def outcome_of(status: int) -> ActOutcome | None:
    """Return what became of a request that was answered so; None if it changed nothing."""
    if status < 400:
        return ActOutcome.DONE
    if status in _REFUSED:
        return ActOutcome.REFUSED
    return ActOutcome.UNKNOWN if status >= 500 else None

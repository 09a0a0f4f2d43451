"""What comes by streams, and how one goes on where it broke off. No IO: senders of any kind use it.

subscription = streaming.of_task("report")
while not subscription.is_over:
with connect_sse(client, "GET", subscription.path, headers=subscription.headers) as source:
for sent in source.iter_sse():
if (told := subscription.take(sent)) is not None:
yield told
sleep(subscription.broken())
"""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from httpx_sse import ServerSentEvent
from pydantic import BaseModel, ValidationError

from longtask_client import errors, models
from longtask_crds import events

MEDIA_TYPE: Final = "text/event-stream"
#: A comment comes each 15 seconds: after this much silence nobody is there any more.
SILENCE_SECONDS: Final = 50.0

Data: TypeAlias = (
    events.Event
    | models.TaskView
    | models.TaskProgress
    | models.TaskResult
    | models.TaskGone
    | models.StreamReset
)
_KINDS: Final[dict[str, type[BaseModel]]] = {
    "event": events.Event,
    "status": models.TaskView,
    "progress": models.TaskProgress,
    "result": models.TaskResult,
    "deleted": models.TaskGone,
    "reset": models.StreamReset,
}
_LONGEST_PAUSE = 15.0


@dataclasses.dataclass(frozen=True)
class Told:
    """One thing that a stream tells."""

    name: str  #: event, status, progress, result, deleted or reset
    id: str  #: a stream that is opened with it goes on behind this
    data: Data


class Subscription:
    """Where a stream is: what to ask for next, and whether there is anything left to ask for.

    Args:
        path: Where the stream is.
        parameters: What is wanted of it.
        ends: It is over with the task, and not endless.
        last_id: The last id that came of it before.
    """

    def __init__(
        self,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        ends: bool,
        last_id: str = "",
    ) -> None:
        self.path = path
        self.parameters = dict(parameters or {})
        self.last_id = last_id
        self.is_over = False
        self._ends = ends
        self._pause = 1.0
        self._failures = 0

    @property
    def headers(self) -> dict[str, str]:
        """Return what a request for the stream carries."""
        resumed = {"Last-Event-ID": self.last_id} if self.last_id else {}
        return {"Accept": f"{MEDIA_TYPE}, application/problem+json"} | resumed

    def take(self, sent: ServerSentEvent) -> Told | None:
        """Return what was sent, if it tells anything that this version knows.

        Raises:
            UnexpectedAnswer: It is none of LongTask's.
        """
        self._failures = 0
        self.last_id = sent.id or self.last_id
        if sent.retry is not None:
            self._pause = sent.retry / 1000
        model = _KINDS.get(sent.event)
        if model is None or not sent.data:
            return None
        try:
            data: Any = model.model_validate_json(sent.data)
        except ValidationError as error:
            raise errors.UnexpectedAnswer(errors.UnexpectedAnswer.__doc__) from error
        self.is_over = self._ends and sent.event in ("result", "deleted")
        return Told(sent.event, self.last_id, data)

    def broken(self) -> float:
        """Take note that the stream has ended; return for how many seconds to wait then."""
        pause = min(self._pause * 2.0**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 8)
        return pause * random.uniform(0.5, 1.0)


def of_task(task_id: str, *, last_id: str = "") -> Subscription:
    """Return the subscription to one task until its end."""
    path = f"/api/v1/tasks/{quote(task_id, safe='')}/events"
    return Subscription(path, ends=True, last_id=last_id)


def of_tasks(wanted: models.TaskFilter, *, last_id: str = "") -> Subscription:
    """Return the subscription to all tasks that fit; whether they are archived is no part of it.

    Without an id it begins when it is opened.
    """
    asked = wanted.model_copy(update={"archived": None}).to_query()
    return Subscription("/api/v1/events", asked, ends=False, last_id=last_id)

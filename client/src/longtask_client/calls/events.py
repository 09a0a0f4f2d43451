"""What becomes of tasks, as it happens."""

import codecs
from collections.abc import Iterator

from httpx_sse import ServerSentEvent

from longtask_client import errors, exchange, models, streaming
from longtask_client.exchange import WAITING_PATIENCE

_EVERY = models.TaskFilter()
_NO_CONTENT = 204


def events(task_id: str, *, last_id: str = "") -> exchange.Stream[streaming.Told]:
    """Yield what becomes of a task as it happens, until its end; a broken stream goes on.

    Args:
        task_id: The task's id.
        last_id: The last id that is known of it already.

    Raises:
        NotFound: There is no such task.
    """
    return _told(streaming.of_task(task_id, last_id=last_id))


def events_of(
    wanted: models.TaskFilter = _EVERY, *, last_id: str = ""
) -> exchange.Stream[streaming.Told]:
    """Yield what becomes of all tasks that fit, for ever; a broken stream goes on.

    Args:
        wanted: What tasks must be like: phases, queue, type, owner, labels.
        last_id: The last id that is known already; without one it begins now.
    """
    return _told(streaming.of_tasks(wanted, last_id=last_id))


def _told(subscription: streaming.Subscription) -> exchange.Stream[streaming.Told]:
    while not subscription.is_over:
        request = exchange.Request(
            "GET",
            subscription.path,
            parameters=subscription.parameters,
            headers=subscription.headers,
            timeout=streaming.SILENCE_SECONDS,
            is_stream=True,
        )
        answer = yield from exchange.sent(request, WAITING_PATIENCE)
        if answer.status == _NO_CONTENT:
            return
        decoder = _Decoder()
        try:
            while (piece := (yield exchange.Read())) is not None:
                for sent in decoder.decode(piece):
                    if (told := subscription.take(sent)) is not None:
                        yield exchange.Give(told)
        except errors.ConnectionFailed:
            pass  # it broke: what was missed comes next
        if not subscription.is_over:
            yield exchange.Sleep(subscription.broken())


class _Decoder:
    """From pieces of a stream to what was sent; httpx-sse has none that does no IO."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._id = ""
        self._fields: dict[str, str] = {}

    def decode(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """Yield what is whole; an event that is cut off is none."""
        *lines, self._rest = (self._rest + self._text.decode(piece)).split("\n")
        for line in lines:
            name, _, value = line.rstrip("\r").partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in self._fields:
                value = f"{self._fields['data']}\n{value}"
            if name:
                self._fields[name] = value
            elif line.rstrip("\r") == "" and self._fields:
                yield self._event()

    def _event(self) -> ServerSentEvent:
        found, self._fields = self._fields, {}
        self._id = found.get("id", self._id)
        retry = found.get("retry", "")
        return ServerSentEvent(
            event=found.get("event"),
            data=found.get("data"),
            id=self._id,
            retry=int(retry) if retry.isdigit() else None,
        )

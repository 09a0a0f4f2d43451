"""What becomes of tasks, as it happens."""

import codecs
from collections.abc import Callable, Container, Iterator

from httpx_sse import ServerSentEvent

from longtask_client import errors, exchange, models, streaming
from longtask_client.exchange import WAITING_PATIENCE

_NO_CONTENT = 204
#: No request is given less time than this, however little there is.
_SHORTEST_SILENCE = 1.0


def events(task_id: str, *, last_id: str = "") -> exchange.Stream[streaming.Told]:
    """Yield what becomes of a task as it happens, until its end; a broken stream goes on.

    Args:
        task_id: The task's id.
        last_id: The last id that is known of it already.

    Raises:
        NotFound: There is no such task.
    """
    return told(streaming.of_task(task_id, last_id=last_id))


def events_of(
    wanted: models.TaskFilter = models.EVERY, *, last_id: str = ""
) -> exchange.Stream[streaming.Told]:
    """Yield what becomes of all tasks that fit, for ever; a broken stream goes on.

    Args:
        wanted: What tasks must be like; whether they are archived is no part of it.
        last_id: The last id that is known already; without one it begins now.
    """
    return told(streaming.of_tasks(wanted, last_id=last_id))


def told(
    subscription: streaming.Subscription,
    *,
    until: float | None = None,
    refused: Container[int] = (),
    is_enough: Callable[[], bool] = lambda: False,
) -> exchange.Stream[streaming.Told]:
    """Yield what a subscription brings; a broken stream goes on where it was.

    Args:
        subscription: Where the stream is.
        until: It ends then, by the clock.
        refused: With these status codes there is no stream to be had.
        is_enough: Tells after each that it may end.
    """
    while not subscription.is_over:
        left = None if until is None else until - (yield from exchange.clock())
        if left is not None and left <= 0:
            return
        silence = streaming.SILENCE_SECONDS
        if left is not None:
            silence = min(silence, max(left, _SHORTEST_SILENCE))
        if not (yield from _opened(subscription, silence, refused)):
            return
        decoder, is_late = _Decoder(), False
        try:
            while not is_late and (piece := (yield exchange.Read())) is not None:
                for sent in decoder.decode(piece):
                    if (found := subscription.take(sent)) is not None:
                        yield exchange.Give(found)
                        if is_enough():
                            return
                if until is not None:
                    # A silence may last no longer than the time: then it is asked anew.
                    left = until - (yield from exchange.clock())
                    is_late = left <= 0 or _SHORTEST_SILENCE < silence > 2 * left
        except errors.ConnectionFailed:
            pass  # it broke: what was missed comes next
        if not (subscription.is_over or is_late):
            pause = subscription.broken()
            if until is not None:
                pause = min(pause, max(0.0, until - (yield from exchange.clock())))
            yield exchange.Sleep(pause)


def begun(
    subscription: streaming.Subscription, *, refused: Container[int] = ()
) -> exchange.Flow[str]:
    """Return the id with which a stream begins that has none yet: what comes from now on."""
    yield from _opened(subscription, streaming.SILENCE_SECONDS, refused)
    decoder = _Decoder()
    while not subscription.last_id:
        piece = yield exchange.Read()
        if piece is None:
            raise errors.UnexpectedAnswer("A stream of events ended before it began.")
        for sent in decoder.decode(piece):
            subscription.take(sent)
    return subscription.last_id


def _opened(
    subscription: streaming.Subscription, silence: float, refused: Container[int]
) -> exchange.Flow[bool]:
    """Ask for what comes next; tell whether there is anything."""
    request = exchange.Request(
        "GET",
        subscription.path,
        parameters=subscription.parameters,
        headers=subscription.headers,
        timeout=silence,
        is_stream=True,
    )
    answer = yield from exchange.sent(request, WAITING_PATIENCE, refused=refused)
    if answer.status == _NO_CONTENT:
        return False
    if answer.media_type != streaming.MEDIA_TYPE:
        raise errors.UnexpectedAnswer(f"{answer.url} is no stream of events: is the URL right?")
    return True


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

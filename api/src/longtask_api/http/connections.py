"""Connections, before any request of theirs is read: how many, how slow, how long their heads.

Uvicorn waits for a request's head as long as whoever connected likes, and for any length of it.
"""

import asyncio
import collections
import dataclasses
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from longtask_api import errors
from longtask_api.http import problems

#: Requests that are sent before the answer to the one before them.
_MOST_PIPELINED: Final = 8
#: What the smallest chunks cost: six bytes for one of a body.
_FRAMING: Final = 8


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What those may do who connect."""

    head_seconds: float = 10.0  #: how long a request's head may take
    head_bytes: int = 64 * 1024  #: what it may have, with all else of a request but its body
    connections: int | None = None  #: how many there may be; None for any number
    of_address: int | None = None  #: how many from one address


class BoundedProtocol(HttpToolsProtocol):
    """HTTP on one connection. Made for a port by `bounded`."""

    bounds: ClassVar[Bounds]
    #: Of all connections of the port those that have sent no head yet, the oldest first.
    silent: ClassVar[dict["BoundedProtocol", None]]
    by_address: ClassVar["collections.Counter[str]"]

    _address = ""
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _bodies = 0  #: bytes of all requests' bodies
    _body = 0  #: of this one's so far
    _rest = 0  #: all else of it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are enough."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.by_address[self._address] += 1
        if _is_above(self.by_address[self._address], self.bounds.of_address):
            self._hang_up()
            return
        if _is_above(len(self.connections), self.bounds.connections):
            # Who has said nothing yet gives way to who may say something.
            longest_silent = next(iter(self.silent), self)
            longest_silent._hang_up()
            if longest_silent is self:
                return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop_waiting()
        self.by_address[self._address] -= 1
        if not self.by_address[self._address]:
            del self.by_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_head()
        before = self._bodies
        super().data_received(data)
        self._rest += len(data) - (self._bodies - before)
        if self._rest > self.bounds.head_bytes + _FRAMING * self._body:
            self._hang_up()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self._in_head = True
        self._body = self._rest = 0

    def on_headers_complete(self) -> None:
        """Answer a request."""
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many requests at once")
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read a part of a body."""
        self._body += len(body)
        self._bodies += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request, and hang up."""
        body = problems.of(errors.Malformed(msg)).model_dump_json(by_alias=True, exclude_none=True)
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\n"
            f"content-length: {len(body.encode())}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        if self._in_head:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self.silent[self] = None
        self._timer = self.loop.call_later(self.bounds.head_seconds, self._hang_up)

    def _stop_waiting(self) -> None:
        self.silent.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()


def bounded(bounds: Bounds) -> type[BoundedProtocol]:
    """Return the protocol of a port."""

    class OfPort(BoundedProtocol):
        pass

    OfPort.bounds, OfPort.silent, OfPort.by_address = bounds, {}, collections.Counter()
    return OfPort


def _is_above(number: int, most: int | None) -> bool:
    return most is not None and number > most

"""One HTTP GET that goes only where the address guard allows, and ends in time."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable

from longtask_crds import address_guard

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 30.0


class Answer:
    """What came back; `body` ends at the limit, `whole` tells whether that was all."""

    def __init__(self, *, status: int, content_type: str, body: bytes, whole: bool) -> None:
        self.status = status
        self.content_type = content_type
        self.body = body
        self.whole = whole


def get(
    url: str,
    *,
    guard: address_guard.Guard,
    limit: int,
    headers: dict[str, str],
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """GET the URL; redirects are not followed, proxies and cookies not used.

    Raises:
        address_guard.Refused: The URL, or an address it leads to, may not be called.
        OSError: It could not be reached, or not in time.
        http.client.HTTPException: It answered with something else than HTTP.
    """
    target = guard.check_url(url)
    deadline = Deadline(TOTAL_SECONDS, clock)
    connection = http.client.HTTPConnection(target.host, target.port)
    with dial(target, guard, deadline) as real:
        # With its socket given, the connection never dials by itself.
        connection.sock = DeadlineSocket(real, deadline)
        connection.request("GET", target.path, headers={"Host": target.authority} | headers)
        answer = connection.getresponse()
        body = answer.read(limit + 1)
        connection.close()
    if len(body) <= limit and answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return Answer(
        status=answer.status,
        content_type=answer.getheader("Content-Type", ""),
        body=body[:limit],
        whole=len(body) <= limit,
    )


class Deadline:
    """A moment after which nothing may be waited for."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left.

        Raises:
            TimeoutError: There are none.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError(f"no complete answer within {TOTAL_SECONDS:g} s")
        return left


def dial(
    target: address_guard.Target, guard: address_guard.Guard, deadline: Deadline
) -> socket.socket:
    """Return a connection to the first address that answers; each is judged, then dialled as is."""
    failure = OSError(f"no address for {target.host}")
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        guard.check_sockaddr(address, host=target.host)
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(min(CONNECT_SECONDS, deadline.remaining()))
            plain.connect(address)
            if target.scheme == "https":
                context = ssl.create_default_context()
                return context.wrap_socket(plain, server_hostname=target.host)
        except OSError as error:
            plain.close()
            failure = error
        else:
            return plain
    raise failure


class DeadlineSocket:
    """The part of a socket that `http.client` uses, each wait bounded by the deadline.

    A timeout of the socket alone would start anew with each byte of a slow answer.
    """

    def __init__(self, real: socket.socket, deadline: Deadline) -> None:
        self._real = real
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        self._real.settimeout(self._deadline.remaining())
        self._real.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader of what comes in."""
        return io.BufferedReader(_Incoming(self._real, self._deadline))

    def close(self) -> None:
        """Leave it to `get`: `http.client` closes its socket first, then reads from it."""


class _Incoming(io.RawIOBase):
    """The bytes that come in."""

    def __init__(self, real: socket.socket, deadline: Deadline) -> None:
        self._real = real
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._real.settimeout(self._deadline.remaining())
        return self._real.recv_into(buffer)  # type: ignore[arg-type]

"""A line between a browser and what it talks to, which can be cut."""

import contextlib
import socket
import struct
import threading
from typing import Self
from urllib.parse import urlsplit

#: A connection that is closed so ends at once, as one does that was cut.
_AT_ONCE = struct.pack("ii", 1, 0)


class Wire:
    """Passes on whatever comes, as long as it is whole."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._is_cut = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections, and let nobody make another."""
        self._is_cut.set()
        for one in list(self._open):
            _end(one)

    def mend(self) -> None:
        """Let connections be made again."""
        self._is_cut.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.add(near)
                if self._is_cut.is_set():
                    _end(near)
                    continue
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    # Nobody answers there now; the next one may have more luck.
                    _end(near)
                    continue
                self._open.add(far)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65_536):
                sink.sendall(part)
        for one in (source, sink):
            self._open.discard(one)
            _end(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        # Whoever waits for something to come hears of the end only so.
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""What the outside sees: when programs start and end, and each callback as it came.

One HTTP server on this host, outside of the cluster. Programs say there that they start and end;
so it is counted how often each one really ran. Callbacks are kept raw. A path may be a bad
receiver: it fails the first try of each callback in its own way and takes the next one.
"""

import collections
import dataclasses
import http.server
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self

from e2e_support import Delivery

#: The container's program: it says that it starts, does as its input says, and says that it ends.
#: Nobody need listen: what cannot be said is not seen, and the program goes on.
PROGRAM: Final = """
import http.client, json, os, signal, sys, time
given = json.load(open(os.environ["LONGTASK_INPUT_FILE"]))
def say(word):
    fact = {"uid": os.environ["LONGTASK_UID"], "name": os.environ["LONGTASK_NAME"],
            "attempt": int(os.environ["LONGTASK_ATTEMPT"]), "pod": os.environ["HOSTNAME"]}
    for _ in range(3):
        try:
            connection = http.client.HTTPConnection(given["host"], given["port"], timeout=5)
            connection.request("POST", "/" + word, json.dumps(fact))
            return connection.getresponse().read()
        except OSError:
            time.sleep(0.2)
def stop(*_):
    say("stopped")
    os._exit(143)
signal.signal(signal.SIGTERM, stop)
say("start")
if given.get("fill"):
    filled = b"x" * (given["fill"] * 2**20)
time.sleep(given["seconds"])
open(os.environ["LONGTASK_OUTPUT_FILE"], "w").write('{"done": true}')
say("end")
"""

_HANG_SECONDS = 20


@dataclasses.dataclass(frozen=True)
class Fact:
    """What a program said of itself."""

    word: str  #: start, end or stopped
    uid: str
    name: str
    attempt: int
    pod: str
    at: float


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Say nothing: a bad receiver is left by whoever spoke to it."""


class Witness:
    """The server."""

    def __init__(self, address: str) -> None:
        self.facts: Final[list[Fact]] = []
        self.deliveries: Final[list[Delivery]] = []
        self._failed: set[str] = set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                _, word, *rest = self.path.split("/")
                if word == "hook":
                    outer._take_callback(self, body, rest[0] if rest else "")
                else:
                    outer.facts.append(Fact(word=word, at=time.time(), **json.loads(body)))
                    _answer(self, 204)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server((address, 0), Handler)
        self.host, self.port = str(self._server.server_address[0]), self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hook(self, manner: str = "well") -> str:
        """Return the URL of a receiver of this manner."""
        return f"http://{self.host}:{self.port}/hook/{manner}"

    def starts(self) -> dict[tuple[str, int], set[str]]:
        """Return in which pods each attempt's program started, by the task's uid and its number."""
        found = collections.defaultdict(set)
        for fact in list(self.facts):
            if fact.word == "start":
                found[fact.uid, fact.attempt].add(fact.pod)
        return dict(found)

    def webhook_ids(self) -> dict[str, set[str]]:
        """Return the ids of the callbacks that came, by the task's name."""
        found = collections.defaultdict(set)
        for delivery in list(self.deliveries):
            found[str(delivery.data["id"])].add(delivery.id)
        return dict(found)

    def _take_callback(
        self, handler: http.server.BaseHTTPRequestHandler, body: bytes, manner: str
    ) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        delivery = Delivery(handler.path, headers, body, time.time())
        self.deliveries.append(delivery)
        is_first = delivery.id not in self._failed
        self._failed.add(delivery.id)
        MANNERS[manner if is_first else "well"](handler)


def _answer(handler: http.server.BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _hang(handler: http.server.BaseHTTPRequestHandler) -> None:
    threading.Event().wait(_HANG_SECONDS)
    handler.close_connection = True


def _reset(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


def _trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(_HANG_SECONDS):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        threading.Event().wait(1)


def _flood(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(500)
    handler.send_header("Content-Length", str(10 * 2**30))
    handler.end_headers()
    for _ in range(10 * 2**10):
        handler.wfile.write(b"x" * 2**20)


#: How a receiver takes the first try of a callback.
MANNERS: Final[dict[str, Callable[[Any], None]]] = {
    "well": lambda handler: _answer(handler, 204),
    "failing": lambda handler: _answer(handler, 500),
    "busy": lambda handler: _answer(handler, 503, Retry_After="3"),
    "redirecting": lambda handler: _answer(handler, 302, Location="/elsewhere"),
    "gone": lambda handler: _answer(handler, 410),
    "hanging": _hang,
    "resetting": _reset,
    "trickling": _trickle,
    "flooding": _flood,
}

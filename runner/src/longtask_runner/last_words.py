"""Say how the program ends, just before it does: one small request, which nothing waits for long.

Nearly every task comes here at its end, and `http.client` takes longer to import than most of them
to run. So the request is written by hand; what goes by TLS pays for the import. Nothing here is
needed: without the report the end of the container decides.
"""

from __future__ import annotations

import _socket
import _thread
import time

from longtask_crds import runner_contract
from longtask_runner import log, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from longtask_runner import ending

#: How much later the program ends at most because of it: what the kubelet needs to tell of an end.
PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
#: How long a connection may take to be made. Where NetworkPolicies are enforced the first packets
#: of a new pod are dropped until its address is known, about a second after its start; the kernel
#: sends them again a second later.
_CONNECT_SECONDS = 0.2
_ANSWER_LIMIT = 1024
_PLAIN = "http://"
_Field = runner_contract.OutcomeField


def say(end: ending.Ending, *, url: str, token_file: str) -> None:
    """Report the end to the API's runner port; what fails is logged and is no error.

    Args:
        end: The end; a failure has a message.
        url: Of the runner port.
        token_file: Where the pod's token is.
    """
    body, until = _body(end), time.monotonic() + PATIENCE_SECONDS
    done = _thread.allocate_lock()
    done.acquire()
    trouble = ["it takes too long"]

    def work() -> None:
        try:
            trouble[:] = _tried(url, token_file, body, until)
        finally:
            done.release()

    try:
        # No thread that an exit waits for: to look a name up may take as long as it likes.
        _thread.start_new_thread(work, ())
    except RuntimeError as error:  # the container has as many as it may
        trouble[:] = [str(error)]
    else:
        done.acquire(True, PATIENCE_SECONDS)
    if trouble:
        log.line(f"how it ends was not reported, its end will tell: {trouble[0]}")


def _body(end: ending.Ending) -> bytes:
    if end.exit_code:
        said = {_Field.EXIT_CODE: end.exit_code, _Field.MESSAGE: end.output.decode()}
        return wire.dumps(said)
    # Its digits are as they were written already. An empty output says that it was sent before.
    result = b',"%s":%s' % (_Field.RESULT.encode(), end.output) if end.output else b""
    return b'{"%s":0%s}' % (_Field.EXIT_CODE.encode(), result)


def _tried(url: str, token_file: str, body: bytes, until: float) -> list[str]:
    """Report while there is time; return why it was not taken, or nothing."""
    while True:
        try:
            with open(token_file, "rb") as file:
                token = file.read().decode().strip()
            send = _send if url.startswith(_PLAIN) else _send_by_tls
            status = send(url, token, body, until)
        except (OSError, ValueError) as error:
            status, trouble = 0, f"{type(error).__name__}: {error}"
        else:
            if 200 <= status < 300:
                return []
            trouble = f"HTTP status {status}"
        may_pass = status == 0 or status >= 500
        if not may_pass or time.monotonic() + _PAUSE_SECONDS >= until:
            return [trouble]
        time.sleep(_PAUSE_SECONDS)


def _send(url: str, token: str, body: bytes, until: float) -> int:
    """Send the report; return the answer's status.

    Raises:
        OSError: There is no answer.
        ValueError: It is none of HTTP.
    """
    address, slash, prefix = url.removeprefix(_PLAIN).partition("/")
    path = f"{slash}{prefix}".rstrip("/") + runner_contract.OUTCOME_PATH
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    connection = _connected(address, until)
    try:
        connection.sendall(head.encode() + body)
        answer = b""
        while b"\r\n" not in answer and len(answer) < _ANSWER_LIMIT:
            piece = connection.recv(_ANSWER_LIMIT)
            if not piece:
                break
            answer += piece
    finally:
        connection.close()
    version, _, rest = answer.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("the answer is none of HTTP")
    return int(rest[:3])


def _connected(address: str, until: float) -> _socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, "80"
    # As bytes: for a text an encoding would be imported, and much with it.
    found = _socket.getaddrinfo(host.strip("[]").encode(), port, 0, _socket.SOCK_STREAM)
    family, kind, protocol, _, place = found[0]
    connection = _socket.socket(family, kind, protocol)
    try:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(place)
        connection.settimeout(max(until - time.monotonic(), _PAUSE_SECONDS))
    except OSError:
        connection.close()
        raise
    return connection


def _send_by_tls(url: str, token: str, body: bytes, until: float) -> int:
    import http.client
    import ssl
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.netloc,
        timeout=max(until - time.monotonic(), _PAUSE_SECONDS),
        context=ssl.create_default_context(),
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = parts.path.rstrip("/") + runner_contract.OUTCOME_PATH
    try:
        connection.request("POST", path, body=body, headers=headers)
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()

"""Talk to the API's port for running tasks: one small HTTP request each time.

Imported by the first report, or by a result that does not fit into the output file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import BinaryIO

from longtask_crds import runner_contract

TIMEOUT_SECONDS = 5.0
#: Of each step of a large result's way: the API answers when it is stored.
RESULT_TIMEOUT_SECONDS = 60.0
#: So long a new pod may be one that nobody has recorded yet; it takes about two seconds.
UNRECORDED_SECONDS = 10.0
_ANSWER_LIMIT = 64 * 1024
_PIECE = 64 * 1024


class NotTaken(Exception):
    """The API did not take it; `again` says whether it might later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class TooLarge(NotTaken):
    """The API keeps nothing of this size."""


class Clash(NotTaken):
    """It does not go with what the API knows of the pod's task."""


_KINDS: Mapping[int, type[NotTaken]] = {
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLarge,
    http.HTTPStatus.CONFLICT: Clash,
}


class RunnerPort:
    """The API's port for running tasks."""

    def __init__(
        self, *, url: str, token_file: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._token_file = token_file
        self._clock = clock
        self._known_at = clock() + UNRECORDED_SECONDS

    def report(self, fields: Mapping[str, object]) -> bool:
        """Send one report; return whether the task shall end.

        Raises:
            NotTaken: It was not taken.
        """
        body = json.dumps(fields).encode()
        path = runner_contract.PROGRESS_PATH
        answer = self._ask("POST", path, body, size=len(body), timeout=TIMEOUT_SECONDS)
        try:
            taken = json.loads(answer)
        except ValueError:
            return False  # it was taken; what it says is no answer of ours
        cancel = runner_contract.ProgressField.CANCEL_REQUESTED
        return isinstance(taken, dict) and taken.get(cancel) is True

    def get_task(self, wait: int) -> Mapping[str, object] | None:
        """Return the task that this pod was started ahead for; None if none came meanwhile.

        Args:
            wait: How many seconds the API may wait for one.

        Raises:
            Clash: Its task cannot be handed over any more.
            NotTaken: The question was not answered.
        """
        path = f"{runner_contract.TASK_PATH}?wait={wait}"
        answer = self._ask("GET", path, b"", size=0, timeout=wait + TIMEOUT_SECONDS, limit=None)
        try:
            return json.loads(answer) if answer else None
        except ValueError as error:
            raise NotTaken(f"the task is no JSON: {error}", again=True) from error

    def put_result(self, file: BinaryIO, size: int) -> None:
        """Send the result that the file holds from here on; the whole of it is never in memory.

        Raises:
            NotTaken: It was not taken.
        """
        path = runner_contract.RESULT_PATH
        self._ask("PUT", path, file, size=size, timeout=RESULT_TIMEOUT_SECONDS)

    def get_step_result(self, name: str, file: BinaryIO) -> int:
        """Write the result of an earlier step into the file; return its size in bytes.

        Raises:
            NotTaken: It did not come, or not all of it.
        """
        path = runner_contract.STEP_RESULT_PATH.format(name=name)
        size = 0

        def take(response: http.client.HTTPResponse) -> bytes:
            nonlocal size
            while piece := response.read(_PIECE):
                size += file.write(piece)
            # What is read in pieces is not missed by itself.
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return b""

        self._ask("GET", path, b"", size=0, timeout=RESULT_TIMEOUT_SECONDS, take=take)
        return size

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO,
        *,
        size: int,
        timeout: float,
        take: Callable[[http.client.HTTPResponse], bytes] | None = None,
        limit: int | None = _ANSWER_LIMIT,
    ) -> bytes:
        connection = self._connection(timeout)
        try:
            headers = {
                "Authorization": f"Bearer {self._token()}",
                "Content-Type": "application/json",
                "Content-Length": str(size),
            }
            # Whoever refuses a large body answers before it has come, and may hang up then.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, self._prefix + path, body=body, headers=headers)
            response = connection.getresponse()
            status = response.status
            is_good = 200 <= status < 300
            answer = take(response) if take and is_good else response.read(limit)
        except (OSError, http.client.HTTPException) as error:
            raise NotTaken(f"{type(error).__name__}: {error}", again=True) from error
        finally:
            connection.close()
        if not is_good:
            kind = _KINDS.get(status, NotTaken)
            said = _detail(answer)
            raise kind(f"HTTP status {status}{said and ': ' + said}", again=self._may_pass(status))
        # Who was known once and is refused is not new: its attempt is over.
        self._known_at = self._clock()
        return answer

    def _may_pass(self, status: int) -> bool:
        if status == http.HTTPStatus.CONFLICT:
            return self._clock() < self._known_at
        return status in (408, 429) or status >= 500

    def _token(self) -> str:
        # It rotates, so it is read each time.
        with open(self._token_file, encoding="ascii") as file:
            return file.read().strip()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(
                self._address, timeout=timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._address, timeout=timeout)


def _detail(answer: bytes) -> str:
    """Return what a problem (RFC 9457) says in words, or nothing."""
    with contextlib.suppress(ValueError):
        problem = json.loads(answer)
        if isinstance(problem, dict) and isinstance(detail := problem.get("detail"), str):
            return detail
    return ""

"""Tell the API of progress: one small HTTP request. Imported by the first report only."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping

from longtask_crds import runner_contract

TIMEOUT_SECONDS = 5.0
#: So long a new pod may be one that nobody has recorded yet; it takes about two seconds.
UNRECORDED_SECONDS = 10.0
_ANSWER_LIMIT = 64 * 1024


class NotReported(Exception):
    """The API did not take a report; `again` says whether it might later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


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
            NotReported: It was not taken.
        """
        try:
            status, answer = self._post(json.dumps(fields).encode())
        except (OSError, http.client.HTTPException) as error:
            raise NotReported(f"{type(error).__name__}: {error}", again=True) from error
        if not 200 <= status < 300:
            raise NotReported(f"HTTP status {status}", again=self._may_pass(status))
        # Who was known once and is refused is not new: its attempt is over.
        self._known_at = self._clock()
        try:
            taken = json.loads(answer)
        except ValueError:
            return False  # it was taken; what it says is no answer of ours
        cancel = runner_contract.ProgressField.CANCEL_REQUESTED
        return isinstance(taken, dict) and taken.get(cancel) is True

    def _may_pass(self, status: int) -> bool:
        if status == http.HTTPStatus.CONFLICT:
            return self._clock() < self._known_at
        return status in (408, 429) or status >= 500

    def _post(self, body: bytes) -> tuple[int, bytes]:
        # The token rotates, so it is read each time.
        with open(self._token_file, encoding="ascii") as file:
            token = file.read().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = self._connection()
        try:
            path = self._prefix + runner_contract.PROGRESS_PATH
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_ANSWER_LIMIT)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(
                self._address, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)

"""The door to results that the API keeps, for callbacks that carry them."""

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import aiohttp

from longtask_adapters.kube import errors
from longtask_crds import runner_contract, v1alpha1

#: Whoever waits here holds one of the places for sending.
_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
#: So long nobody asks an API that did not answer.
_PAUSE_SECONDS = 10.0
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError)


class Results(Protocol):
    """Hands out results."""

    async def fetch(self, task_uid: str, ref: v1alpha1.ResultRef) -> bytes | None:
        """Return a result of a task; None if it is not kept any more.

        Raises:
            Unavailable: It cannot be had for now.
        """


class ApiResults:
    """Asks the API's runner port for them."""

    def __init__(
        self, url: str, token_file: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask at a URL.

        Args:
            url: The runner port's, without a path.
            token_file: The token of our pod for it: read for each request, for it rotates.
            clock: Says seconds.
        """
        self._clock = clock
        self._away_until = -math.inf
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def fetch(self, task_uid: str, ref: v1alpha1.ResultRef) -> bytes | None:
        """Return a result of a task; None if it is not kept any more.

        Raises:
            Unavailable: The API is away, or its database.
        """
        if self._clock() < self._away_until:
            raise errors.Unavailable("the API did not hand over a result just now")
        try:
            token = self._token_file.read_text().strip()
            async with self._session.get(
                self._url + runner_contract.KEPT_RESULT_PATH.format(uid=task_uid),
                params={"sha256": ref.sha256},
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
            ) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise errors.Unavailable(f"the API keeps the result back: {answer.status}")
                content = await answer.read()
        except _FAILURES as error:
            self._away_until = self._clock() + _PAUSE_SECONDS
            raise errors.Unavailable(f"the API does not hand over the result: {error}") from error
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise errors.Unavailable("the API handed over another result")
        return content

"""The door to results that the API keeps: for callbacks that carry them, and for pipelines."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from longtask_adapters.kube import errors
from longtask_crds import runner_contract, v1alpha1
from longtask_crds.pipeline import inputs
from longtask_crds.v1alpha1 import Reason
from longtask_operator.rules import outcome, steps

#: Whoever waits here holds one of the places for sending.
_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
#: To look through a large result, or to make one of others, takes a while.
_PATIENCE = aiohttp.ClientTimeout(total=60, sock_connect=2)
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

    async def part(self, key: inputs.PartKey) -> inputs.Part:
        """Return a part of a result, or why there is none.

        Raises:
            Unavailable: It cannot be had for now.
        """

    async def make(
        self, task_uid: str, recipe: steps.Recipe
    ) -> v1alpha1.ResultRef | outcome.Outcome:
        """Have a result made and kept; or return how what brings it fails, for it cannot be made.

        Raises:
            Unavailable: It is not, for now.
        """


#: Why there is no part, by the API's answer.
_FLAWS = {
    404: "the result is not kept any more",
    413: f"it is larger than {runner_contract.PART_LIMIT} bytes",
    422: "there is no such part",
}
#: Why a result cannot be made.
_UNMADE = {
    404: (Reason.RESULT_NOT_DELIVERED, "a part of the result is not kept any more"),
    413: (Reason.RESULT_TOO_LARGE, "the result is larger than what is kept"),
    422: (Reason.INVALID_RESULT, "a part of the result is no JSON"),
}


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
        status, content = await self._ask("GET", task_uid, {"sha256": ref.sha256})
        if status == 404:
            return None
        if status != 200:
            raise errors.Unavailable(f"the API keeps the result back: {status}")
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise errors.Unavailable("the API handed over another result")
        return content

    async def part(self, key: inputs.PartKey) -> inputs.Part:
        """Return a part of a result, or why there is none.

        Raises:
            Unavailable: The API is away, or its database.
        """
        query = {"sha256": key.sha256, "pointer": key.pointer}
        status, content = await self._ask("GET", key.task_uid, query, within=_PATIENCE)
        if status in _FLAWS:
            return inputs.Part(flaw=_FLAWS[status])
        if status != 200:
            raise errors.Unavailable(f"the API keeps a part of a result back: {status}")
        return inputs.Part(json.loads(content))

    async def make(
        self, task_uid: str, recipe: steps.Recipe
    ) -> v1alpha1.ResultRef | outcome.Outcome:
        """Have a result made and kept; or return how what brings it fails, for it cannot be made.

        Raises:
            Unavailable: The API is away, or its database.
        """
        order = {
            "run": recipe.run,
            "attempt": recipe.attempt,
            "isList": recipe.is_list,
            "parts": [_ingredient(part) for part in recipe.parts],
        }
        status, content = await self._ask("PUT", task_uid, {}, order, within=_PATIENCE)
        if status in _UNMADE:
            return outcome.failed(*_UNMADE[status])
        if status != 200:
            raise errors.Unavailable(f"the API keeps no result: {status}")
        return v1alpha1.ResultRef.model_validate_json(content)

    async def _ask(
        self,
        method: str,
        task_uid: str,
        query: dict[str, str],
        order: dict[str, Any] | None = None,
        *,
        within: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> tuple[int, bytes]:
        """Return the status and the body of the API's answer.

        Raises:
            Unavailable: There is none.
        """
        if self._clock() < self._away_until:
            raise errors.Unavailable("the API did not answer just now")
        try:
            token = self._token_file.read_text().strip()
            async with self._session.request(
                method,
                self._url + runner_contract.KEPT_RESULT_PATH.format(uid=task_uid),
                params=query,
                json=order,
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
                timeout=within,
            ) as answer:
                return answer.status, await answer.read()
        except _FAILURES as error:
            if within is _TIMEOUT or not isinstance(error, TimeoutError):
                self._away_until = self._clock() + _PAUSE_SECONDS
            raise errors.Unavailable(f"the API does not hand over the result: {error}") from error


def _ingredient(part: v1alpha1.Result) -> dict[str, Any]:
    """Return a part of what is to be made, as the API is told of it."""
    if part.ref is None:
        return {"value": part.value} | ({"mediaType": part.media_type} if part.media_type else {})
    told = {"sha256": part.ref.sha256, "taskUid": part.ref.task_uid}
    return {name: word for name, word in told.items() if word}

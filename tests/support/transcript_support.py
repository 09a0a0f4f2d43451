"""Transcripts in pages: what is typed, what happens meanwhile, and what is shown.

A block of `console` has lines `$ …` and below each what is printed. `…` stands for anything in a
line. Between blocks a comment says what becomes of a task meanwhile: `<!-- NAME: {status} -->`; or
of a schedule, `<!-- schedule NAME: {status} -->`; or that there is a run of it,
`<!-- run NAME: {status} -->`.
"""

import asyncio
import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import yaml

from api_support import UNLIMITED
from longtask_adapters.kube import kinds
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings, wiring
from longtask_crds import names
from longtask_crds.schedule import runs
from longtask_crds.testing import NOW
from stream_support import serving

_PART = re.compile(
    r"^```console\n(.*?)^```$|^<!-- (?:(schedule|run) )?([\w-]+): (\{.*?\}) -->$", re.M | re.S
)


@dataclasses.dataclass(frozen=True)
class Typed:
    """A command, and what the page says that it prints."""

    line: str
    shown: str


@dataclasses.dataclass(frozen=True)
class Meanwhile:
    """What becomes of a task, a schedule, or a run."""

    what: str  #: empty for a task
    name: str
    status: dict[str, Any]


def parts(page: str) -> Iterator[Typed | Meanwhile]:
    """Yield what happens in a page, in its order."""
    for found in _PART.finditer(page):
        if found[1] is None:
            yield Meanwhile(found[2] or "", found[3], yaml.safe_load(found[4]))
            continue
        for one in re.split(r"^\$ ", found[1], flags=re.M)[1:]:
            line, _, shown = one.partition("\n")
            yield Typed(line, shown)


def fits(shown: str, pattern: str) -> bool:
    """Tell whether what was shown is what the page says."""
    return re.fullmatch(re.escape(pattern).replace("…", ".*"), shown) is not None


class Installation(httpx.BaseTransport):
    """The real API on a port of its own, with a Kubernetes in memory, in a thread of its own."""

    def __init__(
        self, kubernetes: MemoryKubernetes, configured: settings.Settings, **parts: Any
    ) -> None:
        """Make one that does not run yet; parts take the place of usual ones."""
        self.kubernetes = kubernetes
        self._configured = configured.model_copy(update=UNLIMITED)
        self._parts = parts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._open = contextlib.AsyncExitStack()
        self._http = httpx.HTTPTransport()

    def __enter__(self) -> "Installation":
        self._thread.start()
        self._run(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Let the API answer."""
        asked = request.url.copy_with(scheme="http", host=self.at.host, port=self.at.port)
        return self._http.handle_request(
            httpx.Request(
                request.method,
                asked,
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    def happen(self, then: Meanwhile) -> None:
        """Let something become of a task, and the API hear of it."""
        self._run(self._happen(then))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=120)

    async def _begin(self) -> None:
        running = wiring.running(
            self.kubernetes,
            self._configured,
            clock=lambda: NOW,
            start_patience=0.05,
            **self._parts,
        )
        self._services = await self._open.enter_async_context(running)
        await self._services.health.synced()
        self.at = httpx.URL(await self._open.enter_async_context(serving(self._services)))

    def _begin_run(self, name: str) -> None:
        """Make the task of a run, as the operator would."""
        schedule, _, seconds = name.rpartition("-")
        made = kinds.SCHEDULES.read(self.kubernetes.stored(names.LONGTASKSCHEDULES, schedule))
        at = datetime.fromtimestamp(int(seconds, 16), UTC)
        body = runs.task_of(made, at, number=1)
        self.kubernetes.put(names.LONGTASKS, name, metadata=body["metadata"], spec=body["spec"])

    async def _happen(self, then: Meanwhile) -> None:
        plural = names.LONGTASKSCHEDULES if then.what == "schedule" else names.LONGTASKS
        if then.what == "run":
            self._begin_run(then.name)
        before = self.kubernetes.stored(plural, then.name)
        seen = {"observedGeneration": before["metadata"]["generation"]}
        status = {**before.get("status", {}), **seen, **then.status}
        self.kubernetes.put(plural, then.name, status=status)
        version = self.kubernetes.version
        self.kubernetes.bookmark()
        await self._services.health.reach({names.LONGTASKS: version, plural: version})

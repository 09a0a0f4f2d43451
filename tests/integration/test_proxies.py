"""Streams through the proxies that people have in front of the API, as they come."""

import asyncio
import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from api_support import TOKEN, eventually, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_client import models
from longtask_crds import events, names
from stream_support import Api, Listener, an_api, listening, put_ended, put_started, talking, told

#: Between a change and its arrival, beside other work on the machine; a proxy that keeps something
#: back does so until its buffer is full, or the stream over.
SOON = 5.0

_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }}
}}
"""


def nginx(folder: Path, port: int, url: str) -> list[str]:
    """Return the command of an nginx that is told nothing of streams."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "No nginx: `make proxies` installs it."
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, url=url))
    return [program, "-c", str(file), "-e", str(folder / "error.log")]


def traefik(folder: Path, port: int, url: str) -> list[str]:
    """Return the command of a Traefik that is told nothing of streams."""
    http = {
        "routers": {"api": {"rule": "PathPrefix(`/`)", "service": "api", "entryPoints": ["web"]}},
        "services": {"api": {"loadBalancer": {"servers": [{"url": url}]}}},
    }
    # YAML is what it reads, and JSON is YAML.
    file = folder / "routes.yml"
    file.write_text(json.dumps({"http": http}))
    program = shutil.which("traefik", path=str(Path(sys.executable).parent))
    assert program
    return [
        program,
        f"--entrypoints.web.address=127.0.0.1:{port}",
        f"--providers.file.filename={file}",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]


Command = Callable[[Path, int, str], list[str]]


def a_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Proxy:
    """A proxy that can be stopped and started."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{port}"

    async def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=quiet, stderr=quiet
        )
        async with httpx.AsyncClient() as http:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"{self.url}/healthz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError("the proxy does not come up")

    async def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()


@pytest.fixture
def kubernetes() -> MemoryKubernetes:
    made = MemoryKubernetes()
    made.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    return made


@pytest.fixture
def configured(tmp_path: Path) -> settings.Settings:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    return settings.Settings(token_file=token_file, data_directory=tmp_path)


@pytest.fixture(params=[nginx, traefik])
def command(request: pytest.FixtureRequest) -> Command:
    found: Command = request.param
    return found


@contextlib.asynccontextmanager
async def through(
    command: Command, folder: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> AsyncIterator[tuple[Api, Proxy]]:
    """Serve the API behind a proxy; whoever talks to it goes through that."""
    async with an_api(kubernetes, configured) as api:
        port = a_port()
        proxy = Proxy(command(folder, port, str(api.http.base_url)), port)
        await proxy.start()
        try:
            async with talking(proxy.url) as http:
                yield api._replace(http=http), proxy
        finally:
            await proxy.stop()


async def test_each_change_arrives_as_it_happens(
    command: Command, tmp_path: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with through(command, tmp_path, kubernetes, configured) as (api, _):
        put_started(kubernetes)
        await api.knows(kubernetes)
        one, many = api.of_task(), api.of_tasks()
        async with listening(one) as stream, listening(many):
            await eventually(told(one, "status"))
            for percent in range(5):
                began = time.monotonic()
                put_started(kubernetes, progress={"percent": percent})
                await eventually(told(one, *["progress"] * (percent + 1)))
                await eventually(told(many, *["progress"] * (percent + 1)))
                assert time.monotonic() - began < SOON
                assert not stream.done()
            put_ended(kubernetes)
            assert await stream == 200
        assert one.names()[-1] == "result"


async def test_a_proxy_that_is_restarted_costs_nothing_and_doubles_nothing(
    command: Command, tmp_path: Path, kubernetes: MemoryKubernetes, configured: settings.Settings
) -> None:
    async with through(command, tmp_path, kubernetes, configured) as (api, proxy):
        put_task(kubernetes)
        await api.knows(kubernetes)
        one, many = api.of_task(), api.of_tasks()
        many.subscription.last_id = str(api.services.hub.position)

        async def listen(listener: Listener, until: Callable[[], bool]) -> None:
            while not until():
                with contextlib.suppress(httpx.HTTPError, TimeoutError):
                    async with asyncio.timeout(random.uniform(0.05, 0.5)):
                        await listener.listen()

        def has_ended() -> bool:
            return any(
                isinstance(each.data, models.TaskView) and each.data.phase.is_terminal
                for each in many.told
            )

        listeners = [
            asyncio.create_task(listen(one, lambda: one.subscription.is_over)),
            asyncio.create_task(listen(many, has_ended)),
        ]
        for round_ in range(3):
            for percent in range(10):
                put_started(kubernetes, progress={"percent": 10 * round_ + percent})
                await asyncio.sleep(0.02)
            await proxy.stop()
            await proxy.start()
        put_ended(kubernetes)
        async with asyncio.timeout(30):
            await asyncio.gather(*listeners)
    happened = [each.data for each in one.told if isinstance(each.data, events.Event)]
    assert [event.type for event in happened] == ["queued", "started", "succeeded"]
    assert len({each.id for each in one.told}) == len(one.told)
    versions = [int(each.id) for each in many.told]
    assert versions == sorted(set(versions))

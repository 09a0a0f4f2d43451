"""The proxies that people have in front of the API, as they come."""

import asyncio
import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

#: Of root, its workers would be nobody's, who may write nothing into a folder of the tests: what a
#: slow client does not take at once would be lost.
_NGINX = """
user root; daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location {prefix}/ {{ proxy_pass {url}; }} }}
}}
"""


#: Which ports the kernel gives to whoever asks for any, or connects somewhere.
_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def nginx(folder: Path, port: int, url: str, prefix: str = "") -> list[str]:
    """Return the command of an nginx that is told nothing of streams."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "No nginx: `make proxies` installs it."
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, url=url, prefix=prefix))
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


def a_port(address: str = "127.0.0.1") -> int:
    """Return a free port that nobody is given who asks for any, before it is used or afterwards."""
    first, last = map(int, _GIVEN_OUT.read_text().split())
    for port in random.sample([*range(10_000, first), *range(last + 1, 65_536)], 1_000):
        with contextlib.suppress(OSError), socket.create_server((address, port)):
            return port
    raise AssertionError("all ports are taken")


class Proxy:
    """A proxy that can be stopped and started."""

    def __init__(self, command: list[str], port: int, prefix: str = "") -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{port}{prefix}"

    async def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=quiet, stderr=quiet
        )
        async with httpx.AsyncClient() as http:
            until = time.monotonic() + 120
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

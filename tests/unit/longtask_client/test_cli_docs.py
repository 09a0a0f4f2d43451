"""The page about the command: each command in it is run, and prints what the page says."""

import contextlib
import shlex
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api_support import TOKEN, put_pod
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_client import client
from longtask_client.cli import program
from longtask_client.cli.output import phrases
from longtask_crds import names
from longtask_crds.testing import NOW
from transcript_support import Installation, Typed, fits, parts

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/cli.md"
URL = "https://longtask.example.com"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "token").write_text(TOKEN)
    kubernetes = MemoryKubernetes()
    kubernetes.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    described = {
        "fibonacci": ("The n-th Fibonacci number", {"n": {"type": "integer"}}),
        "sleep": ("Does nothing for a while", {"seconds": {"type": "number"}}),
    }
    for name, (description, properties) in described.items():
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        spec = {"description": description, "inputSchema": schema}
        kubernetes.put(names.LONGTASKTYPES, name, spec=spec)
    put_pod(kubernetes, "report-1-x", task="report", job="report-1", phase="Succeeded")
    kubernetes.logs["report-1-x"] = [b"28 of 30\n", b"29 of 30\n", b"30 of 30\n"]
    configured = settings.Settings(
        token_file=tmp_path / "token", data_directory=tmp_path, registration="open"
    )
    with Installation(kubernetes, configured) as running:
        yield running


def piped_in(file: str) -> str:
    """Return what comes by standard input: a file of ours, or the page's password."""
    return "correct horse battery\n" if file == "password" else Path(file).read_text()


def test_every_command_of_the_page_prints_what_the_page_says(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTASK_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(phrases, "now", lambda: NOW + timedelta(minutes=1))
    monkeypatch.chdir(ROOT)
    environment = {"LONGTASK_URL": URL, "LONGTASK_TOKEN": TOKEN, "LONGTASK_CONTEXT": None}

    @contextlib.asynccontextmanager
    async def reached(kubeconfig: Path) -> AsyncIterator[MemoryKubernetes]:
        yield installation.kubernetes

    monkeypatch.setattr(KubernetesTransport, "connect", reached)

    def connect(url: str, token: str | None) -> client.Client:
        return client.Client(url, token, transport=installation, sleep=lambda _: None)

    told = list(parts(PAGE.read_text(encoding="utf-8")))
    assert sum(isinstance(part, Typed) for part in told) > 20
    for part in told:
        if not isinstance(part, Typed):
            installation.happen(part)
            continue
        line, _, piped = part.line.partition(" < ")
        command, *words = shlex.split(line, comments=True)
        assert command == "longtask"
        ended = CliRunner().invoke(
            program.app,
            words,
            obj=connect,
            env=environment,
            input=piped_in(piped) if piped else None,
            prog_name="longtask",
        )
        lines = "".join(f"{line.rstrip()}\n" for line in ended.output.splitlines())
        assert fits(lines, part.shown), f"$ {part.line}\n{lines}"

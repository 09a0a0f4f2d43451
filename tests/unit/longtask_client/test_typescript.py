"""A client in TypeScript, made of what the API says of itself, compiles."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from api_support import TOKEN
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/typescript"


async def description(folder: Path) -> str:
    (folder / "token").write_text(TOKEN)
    configured = settings.Settings(token_file=folder / "token", data_directory=folder)
    async with wiring.running(MemoryKubernetes(), configured, start_patience=0.05) as services:
        return json.dumps(app.for_users(services).openapi())


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm")
async def test_the_example_compiles_against_the_apis_description(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "openapi.json").write_text(await description(tmp_path))
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    for words in (install, ["npm", "run", "generate"], ["npm", "run", "check"]):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)  # noqa: ASYNC221 - nothing else runs here
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (EXAMPLE / "package-lock.json").read_text()

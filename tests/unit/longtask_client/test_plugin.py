"""The command as kubectl's plugin: found and run by kubectl, and what Krew needs to install it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

CLIENT = Path(__file__).resolve().parents[3] / "client"
PLUGIN = "kubectl-longtask"
#: What kubectl does with a word that it does not know.
STAND_IN = """#!/bin/sh
plugin="kubectl-$1"
shift
exec "$plugin" "$@"
"""


@pytest.fixture(params=["kubectl", "a-stand-in"])
def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return kubectl, and what does the same where there is none."""
    if request.param == "kubectl":
        found = shutil.which("kubectl")
        if found is None:
            pytest.skip("there is no kubectl here")
        return found
    made = tmp_path / "kubectl"
    made.write_text(STAND_IN)
    made.chmod(0o755)
    return str(made)


def run(*command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command by somebody who has the plugin on their PATH."""
    plugins = Path(sys.executable).parent
    assert (plugins / PLUGIN).is_file()
    path = f"{plugins}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(folder), "KUBECONFIG": ""}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_kubectl_runs_it_and_it_speaks_of_itself_as_it_was_called(
    kubectl: str, tmp_path: Path
) -> None:
    told = run(kubectl, "longtask", "--help", folder=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.split("\n")[0].strip().startswith("Usage: kubectl longtask [OPTIONS]")
    # Words and the exit code go through.
    wrong = run(kubectl, "longtask", "get", folder=tmp_path)
    assert wrong.returncode == 2
    assert "Usage: kubectl longtask get [OPTIONS] " in wrong.stderr


def test_by_itself_it_goes_by_its_own_name(tmp_path: Path) -> None:
    told = run("longtask", "get", "--help", folder=tmp_path)
    assert told.stdout.strip().startswith("Usage: longtask get [OPTIONS] ")


def test_what_completes_it_in_a_shell_leaves_kubectl_alone(kubectl: str, tmp_path: Path) -> None:
    told = run(kubectl, "longtask", "--show-completion", "bash", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.rstrip().endswith(" longtask")
    assert "kubectl" not in told.stdout


# --- Krew


def filled_in(template: str) -> Any:
    """Return the manifest as a release has it."""
    values = {"VERSION": "v1.2.3", "HOMEPAGE": "https://longtask.example.com"}
    template = re.sub(r"\bSHA256_\w+", "ab" * 32, template)
    template = re.sub(r"\bURI_(\w+)", r"https://longtask.example.com/\1.tar.gz", template)
    for word, value in values.items():
        template = re.sub(rf"\b{word}\b", value, template)
    return yaml.safe_load(template)


def test_krew_takes_the_manifest_once_it_is_filled_in() -> None:
    """What `krew` validates a manifest for: pkg/index/validation of its sources."""
    text = (CLIENT / "krew/longtask.yaml").read_text(encoding="utf-8")
    manifest = filled_in("".join(line for line in text.splitlines(True) if line[0] != "#"))
    assert manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert manifest["kind"] == "Plugin"
    # The name is the file's, and what stands behind kubectl.
    assert manifest["metadata"]["name"] == "longtask" == PLUGIN.removeprefix("kubectl-")
    spec = manifest["spec"]
    assert re.fullmatch(r"v\d+\.\d+\.\d+", spec["version"])
    assert spec["shortDescription"]
    assert len(spec["shortDescription"].splitlines()) == 1
    assert len(spec["platforms"]) > 1
    for platform in spec["platforms"]:
        assert set(platform["selector"]["matchLabels"]) == {"os", "arch"}
        assert platform["uri"].startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{64}", platform["sha256"])
    assert len({str(one["selector"]) for one in spec["platforms"]}) == len(spec["platforms"])
    assert len({one["uri"] for one in spec["platforms"]}) == len(spec["platforms"])


def test_what_krew_runs_is_an_entry_point() -> None:
    manifest = yaml.safe_load((CLIENT / "krew/longtask.yaml").read_text(encoding="utf-8"))
    scripts = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {one["bin"] for one in manifest["spec"]["platforms"]} == {PLUGIN}
    assert scripts[PLUGIN] == scripts["longtask"]

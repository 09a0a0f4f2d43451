"""What people work with beside the code says what is true of it."""

import base64
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from longtask_localcluster import dev

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "examples" / "bruno"
TASKS: list[dict[str, Any]] = json.loads((ROOT / ".vscode" / "tasks.json").read_text())["tasks"]
LAUNCH: list[dict[str, Any]] = json.loads((ROOT / ".vscode" / "launch.json").read_text())[
    "configurations"
]
STATE = dev.STATE
CONTAINER: dict[str, Any] = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", COLLECTION / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_collection_is_made_of_the_description() -> None:
    """After a change of the API: `make collection`."""
    made = generator()
    there = {
        str(path.relative_to(COLLECTION)): path.read_text()
        for path in COLLECTION.rglob("*")
        if path.suffix in {".bru", ".json"}
    }
    assert there == made.files(await made.description())


def test_what_is_run_by_make_is_a_target() -> None:
    targets = re.findall(r"^([a-z-]+|\$\([A-Z]+\)):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [str(task.get("command")) for task in TASKS]
    commands += [CONTAINER["postStartCommand"]]
    asked = [name for command in commands for name in re.findall(r"\bmake ([a-z-]+)", command)]
    assert set(asked) >= {"up", "dev", "verify"}
    assert set(asked) <= set(targets)


def test_what_unit_tests_skip_without_is_installed_where_every_test_is_run() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installed = re.search(r"^others:.*\n\t@which ([a-z ]+) >", makefile, re.MULTILINE)
    assert installed is not None
    assert re.search(r"^test:.*\bothers\b", makefile, re.MULTILINE)
    asked = {
        name
        for path in (ROOT / "tests" / "unit").rglob("*.py")
        for name in re.findall(r'skipif\(shutil\.which\("([a-z]+)"\) is None', path.read_text())
    }
    assert asked == set(installed[1].split())


@pytest.mark.parametrize("launch", LAUNCH, ids=lambda launch: str(launch["name"]))
def test_a_debugger_gets_what_the_part_would_get(launch: dict[str, Any]) -> None:
    (part,) = (one for one in dev.PARTS if one.module == launch["module"])
    variables = launch["envFile"].replace("${workspaceFolder}", str(ROOT))
    assert variables == str(STATE / f"{part.name}.env")
    (before,) = (task for task in TASKS if task["label"] == launch["preLaunchTask"])
    assert before["command"] == f"make dev WITHOUT={part.name}"
    assert launch["postDebugTask"] in {task["label"] for task in TASKS}


@pytest.mark.parametrize("launch", LAUNCH, ids=lambda launch: str(launch["name"]))
def test_what_a_debugger_starts_is_a_program_of_ours_that_reads_its_variables(
    launch: dict[str, Any],
) -> None:
    assert (launch["type"], launch["request"]) == ("debugpy", "launch")
    assert importlib.util.find_spec(f"{launch['module']}.__main__") is not None
    # With variables that are none of its own it says so, and ends before it asks anybody.
    nonsense = {"LONGTASK_METRICS_PORT": "none", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", launch["module"]],
        env=nonsense,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode != 0
    assert "metrics_port" in done.stderr.lower()


@pytest.mark.parametrize("name", ["api", "operator"])
def test_the_variables_of_a_debugger_are_settings(name: str) -> None:
    container = {"env": [{"name": "LONGTASK_NAMESPACE", "value": "longtasks"}]}
    pod = {"containers": [container], "serviceAccountName": "a"}
    deployment = {"spec": {"template": {"spec": pod}}}
    (part,) = (one for one in dev.PARTS if one.name == name)
    written = dev.told(part, deployment, FakeKubectl(), "10.0.0.1")  # type: ignore[arg-type]
    settings = importlib.import_module(f"{part.module}.settings")
    known = {f"LONGTASK_{field.upper()}" for field in settings.Settings.model_fields}
    assert {variable for variable in written if variable != "KUBECONFIG"} <= known


class FakeKubectl:
    """Says what `make dev` asks of the cluster."""

    def run(self, *words: str) -> str:
        config = {"contexts": [{"context": {"user": "u", "cluster": "c"}}], "clusters": []}
        return json.dumps(config) if words[0] == "config" else "a-token"

    def get(self, *_: str) -> dict[str, Any]:
        return {"data": {"token": base64.b64encode(b"a-token").decode()}}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what `make dev` writes away from the checkout."""
    monkeypatch.setattr(dev, "STATE", tmp_path)
    return tmp_path


def test_a_container_has_what_make_needs_and_its_commands_are_targets() -> None:
    lines = (ROOT / ".devcontainer" / CONTAINER["build"]["dockerfile"]).read_text()
    assert re.search(r"^FROM debian:\w+$", lines, re.MULTILINE)
    assert {"git", "make", "python3", "python3-venv", "ca-certificates"} <= set(lines.split())
    target = CONTAINER["postCreateCommand"].removeprefix("make ")
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    python = CONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python == f"${{containerWorkspaceFolder}}/{Path(target).parent}/bin/python"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param("crds/src/longtask_crds/names.py", {"api", "operator"}, id="both"),
        pytest.param("api/src/longtask_api/app.py", {"api"}, id="the-api"),
        pytest.param("operator/src/longtask_operator/mirror.py", {"operator"}, id="the-operator"),
        pytest.param("runner/src/longtask_runner/main.py", set(), id="neither"),
    ],
)
def test_a_change_concerns_what_is_made_of_it(path: str, parts: set[str]) -> None:
    concerned = {part.name for part in dev.PARTS if part.is_made_of(dev.REPOSITORY / path)}
    assert concerned == parts

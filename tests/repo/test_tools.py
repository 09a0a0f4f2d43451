"""What people work with beside the code says what is true of it."""

import importlib.util
import json
import re
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


@pytest.mark.parametrize("launch", LAUNCH, ids=lambda launch: str(launch["name"]))
def test_a_debugger_gets_what_the_part_would_get(launch: dict[str, Any]) -> None:
    (part,) = (one for one in dev.PARTS if one.module == launch["module"])
    variables = launch["envFile"].replace("${workspaceFolder}", str(ROOT))
    assert variables == str(dev.STATE / f"{part.name}.env")
    (before,) = (task for task in TASKS if task["label"] == launch["preLaunchTask"])
    assert before["command"] == f"make dev WITHOUT={part.name}"
    assert launch["postDebugTask"] in {task["label"] for task in TASKS}


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

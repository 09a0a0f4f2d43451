"""The CustomResourceDefinitions in the tree are those that the models say."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longtask_crds import names
from longtask_crds.definitions import custom_resources, generate
from longtask_crds.definitions.facts import CrdFacts

ROOT = Path(__file__).parents[3]
FOLDERS = [ROOT / "crds", ROOT / "charts/longtask/crds"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_files_are_as_the_models_say(folder: Path) -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    assert stored == generate.files()


def test_what_is_written_is_fresh_and_what_was_changed_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / "new"

    def run(*arguments: str) -> tuple[int, str]:
        command = [
            sys.executable,
            "-m",
            "longtask_crds.definitions.generate",
            str(folder),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("--check")[0] == 1
    assert not folder.exists(), "a check writes nothing"
    assert run()[0] == 0
    changed = folder / "longtasks.yaml"
    changed.write_text(changed.read_text() + "# by hand\n")
    assert run("--check") == (1, f"stale: {changed}\n")


@pytest.mark.parametrize("name", generate.files())
def test_a_file_says_all_and_no_anchor(name: str) -> None:
    text = generate.files()[name]
    crd = yaml.safe_load(text)
    assert text.startswith("# Made by")
    assert "&id" not in text
    assert crd["metadata"]["name"] == f"{name.removesuffix('.yaml')}.{names.GROUP}"


@pytest.mark.parametrize("facts", custom_resources.ALL, ids=lambda facts: facts.plural)
def test_making_a_definition_changes_nothing(facts: CrdFacts) -> None:
    first = custom_resources.custom_resource_definition(facts)
    kept = copy.deepcopy(first)
    assert custom_resources.custom_resource_definition(facts) == kept

"""Laws of the repository that a glance can miss."""

import subprocess
import sys
from pathlib import Path

import pytest

from longtask_crds import delivery, v1alpha1

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "folder", ["operator", "api", "runner", "crds", "client", "adapters", "tests"]
)
def test_a_top_level_folder_is_a_project_never_a_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    assert not (ROOT / f"{folder}.py").exists()


def test_the_standard_operator_module_is_found_from_the_root() -> None:
    code = "import operator, collections; print(operator.add(1, 2), operator.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    answer, path = done.stdout.split()
    assert answer == "3"
    assert not Path(path).is_relative_to(ROOT / "operator")


def test_no_test_folder_is_a_package() -> None:
    assert not [path for path in tracked() if path.startswith("tests/") and "__init__" in path]


def test_the_lock_names_no_registry() -> None:
    assert "http" not in {
        word.split(":")[0] for word in (ROOT / "requirements.lock").read_text().split()
    }
    assert "uv.lock" not in tracked()


def test_the_makefile_lists_each_target_with_a_line() -> None:
    done = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    wanted = (
        "help up down status demo test unit integration e2e verify generate images format lint "
        "typecheck imports bench"
    )
    assert listed >= set(wanted.split(" "))


def test_every_reason_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "reasons.md").read_text()
    words = [*v1alpha1.Reason, *delivery.Problem]
    assert [word for word in words if f"`{word}`" not in text] == []

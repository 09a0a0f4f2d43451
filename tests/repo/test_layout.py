"""Laws of the repository that a glance can miss."""

import re
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
    # At the head of a line of a table: a word that others are explained with is not explained.
    words = {*v1alpha1.Reason, *delivery.Problem, *v1alpha1.EventReason}
    assert words - set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set()


#: A link to a file of ours, and a path that leaves out what each folder repeats: `api/…/routes`.
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
SHORT_PATH = re.compile(r"`(\w+/…/[\w/.]+)`")


@pytest.mark.parametrize("page", [path for path in tracked() if path.endswith(".md")])
def test_what_a_page_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [
        link for link in LINK.findall(text) if not (ROOT / page).parent.joinpath(link).exists()
    ]
    files = tracked()
    short = [
        path
        for path in SHORT_PATH.findall(text)
        if not any(re.match(re.escape(path).replace("…", ".*") + r"(\.py|/|$)", f) for f in files)
    ]
    assert links + short == []

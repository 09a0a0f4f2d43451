"""Mutate what decides, one small change at a time, and count what the unit tests notice.

    python tests/mutation/run_mutants.py [crds/delivery …] [--write docs/mutation.md]

mutmut makes the mutants, and runs for each only the tests that come past it. It knows a project in
one folder, so each part gets one: a copy of its sources, its unit tests and their support. Left out
are the searches of states: they would notice more, each in half a minute.
"""

import argparse
import collections
import dataclasses
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mutation_table

ROOT: Final = Path(__file__).resolve().parents[2]
_KEPT: Final = ROOT / ".mutants"
_SEARCHES: Final = ("test_model.py", "test_machine.py", "test_rendered_pods.py")
#: What hypothesis tries is the same each time, and little of it.
_PROFILE: Final = """
from hypothesis import settings
settings.register_profile(
    "mutants", max_examples=25, derandomize=True, deadline=None, database=None
)
"""


@dataclasses.dataclass(frozen=True)
class Part:
    """A project of the workspace, and what of it decides."""

    folder: str
    modules: tuple[str, ...]

    @property
    def package(self) -> str:
        return f"longtask_{self.folder}"


PARTS: Final = (
    Part(
        "crds",
        (
            "acceptance",
            "delivery",
            "effective",
            "events",
            "forecast",
            "json_values",
            "names",
            "queueing",
            "signing_keys",
        ),
    ),
    Part(
        "operator",
        tuple(
            f"rules/{path.stem}"
            for path in sorted((ROOT / "operator/src/longtask_operator/rules").glob("[a-z]*.py"))
        ),
    ),
)


def lay_out(part: Part, modules: Sequence[str]) -> Path:
    """Make the folder that mutmut is run in."""
    folder, tests = _KEPT / part.folder, Path("tests/unit") / part.package
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / part.folder / "src", folder / "src")
    shutil.copytree(ROOT / "tests/support", folder / "tests/support")
    shutil.copytree(
        ROOT / tests, folder / tests, ignore=shutil.ignore_patterns(*_SEARCHES, "test_generate.py")
    )
    (folder / "tests/conftest.py").write_text(_PROFILE)
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    settings = {
        "pytest.ini_options": ours,
        "mutmut": {
            "source_paths": ["src"],
            "only_mutate": [f"src/{part.package}/{module}.py" for module in modules],
            "pytest_add_cli_args": ["--hypothesis-profile=mutants"],
            "pytest_add_cli_args_test_selection": [str(tests)],
            "timeout_constant": 5.0,
        },
    }
    (folder / "pyproject.toml").write_text(_toml(settings))
    return folder


def _toml(tools: Mapping[str, Mapping[str, Any]]) -> str:
    # Of strings, lists, numbers and truths, TOML writes the values as JSON does.
    return "\n".join(
        line
        for tool, settings in tools.items()
        for line in (
            f"[tool.{tool}]",
            *(f"{key} = {json.dumps(value)}" for key, value in settings.items()),
        )
    )


def run(part: Part, modules: Sequence[str], children: int) -> dict[str, dict[str, str]]:
    """Return what became of each mutant, by module."""
    folder = lay_out(part, modules)
    with (folder / "log").open("w") as log:
        subprocess.run(
            [_mutmut(), "run", f"--max-children={children}"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    told = subprocess.run(
        [_mutmut(), "results", "--all", "true"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    ends: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for line in told.stdout.splitlines():
        mutant, _, end = line.strip().rpartition(": ")
        if mutant:
            module = mutant.rpartition(".")[0].removeprefix(f"{part.package}.").replace(".", "/")
            ends[f"{part.folder}/{module}"][mutant] = end
    return ends


def _mutmut() -> str:
    return str(Path(sys.executable).with_name("mutmut"))


def main(words: Sequence[str] | None = None) -> int:
    """Mutate the modules that are named, or all; tell whether enough was noticed."""
    known = [f"{part.folder}/{module}" for part in PARTS for module in part.modules]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as operator/rules/retry")
    parser.add_argument("--children", type=int, default=2, help="how many run at a time")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table into it")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.modules) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}")
    wanted = arguments.modules or known
    ends: dict[str, dict[str, str]] = {}
    for part in PARTS:
        if modules := [one for one in part.modules if f"{part.folder}/{one}" in wanted]:
            ends |= run(part, modules, arguments.children)
    counts = [mutation_table.Count.of(module, ends[module]) for module in known if module in ends]
    for module, of_module in ends.items():
        for mutant, end in of_module.items():
            if end not in mutation_table.NOTICED:
                print(f"{end}: cd .mutants/{module.partition('/')[0]} && mutmut show {mutant}")
    table = mutation_table.rendered(counts, day=datetime.now(UTC).date())
    print(table)
    if arguments.write:
        text = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(mutation_table.written(text, table), encoding="utf-8")
    return 0 if all(count.is_enough for count in counts) else 1


if __name__ == "__main__":
    sys.exit(main())

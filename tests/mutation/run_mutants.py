"""Mutate what decides, one small change at a time, and count what the unit tests notice.

    python tests/mutation/run_mutants.py [crds/delivery …] [--write docs/reliability.md]

mutmut makes the mutants, and runs for each only the tests that come past it. It knows a project in
one folder, so each part gets one: a copy of its sources, its unit tests and their support. Left out
are the searches of states: they would notice more, each in half a minute. Of a module with many
mutants a sample is tried.
"""

import argparse
import collections
import dataclasses
import json
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import marked_text
import mutation_table
from mutation_table import Count

ROOT: Final = Path(__file__).resolve().parents[2]
_KEPT: Final = ROOT / ".mutants"
#: The searches of states, what reads files that are not copied, and what tests none of them.
_LEFT_OUT: Final = (
    *(
        "test_model.py",
        "test_model_warm.py",
        "test_machine.py",
        "test_rendered_pods.py",
        "test_generate.py",
    ),
    *(
        "test_pipeline_examples.py",
        "test_readable.py",
        "test_work_queue.py",
        "test_election.py",
    ),
)
#: Single tests that would take seconds for each mutant that comes past them.
_TOO_LONG: Final = (
    *("a_resync_costs_nothing", "claims_that_never_got_their_job", "nothing_is_smuggled"),
    "what_takes_too_much_is_refused",
)
#: By which a sample is chosen: the same one as long as the sources are the same.
SEED: Final = 1
#: What hypothesis tries is the same each time, and little of it, whatever a test says for itself;
#: and it does not look for the smallest example. The process that holds inputs against schemas ends
#: with the tests: of one that a mutant inherits it would wait for the end.
_EXAMPLES: Final = "max_examples=25"
_CONFTEST: Final = f"""
from hypothesis import Phase, settings
from longtask_crds.acceptance import schemas
settings.register_profile(
    "mutants",
    {_EXAMPLES},
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
def pytest_sessionfinish():
    schemas._JUDGE.close()
"""


#: By module and mutant, mutmut's word for what became of it.
Ends = dict[str, dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Part:
    """What decides in a project of the workspace; all unit tests of that project are run of it."""

    folder: str
    modules: tuple[str, ...]
    #: Functions of which no mutant counts.
    left_out: frozenset[str] = frozenset()

    @property
    def package(self) -> str:
        """Return the package's name."""
        return f"longtask_{self.folder}"


#: A program, which runs in a process of its own.
_NO_MODULES: Final = {"acceptance/schema_judge"}


def _all_of(folder: str, room: str) -> tuple[str, ...]:
    paths = (ROOT / folder / "src" / f"longtask_{folder}" / room).glob("[a-z]*.py")
    return tuple(sorted({f"{room}/{path.stem}" for path in paths} - _NO_MODULES))


_OF_CRDS: Final = (
    *("address_guard", "delivery", "effective", "json_values", "last_words", "names"),
    *("runner_contract", "signing_keys", "traces"),
)
#: They run only while their module is imported, once for all: no mutant is seen.
_ON_IMPORT: Final = (
    "address_guard._networks",
    *(
        f"acceptance.rules.{name}"
        for name in ("_extended", "_least", "_least_of", "_least_size", "_request_within_limit")
    ),
)
#: They start, ask and end another process.
_OUTSIDE: Final = ("acceptance.schemas.Judge._ask", "acceptance.schemas.Judge.close")
PARTS: Final = (
    Part(
        "crds",
        (
            *_OF_CRDS,
            *_all_of("crds", "acceptance"),
            *_all_of("crds", "events"),
            *_all_of("crds", "pipeline"),
            *_all_of("crds", "queueing"),
            *_all_of("crds", "schedule"),
        ),
        left_out=frozenset({*_ON_IMPORT, *_OUTSIDE}),
    ),
    Part("operator", _all_of("operator", "rules")),
)
_KNOWN: Final = [f"{part.folder}/{module}" for part in PARTS for module in part.modules]


def lay_out(part: Part, modules: Sequence[str]) -> Path:
    """Make the folder that mutmut is run in."""
    folder, tests = _KEPT / part.folder, Path("tests/unit") / part.package
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / part.folder / "src", folder / "src")
    shutil.copytree(ROOT / "tests/support", folder / "tests/support")
    shutil.copytree(ROOT / tests, folder / tests, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    (folder / "tests/conftest.py").write_text(_CONFTEST)
    for file in (folder / tests).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub("max_examples=[0-9]+", _EXAMPLES, text), encoding="utf-8")
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    mutmut = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{part.package}/{module}.py" for module in modules],
        "pytest_add_cli_args": [
            "--hypothesis-profile=mutants",
            "-k",
            f"not ({' or '.join(_TOO_LONG)})",
        ],
        "pytest_add_cli_args_test_selection": [str(tests)],
        "timeout_constant": 5.0,
    }
    (folder / "pyproject.toml").write_text(_toml({"pytest.ini_options": ours, "mutmut": mutmut}))
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


def run(part: Part, modules: Sequence[str], sample: int, children: int) -> Ends:
    """Return what became of each mutant that was tried, or was not, by module."""
    folder = lay_out(part, modules)
    # mutmut makes all mutants before it finds that there is none of this name.
    _mutmut(folder, "run", "--max-children=1", "none")
    made = _ends(part, folder)
    chosen = [
        mutant
        for mutants in made.values()
        for mutant in random.Random(SEED).sample(sorted(mutants), min(sample, len(mutants)))
    ]
    done = _mutmut(folder, "run", f"--max-children={children}", *chosen)
    if done.returncode != 0:
        raise RuntimeError(f"mutmut, in {folder}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return _ends(part, folder)


def _ends(part: Part, folder: Path) -> Ends:
    ends: Ends = collections.defaultdict(dict)
    for line in _mutmut(folder, "results", "--all", "true").stdout.splitlines():
        mutant, _, end = line.strip().rpartition(": ")
        module, _, function = mutant.removeprefix(f"{part.package}.").rpartition(".")
        # That of a method stands between two signs that names have in no source of ours.
        name = f"{module}.{re.sub('^x[_ǁ]|__mutmut_[0-9]+$', '', function).replace('ǁ', '.')}"
        if mutant and name not in part.left_out:
            ends[f"{part.folder}/{module.replace('.', '/')}"][mutant] = end
    return ends


def _mutmut(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("mutmut")
    return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)


def main(words: Sequence[str] | None = None) -> int:
    """Mutate the modules that are named, or all; tell whether enough was noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as operator/rules/retry")
    parser.add_argument("--sample", type=int, default=25, help="of each module at most so many")
    parser.add_argument("--children", type=int, default=2, help="how many run at a time")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the rows into its table")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.modules) - set(_KNOWN):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(_KNOWN)}")
    wanted = arguments.modules or _KNOWN
    counts: dict[str, Count] = {}
    for part in PARTS:
        if modules := [one for one in part.modules if f"{part.folder}/{one}" in wanted]:
            ends = run(part, modules, arguments.sample, arguments.children)
            counts |= {module: Count.of(module, of_one) for module, of_one in ends.items()}
            for mutant, end in (pair for of_one in ends.values() for pair in of_one.items()):
                if end not in ("killed", mutation_table.UNTRIED):
                    print(f"{end}: cd .mutants/{part.folder} && mutmut show {mutant}", flush=True)
            if arguments.write:
                write(arguments.write, counts)
    print(_table(counts))
    return 0 if all(count.is_enough for count in counts.values()) else 1


def write(file: Path, counts: Mapping[str, Count]) -> None:
    """Write the rows of these modules into the table; those of others stay."""
    text = file.read_text(encoding="utf-8")
    before = mutation_table.read(marked_text.read(text, "mutants"))
    table = _table(before | counts)
    file.write_text(marked_text.written(text, "mutants", table), encoding="utf-8")


def _table(counts: Mapping[str, Count]) -> str:
    in_order = [counts[module] for module in _KNOWN if module in counts]
    return mutation_table.rendered(in_order, seed=SEED, day=datetime.now(UTC).date())


if __name__ == "__main__":
    sys.exit(main())

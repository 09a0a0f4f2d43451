"""Find tasks by the entry points of installed packages, group `longtask.tasks`.

`importlib.metadata` does this too, at four times the start-up time of a bare interpreter. The files
that it reads are specified (packaging.python.org, "Entry points specification") and simple.
"""

from __future__ import annotations

import os

from longtask_runner import decorator, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

GROUP = "longtask.tasks"


class EntryPoint:
    """One line `name = module:object` of a package."""

    def __init__(self, *, name: str, target: str, package: str) -> None:
        self.name = name
        self.target = target
        self.package = package


def find_all(path: Iterable[str]) -> list[EntryPoint]:
    """Return the tasks of all packages on an import path; a package's first place counts."""
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for package, file in _metadata(path):
        if package not in seen:
            seen.add(package)
            try:
                with open(file, encoding="utf-8") as lines:
                    found.extend(parse(lines, package=package))
            except OSError:
                continue  # most packages have no entry points
    return found


def parse(lines: Iterable[str], *, package: str) -> Iterator[EntryPoint]:
    """Yield the tasks in an `entry_points.txt`."""
    section = ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield EntryPoint(name=name.strip(), target=target.strip(), package=package)


def load(name: str, path: Iterable[str]) -> Callable[..., Any]:
    """Return the task function of that name; no other task's module is imported.

    Raises:
        TaskNotFound: No package on the path has it.
        TaskNotLoadable: It is there, but broken.
    """
    found = find_all(path)
    matching = [entry for entry in found if entry.name == name]
    if not matching:
        known = ", ".join(sorted(entry.name for entry in found)) or "none"
        raise errors.TaskNotFound(f"this image has no task {name!r}; it has: {known}")
    if len(matching) > 1:
        packages = ", ".join(sorted(entry.package for entry in matching))
        raise errors.TaskNotLoadable(f"several packages have a task {name!r}: {packages}")
    return _import(matching[0])


def _metadata(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    for folder in path:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue  # a zip file, or not there
        for name in names:
            if name.endswith(".dist-info"):
                package = name.partition("-")[0].lower()
                yield package, os.path.join(folder, name, "entry_points.txt")


def _import(entry: EntryPoint) -> Callable[..., Any]:
    import importlib  # here, so that `--list` and its like import no more than they need

    module_name, _, attributes = entry.target.partition("[")[0].strip().partition(":")
    try:
        function: Any = importlib.import_module(module_name.strip())
        for attribute in attributes.strip().split("."):
            function = getattr(function, attribute)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise errors.TaskNotLoadable(f"cannot load {entry.target!r}: {what}") from error
    mark = decorator.mark_of(function)
    if mark is None:
        raise errors.TaskNotLoadable(f"{entry.target!r} is no function with @task")
    if mark not in ("", entry.name):
        raise errors.TaskNotLoadable(f"{entry.target!r} is @task({mark!r}), not {entry.name!r}")
    if flaw := decorator.flaw_of(function):
        raise errors.TaskNotLoadable(f"{entry.target!r} {flaw}")
    return function  # type: ignore[no-any-return]

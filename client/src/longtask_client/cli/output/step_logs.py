"""The logs of a pipeline's programs, each line with the step's name before it."""

import threading
from collections.abc import Callable, Iterator

from longtask_client import errors, models
from longtask_client.cli.output import terminal
from longtask_crds import v1alpha1
from longtask_crds.pipeline import runs

_NOT_BEGUN = (v1alpha1.StepPhase.PENDING, v1alpha1.StepPhase.SKIPPED)


def is_pipeline(task: models.TaskView) -> bool:
    """Tell whether a task has steps, or is going to have them."""
    return bool(task.steps or task.step)


def programs(task: models.TaskView) -> Iterator[str]:
    """Yield the names of the programs that have begun: of steps, or of their items."""
    for step in task.steps:
        found: list[tuple[str, v1alpha1.RunStatus]] = [(step.name, step)]
        if step.items is not None:
            children = step.children or ()
            found = [(runs.name_of(step.name, child.index), child) for child in children]
        # What was taken over has run in another task.
        for name, run in found if not step.reused else ():
            if run.attempt and run.phase not in _NOT_BEGUN:
                yield name


def show(looks: Iterator[models.TaskView], log: Callable[[str], Iterator[str]]) -> None:
    """Print the log of each program that a look shows for the first time; all at once, by lines.

    Args:
        looks: The pipeline, again and again, or once.
        log: Yields a program's log in pieces.
    """
    readers: dict[str, threading.Thread] = {}
    failures: list[errors.LongTaskError] = []
    printing = threading.Lock()

    def read(name: str) -> None:
        try:
            for line in _lines(log(name)):
                with printing:
                    terminal.show(f"{name} | {line}", end="")
        except errors.NotFound as error:
            with printing:
                terminal.say(f"{name}: {error}")
        except errors.LongTaskError as error:
            failures.append(error)

    for task in looks:
        for name in programs(task):
            if name not in readers:
                # A daemon: Ctrl-C ends the command while a program is silent.
                readers[name] = threading.Thread(target=read, args=(name,), daemon=True)
                readers[name].start()
    for reader in readers.values():
        reader.join()
    if failures:
        raise failures[0]


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield whole lines, each with its end."""
    left = ""
    for piece in pieces:
        *lines, left = (left + piece).split("\n")
        yield from (f"{line}\n" for line in lines)
    if left:
        yield f"{left}\n"

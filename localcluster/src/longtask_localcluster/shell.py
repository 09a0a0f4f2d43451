"""Running programs of the machine."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from longtask_localcluster import errors

LAST_LINES = 25


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed; raise if it failed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, env=env, cwd=cwd, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise errors.MissingProgram(f"{words[0]} was not found: install it") from error
    if done.returncode != 0:
        raise errors.CommandFailed(failure(words, done.returncode, done.stdout + done.stderr))
    return done.stdout


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    """Tell whether a program ran and ended well."""
    try:
        run(command, env=env)
    except errors.LocalClusterError:
        return False
    return True


def follow(
    command: Sequence[str | Path],
    *,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long program and hand over each line of its output as it comes."""
    words = [str(word) for word in command]
    lines: list[str] = []
    with subprocess.Popen(
        words, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            on_line(line.strip())
    if process.returncode != 0:
        raise errors.CommandFailed(failure(words, process.returncode, "".join(lines)))


def failure(words: Sequence[str], code: int, output: str) -> str:
    """Say which command failed and how, with the end of its output."""
    end = "\n".join(output.strip().splitlines()[-LAST_LINES:])
    return f"`{' '.join(words)}` ended with {code}:\n{end}"


def wait_until(condition: Callable[[], bool], *, within: float, every: float = 0.2) -> bool:
    """Ask again and again until the condition holds; False if it never did."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True

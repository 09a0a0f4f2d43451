"""Installing Python packages, by the uv that is installed beside us."""

import os
from pathlib import Path

from longtask_localcluster import errors, shell
from longtask_localcluster.settings import Settings


def run(settings: Settings, *words: str | Path) -> str:
    """Run uv in the repository and return what it printed."""
    uv = settings.python_bin / "uv"
    if not uv.exists():
        raise errors.MissingProgram(f"{uv} was not found: run this by `make`, which installs it")
    # Packages that must be built use what is installed beside us too.
    env = {**os.environ, "UV_PYTHON": str(settings.python_bin / "python")}
    return shell.run([uv, *words], env=env, cwd=settings.repository)


def install(settings: Settings, target: Path, *words: str | Path) -> None:
    """Install exactly the named packages into a folder."""
    run(settings, "pip", "install", "--no-deps", "--target", target, "--link-mode=copy", *words)

"""What the tests of the chart stand on: the chart as helm renders it."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "longtask"
#: The release's name, and its namespace's.
RELEASE = "longtask"
#: The namespace of the tasks.
TASKS = "longtasks"

Object = dict[str, Any]


def helm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run helm, and return how it ended."""
    return subprocess.run(
        ["helm", *arguments], input=stdin, capture_output=True, text=True, check=False
    )


def template(*flags: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Render the chart as a release of its name would."""
    return helm("template", RELEASE, str(CHART), "-n", RELEASE, *flags, stdin=stdin)


def render(*settings: str, values: Object | None = None) -> list[Object]:
    """Return the objects that the chart makes of `--set` settings and a file of values."""
    flags = [part for setting in settings for part in ("--set", setting)]
    # Numbers of a file are floats to helm, those of `--set` are not.
    out = template(*flags, "--values", "-", stdin=yaml.safe_dump(values or {}))
    assert out.returncode == 0, out.stderr
    return [document for document in yaml.safe_load_all(out.stdout) if document]


def notes(*settings: str) -> str:
    """Return what an install that asks no cluster would tell."""
    flags = [part for setting in settings for part in ("--set", setting)]
    out = helm("install", RELEASE, str(CHART), "-n", RELEASE, "--dry-run=client", *flags)
    assert out.returncode == 0, out.stderr
    return out.stdout.split("\nNOTES:\n")[1]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """Return the only object of that kind and name."""
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)
    return found

"""The product's images, and what goes into them: folders of installed packages.

The base image has no pip, and no registry is asked: dependencies come from the lock file with
their hashes, our own members as wheels.
"""

import dataclasses
import re
import shutil
import tempfile
from pathlib import Path

from longtask_localcluster import digest, uv
from longtask_localcluster.settings import Settings


@dataclasses.dataclass(frozen=True)
class Images:
    """The names of the product's images, as pods name them."""

    api: str
    runner: str


@dataclasses.dataclass(frozen=True)
class Image:
    """One of the product's images."""

    repository: str
    dockerfile: str
    #: Folders of the workspace that are installed.
    members: tuple[str, ...]
    #: Those whose dependencies are installed too; the runner has none.
    with_dependencies: tuple[str, ...] = ()

    def name(self, settings: Settings, base: str) -> str:
        """Return its name, whose tag changes with whatever goes into the image."""
        root = settings.repository
        inputs = [root / self.dockerfile]
        inputs += [root / member / "pyproject.toml" for member in self.members]
        inputs += [root / member / "src" for member in self.members]
        if self.with_dependencies:
            inputs.append(root / "requirements.lock")
        return f"localhost/{self.repository}:{digest.of_files(inputs, base)}"


API = Image(
    repository="longtask-api",
    dockerfile="Dockerfile.api",
    members=("crds", "adapters", "client", "api", "operator"),
    with_dependencies=("adapters", "api", "operator"),
)
RUNNER = Image(
    repository="longtask-runner",
    dockerfile="Dockerfile.runner",
    members=("crds", "runner"),
)


#: How many archives of one repository are kept: some for each branch that is worked on.
_ARCHIVES_KEPT = 3


def archive(settings: Settings, name: str) -> Path:
    """Return where the archive of an image is kept, for the next cluster on this machine."""
    repository, _, tag = name.rpartition("/")[2].partition(":")
    return settings.cache / "images" / repository / f"{tag}.tar"


def forget_old_archives(coming: Path) -> None:
    """Make room for one more archive of the same repository."""
    coming.parent.mkdir(parents=True, exist_ok=True)
    found = sorted(coming.parent.glob("*.tar"), key=lambda file: file.stat().st_mtime)
    for old in found[: max(0, len(found) - _ARCHIVES_KEPT + 1)]:
        old.unlink()


def prepare(image: Image, settings: Settings, *, python: str) -> Path:
    """Make the folder that `docker build` takes, for a version of Python; return it."""
    context = settings.state / "build" / image.repository
    context.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=context.parent) as scratch:
        _install_members(image, settings, Path(scratch), context / "members")
        if image.with_dependencies:
            requirements = _requirements(image, settings, python)
            _install_dependencies(settings, requirements, context / "dependencies", python)
    return context


def _install_members(image: Image, settings: Settings, scratch: Path, target: Path) -> None:
    for member in image.members:
        words = ("build", "--wheel", "--no-build-isolation", "--out-dir", scratch)
        uv.run(settings, *words, member)
    shutil.rmtree(target, ignore_errors=True)
    uv.install(settings, target, *scratch.glob("*.whl"))
    # Commands that name the Python of the host.
    shutil.rmtree(target / "bin", ignore_errors=True)


def _requirements(image: Image, settings: Settings, python: str) -> str:
    projects = [f"{member}/pyproject.toml" for member in image.with_dependencies]
    wanted = uv.run(
        settings,
        *("pip", "compile", "--no-header", "--no-annotate", "--python-version", python),
        # What sends traces comes along, some megabytes; it is loaded only where it is asked for.
        *("--extra", "otel", "--constraints", "requirements.lock", *projects),
    )
    lock = (settings.repository / "requirements.lock").read_text()
    return locked(lock, names_in(wanted))


def _install_dependencies(settings: Settings, requirements: str, target: Path, python: str) -> None:
    """Install dependencies; files that stay as they are make a layer that stays as it is."""
    made_from = target.with_suffix(".txt")
    if made_from.exists() and made_from.read_text() == f"{python}\n{requirements}":
        return
    shutil.rmtree(target, ignore_errors=True)
    subset = target.with_suffix(".in")
    subset.write_text(requirements)
    words = ("--require-hashes", "--only-binary=:all:", f"--python-version={python}")
    uv.install(settings, target, *words, "--requirements", subset)
    shutil.rmtree(target / "bin", ignore_errors=True)
    made_from.write_text(f"{python}\n{requirements}")


def names_in(requirements: str) -> set[str]:
    """Return the names of the pinned packages; our own members have paths, no pins."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", requirements, re.MULTILINE))


def locked(lock: str, names: set[str]) -> str:
    """Return the entries of some packages from a lock file, hashes included."""
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if names_in(entry) & names)

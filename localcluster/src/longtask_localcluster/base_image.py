"""The images that everything stands on, made without a registry: pause, and Debian with Python."""

import platform
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from longtask_localcluster import archive, digest, errors, progress, shell
from longtask_localcluster.settings import Settings

PAUSE = "localhost/longtask-pause:1"
#: For pods of tests and examples, which cannot know the digest.
BASE_STABLE = "localhost/longtask-base:dev"

SUITE = "bookworm"
PYTHON = "3.11"
RECIPE = (
    "--variant=minbase",
    "--format=tar",
    "--include=python3-minimal,libpython3-stdlib,ca-certificates,tzdata",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--skip=output/dev",
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where Debian says which mirror this machine uses.
HOST_SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))


def base_name() -> str:
    """Return the base image's name, which changes with its recipe."""
    return f"localhost/longtask-base:{digest.of_text(SUITE, *RECIPE)}"


def ensure_base(settings: Settings) -> Path:
    """Return the base image's archive; build it if the cache has none."""
    target = _cached(settings, base_name())
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        progress.step("Base image: Debian 12 with Python, built once") as step,
        tempfile.TemporaryDirectory(dir=target.parent, prefix="partial-") as scratch,
    ):
        layer = Path(scratch) / "layer.tar"
        bootstrap(layer, RECIPE, step)
        config = {"Env": [f"PATH={PATH}", "LANG=C.UTF-8"], "Cmd": ["python3"]}
        whole = Path(scratch) / "image.tar"
        archive.write(whole, layer=layer, name=base_name(), config=config)
        whole.rename(target)
    return target


def bootstrap(target: Path, recipe: Iterable[str], step: progress.Step) -> None:
    """Make a Debian from the machine's own mirror."""
    command: list[str | Path] = ["mmdebstrap", *recipe, *_apt_options(), SUITE, target]
    command += [file for file in HOST_SOURCES if _offers_suite(file)]

    def show(line: str) -> None:
        step.detail = line.removeprefix("I: ")[:60]

    shell.follow(command, on_line=show)


def ensure_pause(settings: Settings, binaries: Path) -> Path:
    """Return the archive of the image that every pod starts with."""
    target = binaries / "pause.tar"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=binaries.parent, prefix="partial-") as scratch:
            layer = Path(scratch) / "layer.tar"
            archive.layer_of(layer, {"pause": binaries / "pause"})
            config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
            whole = Path(scratch) / "image.tar"
            archive.write(whole, layer=layer, name=PAUSE, config=config)
            shutil.move(whole, target)
    return target


def check_machine() -> None:
    """Refuse machines that nobody has tried this on."""
    if platform.machine() != "x86_64":
        raise errors.LocalClusterError(
            f"Programs and nodes are only made for x86_64, this is {platform.machine()}:"
            " give a cluster with KUBECONFIG"
        )


def _cached(settings: Settings, name: str) -> Path:
    return settings.cache / "images" / (name.rpartition("/")[2].replace(":", "-") + ".tar")


def _offers_suite(sources: Path) -> bool:
    return sources.exists() and SUITE in sources.read_text()


def _apt_options() -> list[str]:
    """Return how this machine reaches its mirror: a proxy, certificates, time-outs."""
    lines = shell.run(["apt-config", "dump", "Acquire::http", "Acquire::https"]).splitlines()
    return [f"--aptopt={line}" for line in lines if line.endswith('";') and ' "";' not in line]

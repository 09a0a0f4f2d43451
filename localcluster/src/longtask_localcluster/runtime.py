"""The images that containerd has."""

from pathlib import Path

from longtask_localcluster import shell
from longtask_localcluster.settings import Settings


def is_up(settings: Settings) -> bool:
    """Tell whether containerd answers."""
    return shell.succeeds([*_ctr(settings), "version"])


def has(settings: Settings, name: str) -> bool:
    """Tell whether an image was imported."""
    return name in shell.run([*_ctr(settings), "images", "list", "--quiet"]).splitlines()


def load(settings: Settings, archive: Path) -> None:
    """Import an image from a docker archive."""
    shell.run([*_ctr(settings), "images", "import", archive])


def tag(settings: Settings, name: str, other: str) -> None:
    """Give an image a second name."""
    shell.run([*_ctr(settings), "images", "tag", "--force", name, other])


def _ctr(settings: Settings) -> list[str]:
    socket = settings.state / "containerd" / "containerd.sock"
    return ["ctr", "--address", str(socket), "--namespace", "k8s.io"]

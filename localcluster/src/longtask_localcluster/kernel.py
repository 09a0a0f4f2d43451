"""Settings of the kernel that kind's nodes change, which are the whole machine's.

A node is privileged: its kubelet and its systemd set what they like, also where the one-node
cluster of another clone runs beside it. So whoever comes first knows how it was before, and
whoever goes last puts it back.
"""

import json
from pathlib import Path

from longtask_localcluster import network

SYSCTLS = (*network.SYSCTLS, "fs/file-max", "fs/nr_open")
FILE = "sysctls.json"


def borrow(state: Path) -> None:
    """Note how the settings were before any cluster, and let packets pass."""
    now = {name: (network.SYSCTL_ROOT / name).read_text() for name in SYSCTLS if _exists(name)}
    (state / FILE).write_text(json.dumps(now | _known_to(_neighbour())))
    # Docker would do it, and then drop whatever it does not know.
    (network.SYSCTL_ROOT / "net/ipv4/ip_forward").write_text("1")


def give_back(state: Path) -> None:
    """Put the settings back; those that another cluster here needs too are its to put back."""
    before = _known_to(state)
    neighbour = _neighbour()
    if neighbour:
        shared = {name: before.pop(name) for name in network.SYSCTLS if name in before}
        known = _known_to(neighbour)
        if known != known | shared:
            (neighbour / FILE).write_text(json.dumps(known | shared))
    for name, value in before.items():
        file = network.SYSCTL_ROOT / name
        if file.read_text() != value:
            file.write_text(value)


def _neighbour() -> Path | None:
    """Return the folder of the one-node cluster of this machine, if there is one."""
    state = network.owner()
    return state if state and (state / FILE).exists() else None


def _known_to(state: Path | None) -> dict[str, str]:
    if state is None or not (state / FILE).exists():
        return {}
    known: dict[str, str] = json.loads((state / FILE).read_text())
    return known


def _exists(name: str) -> bool:
    return (network.SYSCTL_ROOT / name).exists()

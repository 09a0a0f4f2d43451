"""The control groups that pods and nodes live in, so that they can be found and ended."""

import functools
from pathlib import Path

from longtask_localcluster import errors, processes, shell

GROUP = "longtask-local"


def mounts(mountinfo: str) -> dict[Path, str]:
    """Return the mounted cgroup hierarchies with their kind, `cgroup` or `cgroup2`."""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found[Path(before.split()[4])] = kind
    return found


def limiting(hierarchies: dict[Path, str]) -> list[Path]:
    """Return those that limit pods: where both versions are mounted, version 1 does."""
    used = "cgroup" if "cgroup" in hierarchies.values() else "cgroup2"
    return [root for root, kind in hierarchies.items() if kind == used]


def create() -> None:
    """Make the group in every hierarchy that counts; the kubelet wants to find it."""
    for root in limiting(_mounts()):
        if (root / "cgroup.controllers").exists():
            _hand_down_controllers(root)
        (root / GROUP).mkdir(exist_ok=True)
        # Version 1 makes these empty, and an empty set admits no process.
        for name in ("cpuset.mems", "cpuset.cpus"):
            if (root / "cgroup.clone_children").exists() and (root / name).exists():
                (root / GROUP / name).write_text((root / name).read_text())


def _hand_down_controllers(root: Path) -> None:
    for controller in (root / "cgroup.controllers").read_text().split():
        (root / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str = GROUP) -> None:
    """Kill every process in the group, then remove it."""
    # The container runtime makes it in the other hierarchies too.
    groups = [root / name for root in _mounts() if (root / name).exists()]
    # A process may fork between the look and the kill, so look again until nobody is there.
    while pids := {pid for group in groups for pid in _pids(group)}:
        processes.kill(processes.of_pid(pid) for pid in pids)
    for group in groups:
        if not shell.wait_until(functools.partial(_remove_tree, group), within=5):
            raise errors.LocalClusterError(f"The kernel still holds {group}: remove it by hand")


def _mounts() -> dict[Path, str]:
    return mounts(Path("/proc/self/mountinfo").read_text())


def _pids(group: Path) -> set[int]:
    files = group.rglob("cgroup.procs")
    return {int(pid) for file in files for pid in file.read_text().split()}


def _remove_tree(group: Path) -> bool:
    """Remove the groups from the innermost one; False while the kernel still holds one."""
    inner = sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
    try:
        for folder in (*inner, group):
            folder.rmdir()
    except OSError:
        return False
    return True

"""Ending a cluster, and clearing the machine of whatever it left, however it ended.

This is for `down`, and for `up` after everything was killed hard: then shims, namespaces,
mounts, links, tables and groups of the dead cluster remain. Every step does nothing if there
is nothing to do.
"""

import contextlib
import shutil
from pathlib import Path

from longtask_localcluster import cgroups, errors, network, processes, shell

#: Where the kubelet and the container runtime write whatever we configure.
LOG_LINKS = Path("/var/log/containers")
CNI_RESULTS = Path("/var/lib/cni/results")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
SHIM_ADDRESSES = "containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address"
#: Removed if they are empty, innermost first.
SHARED_FOLDERS = (
    LOG_LINKS,
    CNI_RESULTS,
    CNI_RESULTS.parent,
    DEVICE_PLUGINS,
    DEVICE_PLUGINS.parent,
    Path("/run/containerd/s"),
    Path("/run/containerd/fifo"),
    Path("/run/containerd"),
)


def clear(state: Path) -> None:
    """End every process of the cluster and remove everything it had, its folder too."""
    processes.stop(processes.recorded(state), grace=2)
    processes.kill(processes.marked(state))
    cgroups.remove()
    _remove_sockets(state)
    unmount(state)
    network.remove(state)
    _remove_outside(state)
    remove_state(state)


def remove_state(state: Path) -> None:
    """Remove the cluster's folder, never through a mount into somebody else's."""
    if mount_points(Path("/proc/self/mountinfo").read_text(), below=state):
        raise errors.LocalClusterError(f"Something is mounted below {state}: not removed")
    if state.exists():
        shutil.rmtree(state)


def unmount(state: Path) -> None:
    """Unmount everything below a folder."""
    # Some mounts lie over others, so it may take more than one round.
    for _ in range(5):
        points = mount_points(Path("/proc/self/mountinfo").read_text(), below=state)
        if not points:
            return
        for point in points:
            shell.succeeds(["umount", "--lazy", point])
    raise errors.LocalClusterError(f"Cannot unmount {points[0]}: unmount it by hand")


def mount_points(mountinfo: str, *, below: Path) -> list[str]:
    """Return the mount points below a folder, the innermost first."""
    # The kernel writes a space in a path as \040.
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]
    return sorted((p for p in points if p.startswith(f"{below}/")), key=len, reverse=True)


def _remove_sockets(state: Path) -> None:
    for file in state.glob(SHIM_ADDRESSES):
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_outside(state: Path) -> None:
    for link in LOG_LINKS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(state):
            link.unlink()
    for result in CNI_RESULTS.glob("*"):
        # It names the pod's network namespace, which lies in our folder.
        if str(state) in result.read_text():
            result.unlink()
    # Only a kubelet that runs uses its socket, and two cannot run on one machine.
    for name in ("kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"):
        (DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for folder in SHARED_FOLDERS:
        with contextlib.suppress(OSError):
            folder.rmdir()

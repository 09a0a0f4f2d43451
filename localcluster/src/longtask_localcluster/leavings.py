"""What a cluster leaves of itself: the machine before `up` and after `down`, compared.

    python -m longtask_localcluster.leavings [--during COMMAND] [OPTIONS OF up]

It asks the machine and not the code that clears it, which cannot know what it forgets. So it also
sees what somebody else begins meanwhile; but for the processes of another clone's cluster, which
say whose they are.
"""

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from longtask_localcluster import cgroups, network, packages, processes, shell

REPOSITORY = Path(__file__).resolve().parents[3]
STATE = REPOSITORY / ".localcluster"
HOME = Path.home()
#: Where clusters, engines and their clients write.
PLACES = (
    STATE,
    *(HOME / name for name in (".docker", ".kube", ".config/helm", ".cache/helm", ".local/share")),
    *map(Path, ("/run", "/opt", "/lib/modules", "/dev/shm", "/etc/docker", "/etc/cni")),
    *map(Path, ("/etc/containerd", "/etc/containers", "/etc/kubernetes", "/var/log/containers")),
    *map(Path, ("/var/log/pods", "/var/lib/cni", "/var/lib/containerd", "/var/lib/containers")),
    *map(Path, ("/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet", "/var/tmp")),
)
#: Counters, and what is another number at each look.
UNSTEADY = (
    *("fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/quota/"),
    *("kernel/ns_last_pid", "kernel/pty/nr", "kernel/random/", "net/netfilter/nf_conntrack_count"),
)
#: Each link has its own below these, which go with it.
OF_LINKS = tuple(f"net/{ip}/{what}/" for ip in ("ipv4", "ipv6") for what in ("conf", "neigh"))
OF_ALL_LINKS = tuple(f"{folder}{which}/" for folder in OF_LINKS for which in ("all", "default"))

Found = Mapping[str, frozenset[str]]


def main() -> int:
    """Bring a cluster up, take it down, say what came and what is left; return 1 if anything is."""
    parser = argparse.ArgumentParser(prog="longtask_localcluster.leavings", description=__doc__)
    parser.add_argument("--during", default="true", help="a command for while the cluster is up")
    arguments, options = parser.parse_known_args()
    if STATE.exists():
        print("This clone has a cluster already: `make down` first", file=sys.stderr)
        return 1
    # Debian's packages stay, with what they bring.
    packages.ensure(packages.NEEDED | packages.ENGINE)
    verb = [sys.executable, "-m", "longtask_localcluster", *options]
    before = between = found()
    try:
        subprocess.run([*verb, "up"], check=True)
        between = found()
        subprocess.run(shlex.split(arguments.during), check=True)
    finally:
        subprocess.run([*verb, "down"], check=True)
    after = found()
    print("\n".join(told(before, between, after)))
    return int(any(more(before, after).values()))


def found() -> Found:
    """Return what there is of each kind on the machine now."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    links = json.loads(shell.run(["ip", "-json", "link"]))
    return {
        "processes": frozenset(_orphans()),
        "links": frozenset(link["ifname"] for link in links),
        "routes": frozenset(shell.run(["ip", "route", "show", "table", "all"]).splitlines()),
        "mounts": frozenset(line.split()[4] for line in mountinfo.splitlines()),
        "tables of packets": frozenset(_tables()),
        "control groups": frozenset(_groups(mountinfo)),
        "settings of the kernel": frozenset(_settings()),
        "files": frozenset(_files()),
    }


def more(before: Found, after: Found) -> Found:
    """Return what is there after and was not before."""
    return {kind: after[kind] - before[kind] for kind in before}


def told(before: Found, between: Found, after: Found) -> Iterator[str]:
    """Say of each kind how much came, and what is left."""
    came, left = more(before, between), more(before, after)
    for kind in before:
        yield f"{kind}: {len(came[kind])} came, {len(left[kind])} left"
        yield from (f"  {one}" for one in sorted(left[kind]))


def is_steady(setting: str) -> bool:
    """Tell whether a setting of the kernel changes only when somebody sets it."""
    if setting.startswith(OF_LINKS):
        return setting.startswith(OF_ALL_LINKS)
    return not setting.startswith(UNSTEADY)


def _orphans() -> Iterator[str]:
    """Yield the processes that nobody waits for: whose parent has ended."""
    for folder in processes.PROC.glob("[0-9]*"):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            marks = (folder / "environ").read_bytes().split(b"\0")
            owner = [mark for mark in marks if mark.startswith(f"{processes.MARK}=".encode())]
            if parent == "1" and owner in ([], [f"{processes.MARK}={STATE}".encode()]):
                yield f"{folder.name} {command[:100]}"


def _tables() -> Iterator[str]:
    yield from shell.run(["nft", "list", "tables"]).splitlines()
    # Those of the older iptables come with their first use.
    for file in Path("/proc/net").glob("*_tables_names"):
        yield from (f"{file.name} {table}" for table in file.read_text().split())


def _groups(mountinfo: str) -> Iterator[str]:
    for root in cgroups.mounts(mountinfo):
        yield from (str(path) for path in root.rglob("*") if path.is_dir())


def _settings() -> Iterator[str]:
    for file in network.SYSCTL_ROOT.rglob("*"):
        name = str(file.relative_to(network.SYSCTL_ROOT))
        # Some can only be written, or belong to a link that goes meanwhile.
        with contextlib.suppress(OSError):
            if is_steady(name) and file.is_file():
                yield f"{name} = {' '.join(file.read_text(errors='replace').split())}"


def _files() -> Iterator[str]:
    for place in PLACES:
        if place.exists():
            yield from map(str, (place, *place.rglob("*")))


if __name__ == "__main__":
    sys.exit(main())

"""The Docker engine that kind's nodes are containers of: the machine's own, or one of ours.

Ours is apart from any other: folders, socket and pid lie in the state folder, its containers in a
cgroup of their own, and its link has a fixed name. It makes no rule for packets
(`--iptables=false`), for Docker's rules are the whole machine's; the one that nodes need stands in
a table of ours.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from longtask_localcluster import (
    base_image,
    cgroups,
    errors,
    kernel,
    leftovers,
    network,
    packages,
    processes,
    progress,
    shell,
)
from longtask_localcluster.settings import Settings

NAME = "dockerd"
GROUP = "longtask-kind"
TABLE = "longtask-kind"
LINK = "lk-kind"
#: kind looks for a network of this name, and makes one with IPv6 if there is none.
NETWORK = "kind"
RANGE = "10.198.0.0/16"
GATEWAY = "10.198.0.1"
READY_SECONDS = 30
#: Its sockets are the longest paths; a unix socket's may have 107 characters.
LONGEST_SOCKET = len("/engine/run/containerd/containerd-debug.sock")
#: What an engine makes outside of its own folders, innermost first.
OUTSIDE = (
    Path("/etc/docker/key.json"),
    Path("/run/docker/plugins"),
    Path("/run/docker"),
    Path("/opt/containerd/bin"),
    Path("/opt/containerd/lib"),
    Path("/opt/containerd"),
    Path("/run/containerd/s"),
    Path("/run/containerd"),
    # A node wants to look into it.
    Path("/lib/modules"),
)
SHIM_ADDRESSES = "engine/run/containerd/daemon/io.containerd.runtime.v2.task/moby/*/address"
CAP_SYS_RESOURCE = 24


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine that answers."""

    #: How docker and kind find it.
    environment: Mapping[str, str]
    is_ours: bool

    def run(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run docker or kind and return what it printed."""
        return shell.run(words, env=self.environment, stdin=stdin)

    def succeeds(self, *words: str | Path) -> bool:
        """Tell whether docker or kind ended well."""
        return shell.succeeds(words, env=self.environment)


def machines() -> Engine | None:
    """Return the machine's own engine, if one answers."""
    return _answering(Engine(dict(os.environ), is_ours=False))


def ours(settings: Settings) -> Engine | None:
    """Return our own engine, if it runs."""
    is_alive = any(p.name == NAME and p.is_alive() for p in processes.recorded(settings.state))
    return _answering(_ours(settings)) if is_alive else None


def find(settings: Settings) -> Engine | None:
    """Return the engine of this clone's cluster, or the one that it would get."""
    return ours(settings) or machines()


def start(settings: Settings) -> Engine:
    """Start an engine of our own; Debian's package is installed if there is none."""
    state = settings.state
    if len(str(state)) + LONGEST_SOCKET > 107:
        raise errors.LocalClusterError(
            f"{state} is too long for a unix socket: clone into a shorter path"
        )
    packages.ensure(packages.NEEDED | packages.ENGINE)
    network.check_range(RANGE)
    folder = state / "engine"
    with progress.step("Docker engine of our own"):
        folder.mkdir(parents=True, exist_ok=True)
        made = [str(path) for path in OUTSIDE if not path.exists()]
        (folder / "made").write_text(json.dumps(made))
        kernel.borrow(state)
        shell.run(["nft", "--file", "-"], stdin=translation())
        wrapper = folder / "runc"
        wrapper.write_text((settings.templates / "kind/runc-without-sys-resource").read_text())
        wrapper.chmod(0o755)
        status = Path("/proc/self/status").read_text()
        environment = {"PATH": base_image.PATH, "HOME": str(folder)}
        processes.start(NAME, command(folder, status), state=state, env=environment)
        engine = _ours(settings)
        if not shell.wait_until(lambda: _answering(engine) is not None, within=READY_SECONDS):
            raise errors.NotReady(f"dockerd does not answer: see {state}/logs/{NAME}.log")
        engine.run(
            *("docker", "network", "create", f"--subnet={RANGE}", f"--gateway={GATEWAY}"),
            *("--opt", f"com.docker.network.bridge.name={LINK}", NETWORK),
        )
    return engine


def command(folder: Path, status: str) -> list[str | Path]:
    """Return dockerd's command line, for a machine with this `/proc/self/status`."""
    words: list[str | Path] = [
        *("dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/run"),
        *(f"--pidfile={folder}/pid", f"--host=unix://{folder}/docker.sock"),
        *("--storage-driver=overlay2", "--bridge=none", "--iptables=false", "--ip-masq=false"),
        *(f"--cgroup-parent=/{GROUP}", "--log-level=warn"),
    ]
    if not has_capability(status, CAP_SYS_RESOURCE):
        words += [f"--add-runtime=ours={folder}/runc", "--default-runtime=ours"]
    return words


def has_capability(status: str, number: int) -> bool:
    """Tell from a `/proc/PID/status` whether a process may have a capability at all."""
    (bounding,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding, 16) >> number & 1)


def translation() -> str:
    """Return the nft table by which nodes reach addresses outside the machine."""
    return f"""
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {RANGE} ip daddr != {RANGE} masquerade
  }}
}}
"""


def clear(state: Path) -> None:
    """End our engine with whatever it runs, and remove all that it made; in any state of it."""
    folder = state / "engine"
    if not folder.exists():
        return
    processes.stop(processes.recorded(state), grace=20)
    processes.kill(processes.marked(state))
    cgroups.remove(GROUP)
    for file in state.glob(SHIM_ADDRESSES):
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    leftovers.unmount(state)
    # `destroy` is too new for Debian 12; adding first makes deleting always succeed.
    shell.run(["nft", f"add table ip {TABLE}; delete table ip {TABLE}"])
    if shell.succeeds(["ip", "link", "show", LINK]):
        shell.run(["ip", "link", "delete", LINK])
    if (folder / "made").exists():
        _remove_outside(json.loads((folder / "made").read_text()))
    kernel.give_back(state)


def _remove_outside(made: list[str]) -> None:
    for path in map(Path, made):
        # Somebody else may use it by now.
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _ours(settings: Settings) -> Engine:
    host = f"unix://{settings.state}/engine/docker.sock"
    mine = {"DOCKER_HOST": host, "HOME": str(settings.state / "engine")}
    return Engine({**os.environ, **mine}, is_ours=True)


def _answering(engine: Engine) -> Engine | None:
    answers = engine.succeeds("docker", "version", "--format", "{{.Server.Version}}")
    return engine if answers else None

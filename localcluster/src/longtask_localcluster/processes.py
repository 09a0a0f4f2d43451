"""Starting processes that outlive us, and ending exactly those again.

A pid alone is not an identity: the kernel gives it to somebody else later. So a record also
holds the boot and the moment of the start, and a signal goes through a pidfd, which can never
reach another process. Every process also carries a mark in its environment, by which children
(the shims of containerd) are found even when no record of them exists.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from longtask_localcluster import errors, shell

#: Holds the state folder of the cluster that a process belongs to.
MARK = "LONGTASK_LOCALCLUSTER"

PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Process:
    """A process as we recorded it when it was started."""

    name: str
    pid: int
    identity: str

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return identity(self.pid) == self.identity


def start_ticks(stat: str) -> str | None:
    """Return when a process began, from its `/proc/PID/stat`; None if it has ended."""
    # The name stands in parentheses and may itself hold spaces and parentheses.
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else rest[18]


def identity(pid: int) -> str | None:
    """Return what tells a process from every other one, or None if it does not run."""
    try:
        ticks = start_ticks((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{ticks}" if ticks else None


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    state: Path,
    env: Mapping[str, str],
) -> Process:
    """Start a process in the background, its output in `logs/NAME.log`, and record it."""
    log = state / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=state,
            env={**env, MARK: str(state)},
            start_new_session=True,
        )
    # It is meant to outlive us: Python shall not warn that nobody waited for it.
    child.returncode = 0
    process = Process(name=name, pid=child.pid, identity=identity(child.pid) or "ended")
    record = state / "processes" / f"{name}.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(dataclasses.asdict(process)))
    return process


def recorded(state: Path) -> list[Process]:
    """Return the processes that were started, alive or not."""
    files = sorted((state / "processes").glob("*.json"))
    return [Process(**json.loads(file.read_text())) for file in files]


def marked(state: Path) -> list[Process]:
    """Return the running processes that carry the mark of this cluster."""
    mark = f"{MARK}={state}".encode()
    found = []
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(of_pid(int(folder.name)))
    return found


def of_pid(pid: int) -> Process:
    """Return the process that has this pid now."""
    return Process(name=str(pid), pid=pid, identity=identity(pid) or "ended")


def stop(processes: Iterable[Process], *, grace: float) -> None:
    """End processes: ask first, kill those that stay longer than the grace."""
    asked = list(processes)
    for process in asked:
        _send(process, signal.SIGTERM)
    shell.wait_until(lambda: not _alive(asked), within=grace, every=0.05)
    kill(asked)


def kill(processes: Iterable[Process]) -> None:
    """Kill processes and wait until they are gone."""
    doomed = list(processes)
    for process in doomed:
        _send(process, signal.SIGKILL)
    gone = shell.wait_until(lambda: not _alive(doomed), within=10, every=0.02)
    if not gone:
        pids = " ".join(str(process.pid) for process in _alive(doomed))
        raise errors.LocalClusterError(f"The kernel does not end these processes: {pids}")


def _alive(processes: Iterable[Process]) -> list[Process]:
    return [process for process in processes if process.is_alive()]


def _send(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            # Checked after the handle was taken, so the handle is of this very process.
            if process.is_alive():
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)

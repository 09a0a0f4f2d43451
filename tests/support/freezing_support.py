"""Processes of the cluster that stop where they stand, and go on afterwards, or do not.

Nodes that are made here are processes of this machine, or containers in it, so the processes of
both are found in the same way: by a word of their environment or of their command line.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from e2e_support import Kubectl


@contextlib.contextmanager
def frozen(*words: str) -> Iterator[None]:
    """Stop the process that has a word, of each of these words, meanwhile."""
    with contextlib.ExitStack() as going_on:
        for word in words:
            (process,) = _with(word)
            going_on.callback(_go_on, process)
            signal.pidfd_send_signal(process, signal.SIGSTOP)
        yield


def killed(*words: str) -> None:
    """Kill the process that has a word, of each of these words."""
    for word in words:
        (process,) = _with(word)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


def main_of(pod: str) -> str:
    """Return the word of the one process in a pod."""
    return f"HOSTNAME={pod}"


def kubelets(kubectl: Kubectl) -> list[str]:
    """Return the word of each node's kubelet."""
    return [
        f"--node-ip={address['address']}"
        for node in kubectl.get("nodes")["items"]
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]


def _with(word: str) -> list[int]:
    """Return handles of the processes that have a word: a number is somebody else's later."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # Some end while we look.
        with contextlib.suppress(OSError):
            if word.encode() in _words(folder):
                found.append(os.pidfd_open(int(folder.name)))
    return found


def _words(folder: Path) -> list[bytes]:
    return b"\0".join((folder / name).read_bytes() for name in ("environ", "cmdline")).split(b"\0")


def _go_on(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGCONT)
    os.close(process)

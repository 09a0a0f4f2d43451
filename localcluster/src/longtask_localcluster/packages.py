"""Debian packages that the clusters need which are made here."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from longtask_localcluster import errors, progress, shell

#: Each package with a file that shows it is there, however it came.
NEEDED = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "buildah": "/usr/bin/buildah",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "nftables": "/usr/sbin/nft",
    "iproute2": "/usr/sbin/ip",
    "mount": "/usr/bin/umount",
    "openssl": "/usr/bin/openssl",
}


#: On top of that, where no Docker engine answers.
ENGINE = {"docker.io": "/usr/sbin/dockerd"}

#: What Debian asks before it starts a service; 101 forbids it.
POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(needed: Mapping[str, str] = NEEDED) -> None:
    """Install the packages that are missing; none of their services is started."""
    missing = [name for name, proof in needed.items() if not os.path.exists(proof)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise errors.MissingProgram(
            f"Missing: {' '.join(missing)}. Only Debian's apt-get is known here: install them"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"Debian packages: {' '.join(missing)}") as step:

        def show(line: str) -> None:
            step.detail = line[:60]

        shell.follow(["apt-get", "update"], on_line=show, env=env)
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        with _no_service_started():
            shell.follow(install, on_line=show, env=env)


@contextlib.contextmanager
def _no_service_started() -> Iterator[None]:
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()

"""Debian packages that the one-node cluster needs."""

import os
import shutil

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


def ensure() -> None:
    """Install the packages that are missing."""
    missing = [name for name, proof in NEEDED.items() if not os.path.exists(proof)]
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
        shell.follow(install, on_line=show, env=env)

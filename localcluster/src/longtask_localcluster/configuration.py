"""The configuration files of the parts, from the templates and one set of values."""

import string
from pathlib import Path

from longtask_localcluster import base_image, certificates, cgroups, network
from longtask_localcluster.settings import Settings

#: These configure a part when it starts; `manifests/` is applied to the running cluster.
FILES = (
    "audit-policy.yaml",
    "cni/10-longtask.conflist",
    "containerd.toml",
    "Corefile",
    "kube-proxy.yaml",
    "kubelet.yaml",
)


def values(settings: Settings, *, resolver: Path) -> dict[str, str]:
    """Return what the templates may name."""
    return {
        "state": str(settings.state),
        "node_name": certificates.NODE_NAME,
        "node": network.NODE,
        "loopback": network.LOOPBACK,
        "pods": network.PODS,
        "pod_gateway": network.POD_GATEWAY,
        "cgroup": cgroups.GROUP,
        "pause_image": base_image.PAUSE,
        "resolver": str(resolver),
    }


def render(settings: Settings, *, resolver: Path) -> dict[str, str]:
    """Return each configuration file by its name below the state folder's `config/`."""
    known = values(settings, resolver=resolver)
    return {
        name: string.Template((settings.templates / name).read_text()).substitute(known)
        for name in FILES
    }


def write(settings: Settings) -> None:
    """Write the configuration files."""
    for name, content in render(settings, resolver=Path("/etc/resolv.conf")).items():
        file = settings.state / "config" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

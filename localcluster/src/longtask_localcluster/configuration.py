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

_RESOLVER = Path("/etc/resolv.conf")


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
    return {name: _filled(settings, name, resolver) for name in FILES}


def api_volume(settings: Settings, *, path: Path | str, node: str) -> str:
    """Return the manifest of the volume for the API's database, a folder of a node."""
    template = string.Template((settings.templates / "api-volume.yaml").read_text())
    return template.substitute(path=path, node_name=node)


def write(settings: Settings) -> None:
    """Write the configuration files."""
    for name, content in render(settings, resolver=_RESOLVER).items():
        file = settings.state / "config" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def _filled(settings: Settings, name: str, resolver: Path) -> str:
    template = string.Template((settings.templates / name).read_text())
    return template.substitute(values(settings, resolver=resolver))

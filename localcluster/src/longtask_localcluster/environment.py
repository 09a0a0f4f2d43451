"""The file of shell exports, by which users, tests and the demo reach the cluster."""

import base64
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from longtask_localcluster import install
from longtask_localcluster.kubectl import Kubectl
from longtask_localcluster.settings import Settings

TOKEN_SECRET = "longtask-api-token"


def write(
    settings: Settings, kubectl: Kubectl, *, host_address: str, more: Mapping[str, str]
) -> None:
    """Write the exports; the token is missing while the product is not installed."""
    exports = {
        **more,
        "KUBECONFIG": str(kubectl.kubeconfig),
        "KUBECACHEDIR": str(settings.kubectl_cache),
        "LONGTASK_URL": settings.url,
        "LONGTASK_HOST_ADDRESS": host_address,
    }
    if settings.audit_log.exists():
        exports["LONGTASK_AUDIT_LOG"] = str(settings.audit_log)
    if settings.volumes.exists():
        exports["LONGTASK_VOLUMES"] = str(settings.volumes)
    if token := read_token(kubectl):
        exports["LONGTASK_TOKEN"] = token
    settings.env_file.touch(mode=0o600)
    settings.env_file.write_text(
        render(exports, folders=[settings.bin, settings.repository / ".venv" / "bin"])
    )


def render(exports: Mapping[str, str], *, folders: list[Path]) -> str:
    """Return lines for a shell to read; reading them twice makes no difference."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    front = os.pathsep.join(str(folder) for folder in folders)
    ours = shlex.quote(front + os.pathsep)
    lines.append(f"case $PATH in {ours}*) ;; *) export PATH={ours}$PATH ;; esac")
    return "\n".join(["# Written by `make up`; read it with `. .localcluster/env`", *lines, ""])


def read_token(kubectl: Kubectl) -> str:
    """Return the API's token; empty if there is none."""
    found = kubectl.run(
        *("get", "secret", TOKEN_SECRET, f"--namespace={install.NAMESPACE}"),
        *("--ignore-not-found", "--output=jsonpath={.data.token}"),
    )
    return base64.b64decode(found).decode()

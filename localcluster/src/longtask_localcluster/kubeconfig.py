"""The files by which a client finds the API server and shows who it is."""

import base64
import json
from pathlib import Path

from longtask_localcluster import network

#: Where tasks live, and so the namespace that kubectl looks at by default.
TASKS_NAMESPACE = "longtasks"
SERVER = f"https://{network.NODE}:{network.API_SERVER_PORT}"


def render(certificates: Path, file: str, *, namespace: str = "default") -> str:
    """Return a kubeconfig with everything inside; as JSON, which is YAML too."""
    name = "longtask-local"
    user = {
        "client-certificate-data": _inline(certificates / f"{file}.crt"),
        "client-key-data": _inline(certificates / f"{file}.key"),
    }
    cluster = {
        "server": SERVER,
        "certificate-authority-data": _inline(certificates / "ca.crt"),
    }
    context = {"cluster": name, "user": file, "namespace": namespace}
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": file, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return json.dumps(whole, indent=2) + "\n"


def write(path: Path, content: str) -> None:
    """Write a kubeconfig that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(content)


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

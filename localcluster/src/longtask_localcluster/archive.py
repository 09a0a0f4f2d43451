"""Writing a container image of one layer, without any tool: a docker archive is a tar of tars."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(target: Path, *, layer: Path, name: str, config: Mapping[str, Any]) -> None:
    """Write an image whose only layer is a tar that exists."""
    with layer.open("rb") as content:
        layer_digest = hashlib.file_digest(content, "sha256").hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created_by": "longtask localcluster"}],
    }
    image_json = json.dumps(image).encode()
    image_file = f"{hashlib.sha256(image_json).hexdigest()}.json"
    layer_file = f"{layer_digest}.tar"
    manifest = [{"Config": image_file, "RepoTags": [name], "Layers": [layer_file]}]
    with tarfile.open(target, "w") as whole:
        whole.add(layer, arcname=layer_file)
        _add(whole, image_file, image_json)
        _add(whole, "manifest.json", json.dumps(manifest).encode())


def layer_of(target: Path, *, program: Path, path: str) -> None:
    """Write a layer that holds one program and nothing else."""
    with tarfile.open(target, "w") as layer:
        layer.add(program, arcname=path, filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755
    return member


def _add(whole: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    whole.addfile(member, io.BytesIO(content))

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


def layer_of(target: Path, files: Mapping[str, Path]) -> None:
    """Write a layer that holds some programs by their paths, and the folders that programs want."""
    with tarfile.open(target, "w") as layer:
        for name, mode in (("etc", 0o755), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            layer.addfile(folder)
        for path, program in files.items():
            layer.add(program.resolve(), arcname=path, filter=_as_root)


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

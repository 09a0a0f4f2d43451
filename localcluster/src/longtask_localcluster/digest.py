"""Short digests of what something is made from: the same inputs, the same name."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

LENGTH = 16

#: Left behind by tools; no input of anything.
IGNORED = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


def of_text(*texts: str) -> str:
    """Return the digest of some texts; where one ends and the next begins counts."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:LENGTH]


def of_files(paths: Iterable[Path], *texts: str) -> str:
    """Return the digest of files, and of all files in folders, by name and content."""
    whole = hashlib.sha256(of_text(*texts).encode())
    for path in paths:
        for file in _files(path):
            whole.update(f"{path.name}/{file.relative_to(path)}".encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:LENGTH]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file for file in path.rglob("*") if file.is_file() and not IGNORED & set(file.parts)
    )

"""From a file to the fields of orders: tasks' specs, or whole LongTasks, in YAML or JSON."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from longtask_client.cli import inputs
from longtask_crds import names

_WHOLE = ("apiVersion", "kind", "metadata", "spec")
_NAMING = ("name", "generateName", "labels")


class _Loader(yaml.SafeLoader):
    """Reads what JSON can say, times as text, as kubectl does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the library has it
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(source: str) -> list[dict[str, Any]]:
    """Return the fields of the orders that a file holds; `-` is standard input.

    Raises:
        BadWord: It cannot be read, or holds no task.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        # A subclass of the safe one. What is between two lines of dashes may be nothing.
        documents = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise inputs.BadWord(f"--file {source}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise inputs.BadWord(f"--file {source} is no YAML: {error}") from error
    if not documents:
        raise inputs.BadWord(f"--file {source}: there is no task in it")
    found = []
    for number, document in enumerate(documents, start=1):
        try:
            _check(document, ())
            found.append(_fields(document))
        except inputs.BadWord as error:
            where = f", document {number}" if len(documents) > 1 else ""
            raise inputs.BadWord(f"--file {source}{where}: {error}") from error
    return found


def _fields(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise inputs.BadWord("a task is an object")
    if "kind" not in document:
        return document
    if (document["kind"], document.get("apiVersion")) != ("LongTask", names.API_VERSION):
        raise inputs.BadWord(f"is no LongTask of {names.API_VERSION}")
    metadata, spec = document.get("metadata") or {}, document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise inputs.BadWord("metadata and spec are objects")
    _no_others(document, _WHOLE)
    _no_others(metadata, _NAMING, "metadata.")
    fields = dict(spec)
    if "name" in metadata:
        fields["name"] = metadata["name"]
    elif "generateName" in metadata:
        fields["name"] = names.made_up(str(metadata["generateName"]).rstrip("-"))
    if "labels" in metadata:
        fields["labels"] = metadata["labels"]
    return fields


def _no_others(found: Mapping[str, Any], known: tuple[str, ...], at: str = "") -> None:
    """Refuse what the API would not hear of, rather than leave it out in silence."""
    for key in found:
        if key not in known:
            raise inputs.BadWord(f"{at}{key}: only kubectl takes it")


def _check(value: Any, path: tuple[str | int, ...]) -> None:
    """See whether what YAML says is JSON.

    Raises:
        BadWord: It is none.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                where = ".".join(map(str, path)) or "the task"
                raise inputs.BadWord(f"{where}: {key!r} is no name: quote it")
            _check(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, (*path, index))
    elif not isinstance(value, str | int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise inputs.BadWord(f"{'.'.join(map(str, path))}: {value!r} is no JSON")

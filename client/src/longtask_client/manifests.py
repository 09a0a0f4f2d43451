"""From a text to the fields of orders: specs, or whole resources, in YAML or JSON."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from longtask_crds import names

#: What people call each kind.
_WORDS = {"LongTask": "task", "LongTaskSchedule": "schedule"}
_WHOLE = ("apiVersion", "kind", "metadata", "spec")
#: What of the metadata an order can say, by kind.
_NAMING = {"LongTask": ("name", "generateName", "labels"), "LongTaskSchedule": ("name",)}


class Unreadable(ValueError):
    """The text holds no orders."""


class _Loader(yaml.SafeLoader):
    """Reads what JSON can say, times as text, as kubectl does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the library has it
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse(text: str, source: str, kind: str = "LongTask") -> list[dict[str, Any]]:
    """Return the fields of the orders that a text holds.

    Args:
        text: The text.
        source: What people call it.
        kind: What the whole resources in it are.

    Raises:
        Unreadable: It cannot be read, or holds none.
    """
    what = _WORDS[kind]
    try:
        # A subclass of the safe one. What is between two lines of dashes may be nothing.
        documents = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"{source} is no YAML: {error}") from error
    if not documents:
        raise Unreadable(f"{source}: there is no {what} in it")
    found = []
    for number, document in enumerate(documents, start=1):
        try:
            _check(document, (), what)
            found.append(_fields(document, kind))
        except Unreadable as error:
            where = f", document {number}" if len(documents) > 1 else ""
            raise Unreadable(f"{source}{where}: {error}") from error
    return found


def _fields(document: Any, kind: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Unreadable(f"a {_WORDS[kind]} is an object")
    if "kind" not in document:
        return document
    if (document["kind"], document.get("apiVersion")) != (kind, names.API_VERSION):
        raise Unreadable(f"is no {kind} of {names.API_VERSION}")
    metadata, spec = document.get("metadata") or {}, document.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise Unreadable("metadata and spec are objects")
    _no_others(document, _WHOLE)
    _no_others(metadata, _NAMING[kind], "metadata.")
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
            raise Unreadable(f"{at}{key}: only kubectl takes it")


def _check(value: Any, path: tuple[str | int, ...], what: str) -> None:
    """See whether what YAML says is JSON.

    Raises:
        Unreadable: It is none.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                where = ".".join(map(str, path)) or f"the {what}"
                raise Unreadable(f"{where}: {key!r} is no name: quote it")
            _check(item, (*path, key), what)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, (*path, index), what)
    elif not isinstance(value, str | int | float | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise Unreadable(f"{'.'.join(map(str, path))}: {value!r} is no JSON")

"""Templates as of `kubectl -o jsonpath=`, such as `{.items[*].id}`. Pure.

What scripts use: names, `['any name']`, indexes, `[*]`, `{range .items[*]}…{end}` and texts in
quotes. No filters and no slices: `-o json` and jq have all of it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from longtask_client.cli.given import inputs

_PART = re.compile(r"\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}")
_STEP = re.compile(r"\.?([\w-]+)|\.?\[\s*(\*|-?\d+|'[^']*'|\"[^\"]*\")\s*\]|\.(\*)")


def render(template: str, document: Any) -> str:
    """Return the template with what it names in a document of JSON.

    Raises:
        BadWord: It is no template.
    """
    parts = list(_parts(template if "{" in template else f"{{{template}}}"))
    text, end = _rendered(parts, 0, document, document)
    if end != len(parts):
        raise inputs.BadWord("jsonpath: {end} without {range}")
    return text


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """Yield texts and what stands in braces, in their order."""
    at = 0
    for found in _PART.finditer(template):
        if found.start() > at:
            yield "text", template[at : found.start()]
        yield "path", found[1].strip()
        at = found.end()
    if "{" in template[at:]:
        raise inputs.BadWord(f"jsonpath: {template[at:]!r} has no end")
    if at < len(template):
        yield "text", template[at:]


def _rendered(
    parts: Sequence[tuple[str, str]], at: int, here: Any, root: Any, *, inside: bool = False
) -> tuple[str, int]:
    """Return the text from a place on, to the end or to `{end}`, and the place behind it."""
    text: list[str] = []
    while at < len(parts):
        kind, part = parts[at]
        at += 1
        if kind == "text":
            text.append(part)
        elif part == "end":
            return "".join(text), at if inside else at - 1
        elif part.startswith("range"):
            after = at
            for one in _found(part.removeprefix("range").strip(), here, root):
                told, after = _rendered(parts, at, one, root, inside=True)
                text.append(told)
            # Also of nothing the end is to be found.
            at = after if after != at else _rendered(parts, at, None, None, inside=True)[1]
        elif part.startswith('"'):
            text.append(_text(part))
        else:
            text.append(" ".join(map(_shown, _found(part, here, root))))
    if inside:
        raise inputs.BadWord("jsonpath: {range} without {end}")
    return "".join(text), at


def _found(path: str, here: Any, root: Any) -> list[Any]:
    """Return what a path names; nothing where there is nothing, as kubectl has it."""
    values = [root if path.startswith("$") else here]
    rest = path.removeprefix("$").removeprefix("@")
    rest = "" if rest == "." else rest
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise inputs.BadWord(f"jsonpath: {rest!r} is not understood")
        name, index, star = step.groups()
        key = name if name is not None else index or star
        values = [inner for value in values for inner in _inside(value, key, name is not None)]
        rest = rest[step.end() :]
    return values


def _inside(value: Any, key: str, is_name: bool) -> list[Any]:
    if key == "*" and not is_name:
        return list(value.values()) if isinstance(value, dict) else list(value or ())
    if isinstance(value, list) and not is_name and key[0] not in "'\"":
        place = int(key)
        return value[place : place + 1 or None] if -len(value) <= place < len(value) else []
    name = key if is_name else key.strip("'\"")
    return [value[name]] if isinstance(value, dict) and name in value else []


def _text(part: str) -> str:
    try:
        return str(json.loads(part))
    except ValueError as error:
        raise inputs.BadWord(f"jsonpath: {part} is no text") from error


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)

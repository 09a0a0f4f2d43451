"""What a step takes from others: `{"$from": …}` and `{"$ref": …}` in its input. Pure.

A reference is `SOURCE#POINTER`: a source, and a JSON Pointer (RFC 6901) into what it holds.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

from longtask_crds import json_values, runner_contract

#: Keys and indexes, from the outside in.
Path = tuple[str | int, ...]

FROM, DEFAULT, REF = "$from", "default", "$ref"
INPUT, ITEM, OUTCOME, RUN = "input", "item", "outcome", "run"
_SOURCE = re.compile(
    rf"({INPUT}|{ITEM}|{OUTCOME}|{RUN}|steps\.([a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?))"
)
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")


class Malformed(ValueError):
    """An object that looks like a reference, and is none; its words are for people."""


class Missing(Exception):
    """What a reference speaks of is not there; its words are for people."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A part of what is known when a step begins."""

    source: str  #: `input`, `item`, `outcome`, `steps.NAME`, or `run` of a schedule
    path: tuple[str, ...] = ()  #: keys and indexes into it, as text
    default: Any = None
    has_default: bool = False
    as_file: bool = False  #: its place is taken by the path of a file

    @property
    def step(self) -> str | None:
        """Return the name of the step whose result it speaks of, or None."""
        return self.source.removeprefix("steps.") if self.source.startswith("steps.") else None

    @property
    def pointer(self) -> str:
        """Return its path as a JSON Pointer."""
        return json_values.pointer(*self.path)

    def __str__(self) -> str:
        return f"{self.source}#{self.pointer}"


#: What stands for a reference; it raises Missing where there is nothing.
LookUp = Callable[[Reference], Any]


def parse(value: Any) -> Reference | None:
    """Return the reference that a JSON value is, or None if it is plain.

    Raises:
        Malformed: It looks like one, and is none.
    """
    if not isinstance(value, dict) or not ({FROM, REF} & value.keys()):
        return None
    as_file = REF in value
    text = value[REF if as_file else FROM]
    if value.keys() - ({REF} if as_file else {FROM, DEFAULT}):
        raise Malformed("beside $from stands nothing but default, beside $ref nothing at all")
    if not isinstance(text, str):
        raise Malformed("a reference is a text, such as steps.fetch#/rows")
    source, _, pointer = text.partition("#")
    if not _SOURCE.fullmatch(source):
        raise Malformed(
            "a reference begins with steps.NAME, input, item or outcome, then # follows"
        )
    if not _POINTER.fullmatch(pointer):
        raise Malformed("after # stands a JSON Pointer: nothing, or /key/0/…; ~1 is / and ~0 is ~")
    if as_file and (pointer or not source.startswith("steps.")):
        raise Malformed("$ref takes the whole result of a step: steps.NAME")
    return Reference(
        source,
        tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]),
        default=value.get(DEFAULT),
        has_default=DEFAULT in value,
        as_file=as_file,
    )


def found(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each object in a JSON value that looks like a reference, and where it stands."""
    if isinstance(value, dict) and {FROM, REF} & value.keys():
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from found(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from found(item, (*path, index))


def all_of(value: Any) -> Iterator[Reference]:
    """Yield each reference in a JSON value.

    Raises:
        Malformed: One of them is none.
    """
    for _, looks in found(value):
        reference = parse(looks)
        if reference is not None:
            yield reference


def filled_in(value: Any, look_up: LookUp) -> Any:
    """Return a JSON value with each reference replaced by what it speaks of.

    Args:
        value: The value.
        look_up: Returns that, or raises Missing; it is not asked for files.

    Raises:
        Missing: Something is not there, and nothing else was given for it.
        Malformed: A reference is none.
    """
    reference = parse(value)
    if reference is not None and reference.as_file:
        return f"{runner_contract.FILES_FOLDER}/{reference.step}"
    if reference is not None:
        try:
            return look_up(reference)
        except Missing:
            if reference.has_default:
                return reference.default
            raise
    if isinstance(value, dict):
        return {key: filled_in(item, look_up) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, look_up) for item in value]
    return value


def part(value: Any, reference: Reference) -> Any:
    """Return the part of a value that a reference speaks of.

    Raises:
        Missing: There is none.
    """
    for key in reference.path:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", key):
            if int(key) >= len(value):
                raise Missing(f"{reference}: the list has {len(value)} items")
            value = value[int(key)]
        else:
            raise Missing(f"{reference}: there is no {key}")
    return value

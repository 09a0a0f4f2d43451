"""JSON values as Kubernetes keeps them: what it would change, how they are written, where they are.

A CustomResource turns integers beyond 64 bits into floats without a word, and has no place for half
a character. So a value is looked at wherever one comes in: by the API, by the operator, and by the
runner before it hands a result over. The runner's image installs this package without its
dependencies, and each import delays every task: this module imports nothing, and `json` only where
text is made, which the runner does by itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Path = tuple[str | int, ...]  # keys and indexes, from the outside in

TOO_DEEP = "nested too deeply"
TOO_LARGE = "an integer beyond 64 bits loses digits: write it as a string"
NOT_FINITE = "not a finite number"
HALF_A_PAIR = "half of a surrogate pair is no Unicode text"

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)


def flaws(value: object, *, depth: int, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the place of each thing that cannot be kept unchanged, and what is wrong with it.

    Args:
        value: What is looked at; a tuple counts as a list.
        depth: How many levels of lists and objects there may be around a value.
        path: Where the value itself stands.
    """
    if len(path) > depth:
        yield path, TOO_DEEP
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield path, f"the key {key!r} is no string"
                continue
            if not _is_text(key):
                yield (*path, key), HALF_A_PAIR
            yield from flaws(item, depth=depth, path=(*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from flaws(item, depth=depth, path=(*path, index))
    elif (flaw := _flaw(value)) is not None:
        yield path, flaw


def _flaw(value: object) -> str | None:
    match value:
        case None | bool():
            return None
        case str():
            return None if _is_text(value) else HALF_A_PAIR
        case int():
            return None if _SMALLEST <= value <= _LARGEST else TOO_LARGE
        case float():
            return None if value - value == 0 else NOT_FINITE
    return f"{type(value).__name__} is no JSON"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def compact(value: object) -> str:
    """Return the value as JSON without a space; the same value gives the same text.

    Raises:
        TypeError: It holds something that JSON has not.
        RecursionError: It is nested deeper than Python goes.
    """
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size(value: object) -> int:
    """Return how many bytes the value has, written compactly in UTF-8; raises as `compact` does."""
    return len(compact(value).encode(errors="surrogatepass"))


def same(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON: 1 is 1.0, but not true, as it is to Python."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def pointer(*parts: str | int) -> str:
    """Return a path as a JSON Pointer (RFC 6901); half a character in it is spelt out."""
    text = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return text.encode(errors="backslashreplace").decode()

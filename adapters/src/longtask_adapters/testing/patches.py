"""Patches and selectors as the API server takes them. Pure: nothing is changed in place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Raw = dict[str, Any]
Accepts = Callable[[Raw], bool]


class CannotApply(ValueError):
    """A JSON Patch that does not go with the object."""


def merged(target: Any, patch: Mapping[str, Any]) -> Raw:
    """Return the target with a merge patch (RFC 7396) applied."""
    after = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, Mapping):
            after[key] = merged(after.get(key), value)
        else:
            after[key] = value
    return after


def patched(target: Raw, changes: Sequence[Mapping[str, Any]]) -> Raw:
    """Return the target with a JSON Patch (RFC 6902) of add, remove, replace and test applied.

    Raises:
        CannotApply: It does not go with the target.
    """
    after: Any = target
    for change in changes:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")]
        after = _changed(after, parts[1:], change)
    if not isinstance(after, dict):
        raise CannotApply("an object cannot become something else")
    return after


def _changed(target: Any, parts: Sequence[str], change: Mapping[str, Any]) -> Any:
    """Return the target with one change made at the place that the parts of its path name."""
    op = change["op"]
    if not parts:
        if op == "test" and target != change["value"]:
            raise CannotApply(f"testing value {change['path']} failed")
        return target if op == "test" else change["value"]
    part, *rest = parts
    adds = op == "add" and not rest
    at: Any
    if isinstance(target, list):
        at = len(target) if part == "-" else int(part)
        if adds and 0 <= at <= len(target):
            return [*target[:at], change["value"], *target[at:]]
        is_there = 0 <= at < len(target)
    else:
        at = part
        is_there = isinstance(target, dict) and (adds or at in target)
    if not is_there:
        raise CannotApply(f"there is nothing at {change['path']}")
    after = target.copy()
    if op == "remove" and not rest:
        del after[at]
    else:
        after[at] = change["value"] if adds else _changed(after[at], rest, change)
    return after


def by_labels(selector: str) -> Accepts:
    """Return what a labelSelector accepts: `a`, `!a`, `a=b` and `a!=b`, parted by commas."""
    return _all(selector, lambda raw, key: (raw["metadata"].get("labels") or {}).get(key))


def by_fields(selector: str) -> Accepts:
    """Return what a fieldSelector accepts: `a.b=c` and `a.b!=c`, parted by commas."""
    return _all(selector, _at)


def _at(raw: Any, path: str) -> Any:
    for part in path.split("."):
        raw = raw.get(part) if isinstance(raw, dict) else None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return "" if raw is None else raw


def _all(selector: str, value_of: Callable[[Raw, str], Any]) -> Accepts:
    terms = [_term(text, value_of) for text in selector.split(",") if text]
    return lambda raw: all(accepts(raw) for accepts in terms)


def _term(text: str, value_of: Callable[[Raw, str], Any]) -> Accepts:
    key, equals, value = text.partition("=")
    if not equals:
        wanted = not key.startswith("!")
        return lambda raw: (value_of(raw, key.lstrip("!")) is not None) is wanted
    if key.endswith("!"):
        return lambda raw: value_of(raw, key[:-1]) != value
    return lambda raw: value_of(raw, key) == value.removeprefix("=")

"""What the output file gets: the result, or the message of a failure.

This is the one place that knows how large a result may be; storage for larger ones goes here.
"""

from __future__ import annotations

from longtask_crds import runner_contract
from longtask_runner import errors, wire

_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)


def encode_result(value: object) -> bytes:
    """Return the result as it is handed over.

    Raises:
        InvalidResult: It is no JSON, or Kubernetes would change its numbers.
        ResultTooLarge: It does not fit in line.
    """
    try:
        flaw = find_flaw(value)
        data = b"" if flaw else wire.dumps(value)
    except (RecursionError, TypeError, ValueError) as error:
        flaw = f"the result: {error}"
    if flaw:
        raise errors.InvalidResult(flaw)
    if len(data) > runner_contract.INLINE_RESULT_LIMIT:
        raise errors.ResultTooLarge(
            f"the result has {len(data)} bytes of JSON,"
            f" the limit is {runner_contract.INLINE_RESULT_LIMIT}"
        )
    return data


def encode_checkpoint(value: object) -> bytes:
    """Return the checkpoint as JSON.

    Raises:
        ValueError: It is no JSON, or too large.
    """
    if flaw := find_flaw(value, place="the checkpoint"):
        raise ValueError(flaw)
    data = wire.dumps(value)
    if len(data) > runner_contract.CHECKPOINT_LIMIT:
        raise ValueError(
            f"the checkpoint has {len(data)} bytes of JSON,"
            f" the limit is {runner_contract.CHECKPOINT_LIMIT}"
        )
    return data


def find_flaw(value: object, *, place: str = "the result") -> str | None:
    """Return why a value cannot travel as JSON unchanged, with the place; None if it can."""
    found = _flaw(value)
    return None if found is None else f"{place}{found[0]}: {found[1]}"


def _flaw(value: object) -> tuple[str, str] | None:
    """Return the place of the first flaw, and the flaw; the place is put together on the way up."""
    match value:
        case None | bool() | str():
            return None
        case int():
            if _SMALLEST <= value <= _LARGEST:
                return None
            return "", "an integer beyond 64 bits loses digits; return it as a string"
        case float():
            finite = value - value == 0
            return None if finite else ("", f"{value} is no JSON number")
        case list() | tuple():
            for index, item in enumerate(value):
                if found := _flaw(item):
                    return f"[{index}]{found[0]}", found[1]
            return None
        case dict():
            for name, item in value.items():
                if not isinstance(name, str):
                    return "", f"the key {name!r} is no string"
                if found := _flaw(item):
                    return f".{name}{found[0]}", found[1]
            return None
    return "", f"{type(value).__name__} is no JSON"


def encode_message(message: str) -> bytes:
    """Return a message for people, cut to what the contract allows at a character's end."""
    data = message.encode(errors="backslashreplace")[: runner_contract.MESSAGE_LIMIT]
    return data.decode(errors="ignore").encode()


def write(path: str, data: bytes) -> None:
    """Write the output file in place: it is a bind mount, so it cannot be renamed or unlinked."""
    with open(path, "wb") as file:
        file.write(data)

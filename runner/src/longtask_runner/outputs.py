"""What the output file gets: the result, or the message of a failure.

This is the one place that knows how large a result may be; storage for larger ones goes here.
"""

from __future__ import annotations

from longtask_crds import json_values, runner_contract
from longtask_runner import errors, wire


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
    for path, flaw in json_values.flaws(value, depth=runner_contract.VALUE_DEPTH):
        steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        return f"{place}{''.join(steps)}: {flaw}"
    return None


def encode_message(message: str) -> bytes:
    """Return a message for people, cut to what the contract allows at a character's end."""
    data = message.encode(errors="backslashreplace")[: runner_contract.MESSAGE_LIMIT]
    return data.decode(errors="ignore").encode()


def write(path: str, data: bytes) -> None:
    """Write the output file in place: it is a bind mount, so it cannot be renamed or unlinked."""
    with open(path, "wb") as file:
        file.write(data)

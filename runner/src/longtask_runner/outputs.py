"""What the output file gets: a result that fits into it, or the message of a failure."""

from __future__ import annotations

from longtask_crds import json_values, runner_contract
from longtask_runner import errors, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def encode_result(value: object) -> Iterator[bytes]:
    """Yield the result as it is handed over, piece by piece; it is looked at before the first.

    Raises:
        InvalidResult: It is no JSON, or Kubernetes would change its numbers.
    """
    try:
        flaw = find_flaw(value)
        if flaw is None:
            yield from wire.pieces(value)
    except (RecursionError, TypeError, ValueError) as error:
        flaw = f"the result: {error}"
    if flaw:
        raise errors.InvalidResult(flaw)


def begin(pieces: Iterator[bytes]) -> bytes:
    """Return what the pieces begin with: all of it, if that fits in line, or more than fits."""
    data = b""
    for piece in pieces:
        data += piece
        if not fits(data):
            break
    return data


def fits(data: bytes) -> bool:
    """Tell whether a result is small enough for the output file."""
    return len(data) <= runner_contract.INLINE_RESULT_LIMIT


def encode_checkpoint(value: object) -> bytes:
    """Return the checkpoint as JSON.

    Raises:
        ValueError: It is no JSON, or too large.
    """
    depth = runner_contract.CHECKPOINT_DEPTH
    if flaw := find_flaw(value, place="the checkpoint", depth=depth):
        raise ValueError(flaw)
    data = wire.dumps(value)
    if len(data) > runner_contract.CHECKPOINT_LIMIT:
        raise ValueError(
            f"the checkpoint has {len(data)} bytes of JSON,"
            f" the limit is {runner_contract.CHECKPOINT_LIMIT}"
        )
    return data


def find_flaw(
    value: object, *, place: str = "the result", depth: int = runner_contract.VALUE_DEPTH
) -> str | None:
    """Return why a value cannot travel as JSON unchanged, with the place; None if it can."""
    for path, flaw in json_values.flaws(value, depth=depth):
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

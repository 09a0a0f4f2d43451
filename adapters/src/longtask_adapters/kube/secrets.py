"""Secrets: their text without their data, and an owner's first key in one, made but once."""

import base64
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection
from longtask_crds import names

_logger = logging.getLogger(__name__)

_TRIES = 5


class Secret:
    """A Secret's labels and decoded data; its text never shows the data."""

    def __init__(self, raw: dict[str, Any]) -> None:
        meta = raw["metadata"]
        self.key = names.ObjectKey(meta["namespace"], meta["name"])
        self.version: str = meta["resourceVersion"]
        self.labels: Mapping[str, str] = meta.get("labels") or {}
        self._data: Mapping[str, str] = raw.get("data") or {}

    def __repr__(self) -> str:
        return f"<Secret {self.key} at {self.version}>"

    def __contains__(self, data_key: object) -> bool:
        return data_key in self._data

    def get(self, data_key: str) -> str | None:
        """Return the value of a data key, or None if there is none.

        Raises:
            ValueError: It is no text.
        """
        value = self._data.get(data_key)
        return None if value is None else base64.b64decode(value).decode()


async def read(connection: Connection, key: names.ObjectKey) -> Secret:
    """Return a Secret as it is now; raise a ClusterError if it cannot be read."""
    return Secret(await connection.get(kinds.SECRETS.path(key)))


async def write(connection: Connection, secret: Secret, values: Mapping[str, str]) -> Secret:
    """Set values of a Secret; raise Conflict if somebody wrote since it was read."""
    patch = {
        "metadata": {"resourceVersion": secret.version},
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
    }
    return Secret(await connection.patch(kinds.SECRETS.path(secret.key), patch))


async def ensure(
    connection: Connection,
    key: names.ObjectKey,
    data_key: str,
    make: Callable[[str], str | None],
) -> str:
    """Return the value of a data key, and make it first if it will not do.

    Several processes may do so at once: each write stands on what was read, and who comes second
    takes what the first one made.

    Args:
        connection: Where to ask.
        key: The Secret.
        data_key: Whose value.
        make: Given the value, empty if there is none, returns the one to store instead; None if
            it will do as it is.

    Raises:
        NotFound: There is no such Secret.
        Full: It has no room for another value.
        ClusterError: The Secret cannot be read or written.
    """
    for _ in range(_TRIES):
        secret = await read(connection, key)
        value = _text(secret, data_key)
        made = make(value)
        if made is None:
            return value
        try:
            await write(connection, secret, {data_key: made})
        except errors.Conflict:
            continue  # somebody else made one meanwhile, of this data key or of another
        except errors.Rejected as error:
            # A name that may be a label's value may be a data key too: what is wrong is the size.
            raise errors.Full(f"the Secret {key} has no room for the key of {data_key}") from error
        _logger.info("Made a key", extra={"secret": str(key), "data_key": data_key})
        return made
    raise errors.Unavailable(f"others keep writing the Secret {key}")


async def drop(
    connection: Connection, key: names.ObjectKey, data_keys: Collection[str]
) -> list[str]:
    """Take data keys out of a Secret; return which of them were there.

    Raises:
        NotFound: There is no such Secret.
        ClusterError: The Secret cannot be read or written.
    """
    secret = await read(connection, key)
    there = [name for name in data_keys if name in secret]
    if there:
        patch = {"data": dict.fromkeys(there)}
        await connection.patch(kinds.SECRETS.path(key), patch)
        _logger.info("Removed keys", extra={"secret": str(key), "count": len(there)})
    return there


def _text(secret: Secret, data_key: str) -> str:
    try:
        return secret.get(data_key) or ""
    except ValueError:
        told = {"secret": str(secret.key), "data_key": data_key}
        _logger.warning("Ignored what is no text", extra=told)
        return ""

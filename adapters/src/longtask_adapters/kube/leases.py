"""Leases: who holds one, by the last word of it. How long that word counts is not decided here."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from longtask_adapters.kube import errors, kinds
from longtask_adapters.kube.connection import Connection
from longtask_crds import names


@dataclasses.dataclass(frozen=True)
class Lease:
    """A Lease as it is stored."""

    key: names.ObjectKey
    version: str  #: another one after each write, whoever makes it
    holder: str  #: empty: nobody
    seconds: float  #: for how long the holder may be silent
    transitions: int  #: how often it changed hands

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> "Lease":
        """Return the Lease; what nobody wrote yet is held by nobody."""
        spec = raw.get("spec") or {}
        return cls(
            key=kinds.key_of(raw),
            version=raw["metadata"]["resourceVersion"],
            holder=spec.get("holderIdentity") or "",
            seconds=float(spec.get("leaseDurationSeconds") or 0),
            transitions=spec.get("leaseTransitions") or 0,
        )


async def read(connection: Connection, key: names.ObjectKey) -> Lease | None:
    """Return the Lease as it is now, None if there is none; raise a ClusterError if unknown."""
    try:
        return Lease.parse(await connection.get(kinds.LEASES.path(key)))
    except errors.NotFound:
        return None


async def take(
    connection: Connection,
    key: names.ObjectKey,
    seen: Lease | None,
    *,
    holder: str,
    seconds: int,
    now: datetime,
) -> Lease:
    """Write that somebody holds the Lease from now on, or that nobody does.

    Args:
        connection: Where to ask.
        key: The Lease.
        seen: As it was read or written last; None if there was none, and it is made.
        holder: Who holds it; empty is nobody. Who holds it already renews it.
        seconds: For how long the holder may be silent, at least 1.
        now: Told to whoever reads it, and what makes of each renewal a new version.

    Raises:
        Conflict: Somebody wrote since it was seen.
        NotFound: Somebody deleted it since.
        ClusterError: It was not written, or not known to be.
    """
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # A null takes the field away: the API server knows no empty name.
    spec: dict[str, Any] = {
        "holderIdentity": holder or None,
        "leaseDurationSeconds": seconds,
        "renewTime": at,
    }
    if seen is None:
        spec |= {"acquireTime": at, "leaseTransitions": 0}
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": key.name},
            "spec": spec,
        }
        return Lease.parse(await connection.post(kinds.LEASES.collection(key.namespace), body))
    if holder not in ("", seen.holder):
        spec |= {"acquireTime": at, "leaseTransitions": seen.transitions + 1}
    patch = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
    return Lease.parse(await connection.patch(kinds.LEASES.path(key), patch))

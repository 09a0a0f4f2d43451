"""What makes the same request again find what it made, of tasks and schedules alike: pure."""

import hashlib
import json
from typing import Any

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.stores.resources import owner_of
from longtask_crds import names, v1alpha1


def digest(caller: str, key: str, document: Any) -> str:
    """Return what tells a retry from another order; equal only for the same order and key.

    Args:
        caller: Who asks.
        key: The idempotency key.
        document: What is ordered, without the key.
    """
    text = json.dumps([caller, key, document], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_of(there: v1alpha1.Resource, digest: str | None) -> bool:
    """Tell whether the request of this digest made a thing; without a key none did."""
    said = there.metadata.annotations.get(names.REQUEST_HASH_ANNOTATION)
    return digest is not None and said == digest


def check_same(
    caller: callers.Caller, there: v1alpha1.Resource, digest: str | None, *, what: str
) -> None:
    """Look whether what has the name already was made by this request.

    Args:
        caller: Who asks.
        there: What has the name.
        digest: What tells the request from another; None without a key.
        what: What it is, as `task`.

    Raises:
        Clash: It was made by another.
    """
    # Of another's no more is told than that the name is taken.
    if digest is None or not caller.may_see(owner_of(there)):
        raise errors.Clash(f"A {what} named {there.metadata.name} exists.")
    if not is_of(there, digest):
        raise errors.Clash("The name or idempotency key stands for another order.")

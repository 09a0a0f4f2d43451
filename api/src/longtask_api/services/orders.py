"""From a request's body to the resource to store: pure, but for the dice of a made-up name."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from longtask_api import errors
from longtask_api.services import bodies
from longtask_client import models
from longtask_crds import acceptance, address_guard, effective, json_values, names, v1alpha1
from longtask_crds.json_values import pointer

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SPEC_STRANGERS = ("name", "labels", "idempotencyKey")


def parse(document: Any) -> models.TaskOrder:
    """Return the order that the JSON document is.

    Raises:
        Invalid: It is none; each wrong field is named.
        TooLarge: Its input is too large.
    """
    try:
        order = models.TaskOrder.model_validate(
            document, extra="forbid", by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise errors.Invalid(errors=errors.findings(error)) from error
    size = json_values.size(order.input)
    if size > names.INPUT_MAX_BYTES:
        raise errors.TooLarge(
            f"The input has {size} bytes of compact JSON; {names.INPUT_MAX_BYTES} are taken."
        )
    return order


def change(document: Any) -> models.TaskChange:
    """Return the change of a task that the JSON document is.

    Raises:
        Invalid: It is none; each wrong field is named.
    """
    return bodies.read(models.TaskChange, document)


def idempotency_key(order: models.TaskOrder, header: str | None) -> str | None:
    """Return the key, from the body or the header.

    Raises:
        Invalid: The two differ, or the header's is empty or too long.
    """
    if header is None:
        return order.idempotency_key
    if order.idempotency_key not in (None, header):
        detail = "the header Idempotency-Key says something else"
        raise errors.Invalid(errors=[errors.finding(pointer("idempotencyKey"), detail)])
    if not 1 <= len(header) <= 255:
        raise errors.Invalid(
            errors=[errors.finding("Idempotency-Key", "1 to 255 characters are taken")]
        )
    return header


def check(
    order: models.TaskOrder,
    *,
    task_type: v1alpha1.LongTaskTypeSpec | None,
    installation: effective.Installation,
    guard: address_guard.Guard,
    now: datetime,
) -> list[models.ProblemError]:
    """Return what is wrong with the order, as far as it says so by itself."""
    broken = [
        *acceptance.breaches(order),
        *acceptance.violations(order, task_type, installation, guard, created_at=now),
    ]
    found = [
        *_labels(order.labels or {}),
        *(errors.finding(one.pointer, one.message) for one in broken),
    ]
    return found[: acceptance.MAX_FINDINGS]


def _labels(labels: Mapping[str, str]) -> Iterator[models.ProblemError]:
    for key, value in labels.items():
        where = pointer("labels", key)
        prefix, slash, name = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
            yield errors.finding(where, "not a label's name")
        elif prefix == names.GROUP or prefix.endswith(f".{names.GROUP}"):
            yield errors.finding(where, f"labels of {names.GROUP} are reserved")
        if value and not _LABEL_NAME.fullmatch(value):
            yield errors.finding(where, "not a label's value")


def name_of(order: models.TaskOrder, key: str | None, *, caller: str) -> str:
    """Return the task's name: the given one, the key's, or a made-up one."""
    if order.name is not None:
        return order.name
    if key is not None:
        # Whatever is ordered under the key must meet the same name, or no clash would be seen.
        digest = hashlib.sha256(json.dumps([caller, key]).encode()).digest()
        return f"task-{names.letters(digest[:15])}"
    return names.made_up(order.type or "task")


def request_hash(order: models.TaskOrder, key: str, *, caller: str) -> str:
    """Return what tells a retry from another order; equal only for the same order and key."""
    document = order.to_json()
    document.pop("idempotencyKey", None)
    text = json.dumps([caller, key, document], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def resource(order: models.TaskOrder, name: str, *, request_hash: str | None) -> dict[str, Any]:
    """Return the LongTask to store."""
    spec = {k: v for k, v in order.to_json().items() if k not in _SPEC_STRANGERS}
    metadata: dict[str, Any] = {"name": name}
    if order.labels:
        metadata["labels"] = dict(order.labels)
    if request_hash is not None:
        metadata["annotations"] = {names.REQUEST_HASH_ANNOTATION: request_hash}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": metadata,
        "spec": spec,
    }

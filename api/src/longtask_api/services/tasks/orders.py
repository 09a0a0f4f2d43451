"""From a request's body to the resource to store: pure, but for the dice of a made-up name."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import bodies, idempotency
from longtask_client import models
from longtask_crds import acceptance, address_guard, effective, names, traces, v1alpha1
from longtask_crds.json_values import pointer
from longtask_crds.pipeline import reuse

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SPEC_STRANGERS = ("name", "labels", "idempotencyKey")
_KINDS_OF_WORK = frozenset({"type", "container", "steps"})
_NOT_AGAIN = ("cancel", "notBefore")
#: What says which tasks are meant: all that are cancelled are live.
_FILTERS = models.TaskFilter.model_fields.keys() - {"archived"}


def parse(document: Any) -> models.TaskOrder:
    """Return the order that the JSON document is.

    Raises:
        Invalid: It is none; each wrong field is named.
        TooLarge: Its input is too large.
    """
    order = bodies.read(models.TaskOrder, document)
    size = effective.size_of_inputs(order)
    if size > names.INPUT_MAX_BYTES:
        what = "The inputs of all steps together have" if order.steps else "The input has"
        raise errors.TooLarge(
            f"{what} {size} bytes of compact JSON; {names.INPUT_MAX_BYTES} are taken."
        )
    return order


def rest(document: Any, wrong: errors.Invalid) -> models.TaskOrder | None:
    """Return the order without its fields that are wrong; None if that says nothing.

    So all that is wrong with an order can be told at once, whichever rule finds it.
    """
    fields = {(one.pointer or "").split("/")[1] for one in wrong.errors if one.pointer}
    if not isinstance(document, dict) or fields & _KINDS_OF_WORK or not fields:
        return None
    try:
        return parse({key: value for key, value in document.items() if key not in fields})
    except (errors.Invalid, errors.TooLarge):
        return None


def batch(document: Any) -> list[Any]:
    """Return the orders of a batch, none of them looked at yet.

    Raises:
        Invalid: It is no batch.
    """
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or document.keys() != {"items"}:
        wrong = errors.finding("", 'write {"items": [an order, …]}')
    elif not 1 <= len(items) <= models.BATCH_MAX_ITEMS:
        wrong = errors.finding("/items", f"1 to {models.BATCH_MAX_ITEMS} orders are taken")
    else:
        return items
    raise errors.Invalid(errors=[wrong])


def key_of_item(order: Any, header: str | None, index: int) -> str | None:
    """Return the key of one order of a batch: its own, or that of the batch with its place.

    Raises:
        Invalid: The batch's is empty or too long.
    """
    if header is None or (isinstance(order, dict) and "idempotencyKey" in order):
        return None
    check_key(header)
    return hashlib.sha256(json.dumps([header, index]).encode()).hexdigest()


def cancellation(document: Any) -> models.CancelOrder:
    """Return which tasks the JSON document wants to be cancelled.

    Raises:
        Invalid: It is no such order, or a body that was forgotten.
    """
    order = bodies.read(models.CancelOrder, document)
    is_about_some = any(getattr(order, field) not in (None, (), {}) for field in _FILTERS)
    if is_about_some == order.all:
        wrong = errors.finding("", "say which tasks, or `all: true`, and not both")
        raise errors.Invalid(errors=[wrong])
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
    check_key(header)
    return header


def check_key(header: str) -> None:
    """Look at the idempotency key of a request's header.

    Raises:
        Invalid: It is empty or too long.
    """
    if not 1 <= len(header) <= 255:
        detail = "1 to 255 characters are taken"
        wrong = errors.outside(models.Place.HEADER, "Idempotency-Key", detail)
        raise errors.Invalid(errors=[wrong])


def check(
    order: models.TaskOrder,
    *,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
    now: datetime,
) -> list[models.ProblemError]:
    """Return what is wrong with the order, as far as it says so by itself."""
    broken = [
        *acceptance.breaches(order),
        *acceptance.violations(order, types, installation, guard, created_at=now),
    ]
    found = [
        *wrong_labels(order.labels or {}),
        *(errors.finding(one.pointer, one.message) for one in broken),
    ]
    return found[: acceptance.MAX_FINDINGS]


def wrong_labels(labels: Mapping[str, str]) -> Iterator[models.ProblemError]:
    """Yield what is wrong with labels that somebody gives."""
    for key, value in labels.items():
        where = pointer("labels", key)
        prefix, slash, name = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
            yield errors.finding(where, "not a label's name")
        elif _is_reserved(prefix):
            yield errors.finding(where, f"labels of {names.GROUP} are reserved")
        if value and not _LABEL_NAME.fullmatch(value):
            yield errors.finding(where, "not a label's value")


def _is_reserved(prefix: str) -> bool:
    return prefix == names.GROUP or prefix.endswith(f".{names.GROUP}")


def _given(order: models.TaskOrder) -> dict[str, Any]:
    """Return the fields that were given, and null for those that shall be none."""
    absent = {
        field.alias or name
        for name, field in models.TaskOrder.model_fields.items()
        if name in order.model_fields_set and getattr(order, name) is None
    }
    return order.to_json() | dict.fromkeys(absent)


def again(original: v1alpha1.LongTask, changes: models.TaskOrder) -> models.TaskOrder:
    """Return the order that does the original again.

    A field that is changed stands in place of the original's, whole; null takes it away. The labels
    of the group stay behind: they are given by who makes a task. So do the wish to cancel and the
    time to begin, which were for that run.

    Raises:
        Invalid: The two do not go together.
    """
    labels = {
        key: value
        for key, value in original.metadata.labels.items()
        if not _is_reserved(key.rpartition("/")[0])
    }
    spec = {k: v for k, v in original.spec.to_json().items() if k not in _NOT_AGAIN}
    return parse({"labels": labels} | spec | _given(changes))


def from_failed(original: v1alpha1.LongTask, order: models.TaskOrder) -> str:
    """Return the annotation of a pipeline that goes on where the original failed.

    Args:
        original: The one that failed.
        order: What is ordered now, as a whole.

    Raises:
        Clash: The original is no pipeline, or has succeeded.
        Invalid: The order is another where steps that are taken over have worked with it.
    """
    if not original.spec.steps:
        raise errors.Clash("The task has no steps: it is retried from its beginning only.")
    if original.phase is v1alpha1.Phase.SUCCEEDED:
        raise errors.Clash("The task has succeeded: there is no step to go on from.")
    wrong = [errors.finding(pointer(*path), why) for path, why in reuse.flaws(original, order)]
    if wrong:
        raise errors.Invalid(errors=wrong[: acceptance.MAX_FINDINGS])
    return reuse.annotation(original, order)


def name_of(order: models.TaskOrder, key: str | None, *, caller: str, origin: str = "") -> str:
    """Return the task's name: the given one, the key's, or a made-up one.

    Args:
        order: What is ordered.
        key: The idempotency key, if there is one.
        caller: Who asks.
        origin: The name of the task that is done again; empty for a new one.
    """
    if order.name is not None:
        return order.name
    if key is not None:
        # Whatever is ordered under the key must meet the same name, or no clash would be seen.
        digest = hashlib.sha256(json.dumps([caller, key]).encode()).digest()
        return f"task-{names.letters(digest[:15])}"
    return names.made_up_after(origin) if origin else names.made_up(order.type or "task")


def request_hash(
    order: models.TaskOrder,
    key: str,
    *,
    caller: str,
    origin: str = "",
    from_failed: bool = False,
) -> str:
    """Return what tells a retry from another order; equal only for the same order and key.

    Args:
        order: What is ordered, or changed of the origin.
        key: The idempotency key.
        caller: Who asks.
        origin: The name of the task that is done again; empty for a new one.
        from_failed: It is to go on where that one failed.
    """
    document = {"retryOf": origin} | _given(order) if origin else order.to_json()
    if from_failed:
        document["fromFailed"] = True
    document.pop("idempotencyKey", None)
    return idempotency.digest(caller, key, document)


def resource(
    order: models.TaskOrder,
    name: str,
    *,
    caller: callers.Caller,
    request_hash: str | None,
    origin: str = "",
    taken_over: str = "",
    trace: traces.Trace | None = None,
) -> dict[str, Any]:
    """Return the LongTask to store.

    Args:
        order: What is ordered.
        name: What the task is called.
        caller: Whose it is.
        request_hash: What tells the same request from another; None without a key.
        origin: The name of the task that it does again; empty for a new one.
        taken_over: The annotation of what it takes over from that; empty for nothing.
        trace: The trace that it belongs to, if it belongs to one.
    """
    spec = {k: v for k, v in order.to_json().items() if k not in _SPEC_STRANGERS}
    metadata: dict[str, Any] = {"name": name}
    # That of an order was refused: `wrong_labels`.
    owned = {names.OWNER_LABEL: caller.subject} if caller.subject else {}
    if labels := {**(order.labels or {}), **owned}:
        metadata["labels"] = labels
    annotations = {
        names.OWNER_NAME_ANNOTATION: caller.name if caller.subject not in ("", caller.name) else "",
        names.REQUEST_HASH_ANNOTATION: request_hash,
        names.RETRY_OF_ANNOTATION: origin,
        names.REUSE_ANNOTATION: taken_over,
        names.TRACEPARENT_ANNOTATION: trace and trace.parent,
        names.TRACESTATE_ANNOTATION: trace and trace.state,
    }
    if said := {key: value for key, value in annotations.items() if value}:
        metadata["annotations"] = said
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": metadata,
        "spec": spec,
    }

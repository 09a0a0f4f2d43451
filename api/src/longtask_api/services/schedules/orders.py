"""From a request's body to the schedule to store, or to what is changed of one: pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from longtask_api import errors
from longtask_api.auth import callers
from longtask_api.services import bodies, idempotency
from longtask_api.services.tasks import orders
from longtask_client import models
from longtask_crds import acceptance, address_guard, effective, names, v1alpha1
from longtask_crds.json_values import pointer
from longtask_crds.schedule import checks, runs

_TEMPLATE = ("taskTemplate", "spec")


def parse(document: Any) -> models.ScheduleOrder:
    """Return the order that the JSON document is.

    Raises:
        Invalid: It is none; each wrong field is named.
    """
    return bodies.read(models.ScheduleOrder, document)


def changed(schedule: v1alpha1.LongTaskSchedule, document: Any) -> models.ScheduleOrder:
    """Return what orders the schedule as it is after a change, a JSON Merge Patch of its spec.

    Raises:
        Invalid: It is no such change, or makes no schedule of it; each wrong field is named.
    """
    bodies.read(models.ScheduleChange, document)
    name = {"name": schedule.metadata.name}
    return parse(_merged(schedule.spec.to_json(), document) | name)


def _merged(target: Any, patch: Any) -> Any:
    """Return what a JSON Merge Patch makes of a value (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found


def types_of(order: models.ScheduleOrder) -> frozenset[str]:
    """Return the names of the types that its runs need."""
    return acceptance.types_of(order.task_template.spec)


def queue_of(
    order: models.ScheduleOrder, types: Mapping[str, v1alpha1.LongTaskTypeSpec]
) -> tuple[str, str]:
    """Return the queue that its runs go through, and where the order says so."""
    spec = order.task_template.spec
    task_type = types.get(spec.type) if spec.type else None
    queue = effective.queue_of(spec, task_type.defaults if task_type else None)
    return queue, pointer(*_TEMPLATE, "queue")


def check(
    order: models.ScheduleOrder,
    *,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
    now: datetime,
) -> list[models.ProblemError]:
    """Return what is wrong with the order, as far as it says so by itself."""
    broken = checks.findings(_unstored(order, now), types, installation, guard, now=now)
    found = list(_labels(order.task_template.labels or {}))
    told = {one.pointer for one in found}
    found += (errors.finding(one.pointer, one.message) for one in broken if one.pointer not in told)
    return found[: acceptance.MAX_FINDINGS]


def _labels(labels: Mapping[str, str]) -> Iterator[models.ProblemError]:
    for wrong in orders.wrong_labels(labels):
        yield wrong.model_copy(update={"pointer": f"/taskTemplate{wrong.pointer}"})


def _unstored(order: models.ScheduleOrder, now: datetime) -> v1alpha1.LongTaskSchedule:
    """Return the schedule as it would be if it were made now."""
    meta = v1alpha1.ObjectMeta(name=order.name, creation_timestamp=now)
    spec = v1alpha1.LongTaskScheduleSpec.model_validate(_spec(order))
    return v1alpha1.LongTaskSchedule(metadata=meta, spec=spec)


def _spec(order: models.ScheduleOrder) -> dict[str, Any]:
    return {key: value for key, value in order.to_json().items() if key != "name"}


def request_hash(order: models.ScheduleOrder, key: str | None, *, caller: str) -> str | None:
    """Return what tells a retry from another order; None without a key."""
    if key is None:
        return None
    orders.check_key(key)
    return idempotency.digest(caller, key, order.to_json())


def resource(
    order: models.ScheduleOrder, *, caller: callers.Caller, request_hash: str | None
) -> dict[str, Any]:
    """Return the LongTaskSchedule to store.

    Args:
        order: What is ordered.
        caller: Whose it is.
        request_hash: What tells the same request from another; None without a key.
    """
    metadata: dict[str, Any] = {"name": order.name}
    if caller.subject:
        metadata["labels"] = {names.OWNER_LABEL: caller.subject}
    annotations = {
        names.OWNER_NAME_ANNOTATION: caller.name if caller.subject not in ("", caller.name) else "",
        names.REQUEST_HASH_ANNOTATION: request_hash,
    }
    if said := {key: value for key, value in annotations.items() if value}:
        metadata["annotations"] = said
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTaskSchedule",
        "metadata": metadata,
        "spec": _spec(order),
    }


def reset(who: str, at: datetime) -> dict[str, Any]:
    """Return the patch that forgets a schedule's failures, and lets it go on."""
    said = f"{runs.text_of(at)} {who}"
    return {
        "metadata": {"annotations": {names.RESET_ANNOTATION: said}},
        "spec": {"suspend": False},
    }

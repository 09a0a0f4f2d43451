"""What needs the type or the installation: asked at the door, and by the operator again."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from longtask_crds import address_guard, effective, json_values, names, v1alpha1
from longtask_crds.acceptance import schemas
from longtask_crds.acceptance.rules import MAX_FINDINGS, RESOURCES, Breach, broken
from longtask_crds.pipeline import checks, references
from longtask_crds.v1alpha1 import Reason

#: How far ahead a task may be handed over. The admission policy says the same in CEL.
MOST_AHEAD = timedelta(days=366)


@dataclasses.dataclass(frozen=True)
class Violation(Breach):
    """One thing that keeps a task from ever running here."""

    reason: Reason


def types_of(spec: v1alpha1.LongTaskSpec) -> frozenset[str]:
    """Return the names of the types that a spec names, itself or in its steps."""
    named = (spec.type, *(step.type for step in spec.steps or ()))
    return frozenset(name for name in named if name)


def unusable(task_type: v1alpha1.LongTaskTypeSpec) -> Violation | None:
    """Return what is wrong with a type, so that each task of it would be refused; None if nothing.

    Tasks are refused by the same words, for `findings` is asked here as it is for them. That
    inputs take too long to hold against it is no flaw of the schema: others may not.
    """
    if task_type.input_schema is None:
        return None
    try:
        schemas.findings(task_type.input_schema, effective.input_of(v1alpha1.LongTaskSpec()))
    except schemas.Overrun:
        return None
    except schemas.Unusable as flaw:
        message = f"inputSchema cannot be used: {flaw}"[: names.MESSAGE_MAX]
        return Violation("/inputSchema", message, Reason.INVALID_SCHEMA)
    return None


def violations(
    spec: v1alpha1.LongTaskSpec,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    guard: address_guard.Guard,
    *,
    created_at: datetime,
) -> list[Violation]:
    """Return what is wrong with a spec, as far as it takes more than the spec's schema to see it.

    Args:
        spec: The spec, whole.
        types: The specs of the types that it names, as far as there are such.
        installation: What the installation allows.
        guard: Where callbacks may go.
        created_at: When the task was, or is, handed over.
    """
    found = []
    if spec.not_before is not None and spec.not_before - created_at > MOST_AHEAD:
        message = "more than a year ahead"
        found.append(Violation("/notBefore", message, Reason.NOT_BEFORE_TOO_FAR))
    try:
        size = effective.size_of_inputs(spec)
    except RecursionError:
        where = "/steps" if spec.steps else "/input"
        return [*found, Violation(where, "nested too deeply", Reason.INVALID_INPUT)]
    is_small = size <= names.INPUT_MAX_BYTES
    if not is_small:
        message = f"larger than {names.INPUT_MAX_BYTES} bytes of compact JSON"
        all_told = f"the inputs of all steps together are {message}"
        where, told = ("/steps", all_told) if spec.steps else ("/input", message)
        found.append(Violation(where, told, Reason.INVALID_INPUT))
    if spec.callback is not None:
        try:
            guard.check_url(spec.callback.url)
        except address_guard.Refused as refused:
            found.append(Violation("/callback/url", str(refused), Reason.CALLBACK_REFUSED))
    found += _of_work((), spec, types, installation, has_input=is_small and not spec.steps)
    try:
        found += [
            Violation(json_values.pointer(*path), flaw, Reason.INVALID_STEPS)
            for path, flaw in checks.flaws(spec)
        ]
    except RecursionError:
        return [*found, Violation("/steps", "nested too deeply", Reason.INVALID_INPUT)]
    for index, step in enumerate(spec.steps or ()):
        # What is not known before the step begins is looked at then.
        is_known = step.for_each is None and not any(references.found(step.input))
        of_step = v1alpha1.LongTaskSpec(type=step.type, input=step.input, resources=step.resources)
        has_input = is_small and is_known
        found += _of_work(("steps", index), of_step, types, installation, has_input=has_input)
        found += [
            Violation(
                json_values.pointer("steps", index, *path), rule.message, Reason.INVALID_STEPS
            )
            for rule in (RESOURCES if step.resources is not None else ())
            for path in broken(rule, step.resources, ("resources",))
        ]
    return found[:MAX_FINDINGS]


def _of_work(
    at: references.Path,
    spec: v1alpha1.LongTaskSpec,
    types: Mapping[str, v1alpha1.LongTaskTypeSpec],
    installation: effective.Installation,
    *,
    has_input: bool,
) -> Iterator[Violation]:
    """Yield what keeps a program from running here: one without steps, or that of a step.

    Args:
        at: Where in the task's spec it stands.
        spec: What it runs.
        types: The specs of the types that there are.
        installation: What the installation allows.
        has_input: Its input is known, and small enough to be looked at.
    """
    task_type = types.get(spec.type) if spec.type else None
    if spec.type and task_type is None:
        message = f"there is no LongTaskType named {spec.type}"
        yield Violation(json_values.pointer(*at, "type"), message, Reason.TYPE_NOT_FOUND)
    if has_input and task_type is not None and task_type.input_schema is not None:
        given = effective.input_of(spec)
        yield from _against_schema(given, task_type.input_schema, spec.type or "", at)
    if spec.resources is not None:
        for part, name in effective.over_cap(spec.resources, installation.resource_cap):
            message = (
                "more than one task may have"
                if name in installation.resource_cap
                else f"no task may ask for {name}: the installation's cap does not name it"
            )
            pointer = json_values.pointer(*at, "resources", part, name)
            yield Violation(pointer, message, Reason.RESOURCES_EXCEEDED)


def _against_schema(
    value: Any, schema: dict[str, Any], type_name: str, at: references.Path
) -> Iterator[Violation]:
    try:
        found = schemas.findings(schema, value)
    except schemas.Unusable as unusable:
        message = f"inputSchema of type {type_name} cannot be used: {unusable}"
        found = [schemas.Finding([], message[: names.MESSAGE_MAX])]
    for one in found:
        pointer = json_values.pointer(*at, "input", *one.path)
        yield Violation(pointer, one.message, Reason.INVALID_INPUT)

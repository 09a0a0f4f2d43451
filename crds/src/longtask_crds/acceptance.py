"""What keeps a task from ever running: refused at the door, and again for what came by `kubectl`.

Two sorts of rules. Those that a spec breaks by itself stand here once, in CEL for the API server
and in Python for the API: `make generate` writes the one into the definitions, `breaches` asks the
other, and one corpus of specs tests both. Those that need the type or the installation are asked by
the API at the door and by the operator again (`violations`). What a field's own schema says stands
with the field. Needs the extra `rules` (jsonschema).
"""

import dataclasses
import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import referencing.exceptions
from referencing import Registry

from longtask_crds import address_guard, effective, json_values, names, v1alpha1
from longtask_crds.v1alpha1 import Reason

#: No more findings than a reader can use: an answer must not be larger than its request.
MAX_FINDINGS = 50
#: How far ahead a task may be handed over. The admission policy says the same in CEL.
MOST_AHEAD = timedelta(days=366)


# --- what a spec breaks by itself ---


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule about one part of a spec, said twice: the API server asks `cel`, we ask `holds`."""

    cel: str  #: of `self`, the part; with `for_keys` of `name`, each key of a map
    holds: Callable[[Any], bool]  #: of the same
    message: str
    field: str | None = None  #: below the part, dotted: what to mend
    for_keys: bool = False


def _least(resource: str, amount: str, why: str) -> Rule:
    """Say what an amount must be at least; it is a number or a text, so CEL must ask which."""
    least = effective.quantity(amount)
    return Rule(
        cel=f"type(self) == int ? self >= {math.ceil(least)} : "
        f"!quantity(self).isLessThan(quantity('{amount}'))",
        holds=lambda asked: effective.quantity(asked) >= least,
        message=f"{resource}: at least {amount}, {why}",
    )


def _request_within_limit(resource: str) -> Rule:
    field, name = resource.replace("-", "__dash__"), resource.replace("-", "_")
    request, limit = f"self.requests.{field}", f"self.limits.{field}"

    def in_cel(amount: str) -> str:
        return f"(type({amount}) == int ? quantity('0').add({amount}) : quantity({amount}))"

    def holds(resources: v1alpha1.Resources) -> bool:
        least, most = (getattr(part, name, None) for part in (resources.requests, resources.limits))
        if least is None or most is None:
            return True
        return effective.quantity(least) <= effective.quantity(most)

    return Rule(
        cel=f"!has(self.requests) || !has(self.limits) || !has({request}) || !has({limit}) || "
        f"!{in_cel(request)}.isGreaterThan({in_cel(limit)})",
        holds=holds,
        message=f"{resource}: the request is above the limit",
        field=f"requests.{resource}",
    )


ONE_KIND_OF_WORK = Rule(
    cel="[has(self.type), has(self.container), has(self.steps)].filter(x, x).size() == 1",
    holds=lambda spec: [spec.type, spec.container, spec.steps].count(None) == 2,
    message="exactly one of type, container and steps is needed",
)
ONE_KIND_OF_STEP = Rule(
    cel="has(self.type) != has(self.container)",
    holds=lambda step: (step.type is None) != (step.container is None),
    message="exactly one of type and container is needed",
)
VARIABLE = (
    Rule(
        cel="!self.name.startsWith('LONGTASK_')",
        holds=lambda variable: not variable.name.startswith("LONGTASK_"),
        message="names that begin with LONGTASK_ are reserved",
        field="name",
    ),
    Rule(
        cel="has(self.value) != has(self.secretRef)",
        holds=lambda variable: (variable.value is None) != (variable.secret_ref is None),
        message="exactly one of value and secretRef is needed",
    ),
)
_HEADER = "^[A-Za-z0-9-]{1,64}$"
#: They belong to the delivery itself.
_RESERVED_HEADER = (
    "(?i)^(host|webhook-.*|connection|keep-alive|proxy-.*|te|trailer|"
    "transfer-encoding|upgrade|content-length|content-type)$"
)
HEADER = Rule(
    cel=f"name.matches('{_HEADER}') && !name.matches('{_RESERVED_HEADER}')",
    holds=lambda name: (
        re.fullmatch(_HEADER, name) is not None and re.fullmatch(_RESERVED_HEADER, name) is None
    ),
    message="Host, webhook-*, content and connection headers cannot be set",
    for_keys=True,
)
REQUESTS = tuple(map(_request_within_limit, ("cpu", "memory", "ephemeral-storage")))
#: `64` for `64Mi` is a slip that nothing else tells: the pod would hang and hold its place.
_LEAST = {
    "cpu": _least("cpu", "1m", "the smallest share there is"),
    "memory": _least("memory", "4Mi", "below which no container starts"),
    "ephemeral-storage": _least("ephemeral-storage", "1Mi", "which a log alone soon takes"),
}

#: The rules of `resources`, wherever they stand.
RESOURCES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("resources", REQUESTS),
    *(
        (f"resources.{part}.{resource}", (rule,))
        for part in ("requests", "limits")
        for resource, rule in _LEAST.items()
    ),
)
#: All rules of a task's spec, by the part that they speak of; `[]` goes into a list's items. Not of
#: `resources` in steps: to look at fifty of them is more work than the API server grants a rule.
TASK: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("", (ONE_KIND_OF_WORK,)),
    ("container.env[]", VARIABLE),
    *RESOURCES,
    ("steps[]", (ONE_KIND_OF_STEP,)),
    ("steps[].container.env[]", VARIABLE),
    ("callback.headers", (HEADER,)),
)


@dataclasses.dataclass(frozen=True)
class Breach:
    """A rule that a spec breaks by itself."""

    pointer: str  #: where in the spec, as a JSON Pointer
    message: str


def breaches(spec: v1alpha1.LongTaskSpec) -> list[Breach]:
    """Return where a spec breaks a rule by itself: the API server says the same in CEL."""
    found = (
        Breach(json_values.pointer(*path), rule.message)
        for place, rules in TASK
        for at, part in _parts(spec, place.split(".") if place else [])
        for rule in rules
        for path in _broken(rule, part, at)
    )
    return list(itertools.islice(found, MAX_FINDINGS))


def _parts(
    part: Any, steps: list[str], path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each part of a spec that stands at a place, and where it is."""
    if part is None:
        return
    if not steps:
        yield path, part
        return
    name, rest = steps[0].removesuffix("[]"), steps[1:]
    inner = getattr(part, name.replace("-", "_"))
    if name == steps[0]:
        yield from _parts(inner, rest, (*path, name))
        return
    for index, item in enumerate(inner or ()):
        yield from _parts(item, rest, (*path, name, index))


def _broken(rule: Rule, part: Any, at: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if rule.for_keys:
        yield from ((*at, key) for key in part if not rule.holds(key))
    elif not rule.holds(part):
        yield (*at, *(rule.field.split(".") if rule.field else ()))


# --- what needs the type or the installation ---


@dataclasses.dataclass(frozen=True)
class Violation(Breach):
    """One thing that keeps a task from ever running here."""

    reason: Reason


def violations(
    spec: v1alpha1.LongTaskSpec,
    task_type: v1alpha1.LongTaskTypeSpec | None,
    installation: effective.Installation,
    guard: address_guard.Guard,
    *,
    created_at: datetime,
) -> list[Violation]:
    """Return what is wrong with a spec whose type, if it names one, is given.

    Args:
        spec: The spec, whole.
        task_type: The spec of the type that it names, if it names one.
        installation: What the installation allows.
        guard: Where callbacks may go.
        created_at: When the task was, or is, handed over.
    """
    found = []
    for field in ("steps", "notify"):
        if getattr(spec, field):
            message = f"{field} are not supported by this version"
            found.append(Violation(f"/{field}", message, Reason.NOT_SUPPORTED))
    if spec.not_before is not None and spec.not_before - created_at > MOST_AHEAD:
        message = "more than a year ahead"
        found.append(Violation("/notBefore", message, Reason.NOT_BEFORE_TOO_FAR))
    value = effective.input_of(spec)
    try:
        size = json_values.size(value)
    except RecursionError:
        return [*found, Violation("/input", "nested too deeply", Reason.INVALID_INPUT)]
    if size > names.INPUT_MAX_BYTES:
        message = f"larger than {names.INPUT_MAX_BYTES} bytes of compact JSON"
        found.append(Violation("/input", message, Reason.INVALID_INPUT))
    elif task_type is not None and task_type.input_schema is not None:
        found += _against_schema(value, task_type.input_schema)
    if spec.callback is not None:
        try:
            guard.check_url(spec.callback.url)
        except address_guard.Refused as refused:
            found.append(Violation("/callback/url", str(refused), Reason.CALLBACK_REFUSED))
    if spec.resources is not None:
        found += [
            Violation(
                f"/resources{pointer}", "more than one task may have", Reason.RESOURCES_EXCEEDED
            )
            for pointer in effective.over_cap(spec.resources, installation.resource_cap)
        ]
    return found[:MAX_FINDINGS]


def _against_schema(value: Any, schema: dict[str, Any]) -> list[Violation]:
    try:
        errors = itertools.islice(_validator(json.dumps(schema)).iter_errors(value), MAX_FINDINGS)
        return [
            Violation(
                json_values.pointer("input", *path),
                error.message[: names.MESSAGE_MAX],
                Reason.INVALID_INPUT,
            )
            for error in sorted(errors, key=lambda error: list(map(str, error.path)))
            for path in itertools.islice(_places(error), MAX_FINDINGS)
        ]
    except (
        jsonschema.SchemaError,
        referencing.exceptions.Unresolvable,
        re.error,  # a pattern that Python cannot read
        RecursionError,  # a schema that refers to itself
    ) as error:
        message = f"the type's inputSchema is unusable: {error}"[: names.MESSAGE_MAX]
        return [Violation("/input", message, Reason.INVALID_INPUT)]


@functools.lru_cache(maxsize=256)
def _validator(schema_text: str) -> Any:
    """Return what checks against the schema: building it costs more than all else at the door."""
    schema = json.loads(schema_text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind.check_schema(schema)
    # An empty registry: a remote $ref is an error, never a request.
    return kind(schema, registry=Registry())


def _places(error: jsonschema.ValidationError) -> Iterator[list[str | int]]:
    """Name the field itself where the rule stands at the object around it."""
    path = list(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    rule: Any = error.validator_value
    if error.validator == "required":
        # One error for each missing field, told apart by their messages alone.
        yield from ([*path, f] for f in rule if error.message.startswith(f"{f!r} is a required"))
    elif error.validator == "additionalProperties" and rule is False:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for field in instance:
            if field not in known and not any(re.search(p, field) for p in patterns):
                yield [*path, field]
    else:
        yield path

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
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import referencing.exceptions
from referencing import Registry

from longtask_crds import address_guard, effective, json_values, names, v1alpha1
from longtask_crds.pipeline import checks, references
from longtask_crds.v1alpha1 import Reason

#: No more findings than a reader can use: an answer must not be larger than its request.
MAX_FINDINGS = 50
#: How far ahead a task may be handed over. The admission policy says the same in CEL.
MOST_AHEAD = timedelta(days=366)


# --- what a spec breaks by itself ---


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule about one part of a spec, said twice: the API server asks `cel`, we ask `holds`."""

    cel: str  #: of `self`, the part; with `for_keys` of `name` too, each key of a map
    holds: Callable[..., bool]  #: of the same; with `for_keys` of the key and the part
    message: str
    field: str | None = None  #: below the part, dotted: what to mend; with `for_keys` the map
    for_keys: bool = False


_AMOUNTS = ("requests", "limits")


def _least(cel: str, amount: str) -> str:
    """Say in CEL that an amount is not less: it is a number or a text, so one must ask which."""
    number = math.ceil(effective.quantity(amount))
    return (
        f"(type({cel}) == int ? {cel} >= {number} : "
        f"!quantity({cel}).isLessThan(quantity('{amount}')))"
    )


def _least_size(field: str) -> Rule:
    """Return the rule that an optional size is none of which nobody could make use."""
    part, _, leaf = field.rpartition(".")

    def holds(whole: Any) -> bool:
        inner = getattr(whole, _attribute(part)) if part else whole
        size = getattr(inner, _attribute(leaf), None)
        return size is None or effective.quantity(size) >= effective.quantity("1Mi")

    return Rule(
        cel=f"!has(self.{part or leaf}) || {_least(f'self.{field}', '1Mi')}",
        holds=holds,
        message=f"{leaf}: at least 1Mi; a number without a unit is bytes",
        field=field,
    )


def _least_of(part: str, resource: str, amount: str, why: str) -> Rule:
    """Return the rule that a resource's amount is one that makes sense."""

    def holds(resources: v1alpha1.Resources) -> bool:
        given = _amounts(resources, part).get(resource)
        return given is None or effective.quantity(given) >= effective.quantity(amount)

    asked = f"self.{part}['{resource}']"
    return Rule(
        cel=f"!has(self.{part}) || !('{resource}' in self.{part}) || {_least(asked, amount)}",
        holds=holds,
        message=f"{resource}: at least {amount}, {why}",
        field=f"{part}.{resource}",
    )


def _request_within_limit(resource: str) -> Rule:
    def in_cel(part: str) -> str:
        amount = f"self.{part}['{resource}']"
        return f"(type({amount}) == int ? quantity('0').add({amount}) : quantity({amount}))"

    def holds(resources: v1alpha1.Resources) -> bool:
        least, most = (_amounts(resources, part).get(resource) for part in _AMOUNTS)
        if least is None or most is None:
            return True
        return effective.quantity(least) <= effective.quantity(most)

    return Rule(
        cel="!has(self.requests) || !has(self.limits) || "
        f"!('{resource}' in self.requests) || !('{resource}' in self.limits) || "
        f"!{in_cel('requests')}.isGreaterThan({in_cel('limits')})",
        holds=holds,
        message=f"{resource}: the request is above the limit",
        field=f"requests.{resource}",
    )


def _amounts(resources: v1alpha1.Resources, part: str) -> dict[str, str]:
    return getattr(resources, part) or {}


def _attribute(field: str) -> str:
    """Return the name in Python of a field."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", field)


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
    holds=lambda name, _: (
        re.fullmatch(_HEADER, name) is not None and re.fullmatch(_RESERVED_HEADER, name) is None
    ),
    message="Host, webhook-*, content and connection headers cannot be set",
    for_keys=True,
)
#: What a container has without anybody's saying so, and the least that makes sense: `64` for `64Mi`
#: is a slip that nothing else tells, for the pod would hang and hold its place.
_LEAST = {
    "cpu": ("1m", "the smallest share there is"),
    "memory": ("4Mi", "below which no container starts"),
    "ephemeral-storage": ("1Mi", "which a log alone soon takes"),
}
#: As Kubernetes takes them, but for its own: those (`hugepages-2Mi`) need more than a number.
_EXTENDED = (
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])*[a-z0-9]([-a-z0-9]*[a-z0-9])?/"
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_NOT_EXTENDED = "^(requests[.]|[^/]*kubernetes[.]io/|[^/]{245})"
_WHOLE = "^(0|[1-9][0-9]{0,8})$"


def _extended(part: str) -> tuple[Rule, ...]:
    """Return the rules of extended resources in the requests or in the limits."""
    return (
        Rule(
            cel=f"name in {list(_LEAST)} || "
            f"(name.matches('{_EXTENDED}') && !name.matches('{_NOT_EXTENDED}'))",
            holds=lambda name, _: (
                name in _LEAST
                or bool(re.fullmatch(_EXTENDED, name) and not re.match(_NOT_EXTENDED, name))
            ),
            message="resources are cpu, memory, ephemeral-storage, and extended ones such as "
            "nvidia.com/gpu",
            field=part,
            for_keys=True,
        ),
        Rule(
            cel=f"!name.contains('/') || string(self.{part}[name]).matches('{_WHOLE}')",
            holds=lambda name, resources: (
                not effective.is_extended(name)
                or re.fullmatch(_WHOLE, _amounts(resources, part)[name]) is not None
            ),
            message="an extended resource is counted in whole numbers",
            field=part,
            for_keys=True,
        ),
    )


#: The rules of `resources`, wherever they stand.
RESOURCES: tuple[Rule, ...] = (
    *map(_request_within_limit, _LEAST),
    *(_least_of(part, name, *least) for part in _AMOUNTS for name, least in _LEAST.items()),
    *(rule for part in _AMOUNTS for rule in _extended(part)),
    Rule(
        cel="!name.contains('/') || !has(self.limits) || !(name in self.limits) || "
        "string(self.requests[name]) == string(self.limits[name])",
        holds=lambda name, resources: (
            not effective.is_extended(name)
            or _amounts(resources, "limits").get(name) in (None, resources.requests[name])
        ),
        message="an extended resource has the same request as its limit",
        field="requests",
        for_keys=True,
    ),
)
_OUR_VOLUMES = ("input", "token", "tmp", "shm", "files")
_TAKEN_PATH = "^/(tmp|longtask|dev|proc|sys|(var/)?run/secrets)(/|$)"
_SOURCES = ("persistentVolumeClaim", "configMap", "secret", "emptyDir")
VOLUME = (
    Rule(
        cel=f"[{', '.join(f'has(self.{source})' for source in _SOURCES)}].filter(x, x).size() == 1",
        holds=lambda volume: (
            [getattr(volume, _attribute(source)) for source in _SOURCES].count(None) == 3
        ),
        message="exactly one of persistentVolumeClaim, configMap, secret and emptyDir is needed",
    ),
    Rule(
        cel=f"!(self.name in {list(_OUR_VOLUMES)})",
        holds=lambda volume: volume.name not in _OUR_VOLUMES,
        message="the names input, token, tmp, shm and files are LongTask's own",
        field="name",
    ),
    Rule(
        cel=f"!self.mountPath.matches('{_TAKEN_PATH}')",
        holds=lambda volume: re.match(_TAKEN_PATH, volume.mount_path) is None,
        message="/tmp, /longtask, /dev, /proc, /sys, /run/secrets and all below are taken",
        field="mountPath",
    ),
    Rule(
        cel="!has(self.readOnly) || self.readOnly || !(has(self.configMap) || has(self.secret))",
        holds=lambda volume: (
            volume.read_only is not False or (volume.config_map or volume.secret) is None
        ),
        message="a configMap or a secret cannot be written to",
        field="readOnly",
    ),
    _least_size("emptyDir.sizeLimit"),
)
EACH_ITS_PATH = Rule(
    cel="self.all(one, self.exists_one(other, other.mountPath == one.mountPath))",
    holds=lambda volumes: len({one.mount_path for one in volumes}) == len(volumes),
    message="each volume needs a mountPath of its own",
)
#: All rules of a task's spec, by the part that they speak of; `[]` goes into a list's items. Not of
#: `resources` in steps: to look at fifty of them is more work than the API server grants a rule.
TASK: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("", (ONE_KIND_OF_WORK,)),
    ("container.env[]", VARIABLE),
    ("resources", RESOURCES),
    ("steps[]", (ONE_KIND_OF_STEP,)),
    ("steps[].container.env[]", VARIABLE),
    ("callback.headers", (HEADER,)),
)
#: All rules of a type's spec, likewise.
TYPE: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("", (_least_size("shmSize"),)),
    ("container.env[]", VARIABLE),
    ("defaults.resources", RESOURCES),
    ("volumes", (EACH_ITS_PATH,)),
    ("volumes[]", VOLUME),
)


@dataclasses.dataclass(frozen=True)
class Breach:
    """A rule that a spec breaks by itself."""

    pointer: str  #: where in the spec, as a JSON Pointer
    message: str


def breaches(spec: v1alpha1.LongTaskSpec | v1alpha1.LongTaskTypeSpec) -> list[Breach]:
    """Return where a spec breaks a rule by itself: the API server says the same in CEL."""
    found = (
        Breach(json_values.pointer(*path), rule.message)
        for place, rules in (TASK if isinstance(spec, v1alpha1.LongTaskSpec) else TYPE)
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
    inner = getattr(part, name)
    if name == steps[0]:
        yield from _parts(inner, rest, (*path, name))
        return
    for index, item in enumerate(inner or ()):
        yield from _parts(item, rest, (*path, name, index))


def _broken(rule: Rule, part: Any, at: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    where = (*at, *(rule.field.split(".", 1) if rule.field else ()))
    if rule.for_keys:
        keys = getattr(part, rule.field) if rule.field else part
        yield from ((*where, key) for key in keys or () if not rule.holds(key, part))
    elif not rule.holds(part):
        yield where


# --- what needs the type or the installation ---


@dataclasses.dataclass(frozen=True)
class Violation(Breach):
    """One thing that keeps a task from ever running here."""

    reason: Reason


def types_of(spec: v1alpha1.LongTaskSpec) -> frozenset[str]:
    """Return the names of the types that a spec names, itself or in its steps."""
    named = (spec.type, *(step.type for step in spec.steps or ()))
    return frozenset(name for name in named if name)


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
    if spec.notify:
        message = "notify is not supported by this version"
        found.append(Violation("/notify", message, Reason.NOT_SUPPORTED))
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
            for path in _broken(rule, step.resources, ("resources",))
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
        yield from _against_schema(effective.input_of(spec), task_type.input_schema, at)
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
    value: Any, schema: dict[str, Any], at: references.Path = ()
) -> list[Violation]:
    try:
        errors = itertools.islice(_validator(json.dumps(schema)).iter_errors(value), MAX_FINDINGS)
        return [
            Violation(
                json_values.pointer(*at, "input", *path),
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
        return [Violation(json_values.pointer(*at, "input"), message, Reason.INVALID_INPUT)]


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

"""What a spec breaks by itself: each rule once, in CEL for the API server and in Python for us."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from longtask_crds import effective, json_values, v1alpha1

#: No more findings than a reader can use: an answer must not be larger than its request.
MAX_FINDINGS = 50


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
FEWER_THAN_ALL = Rule(
    cel="!has(self.minIdle) || self.minIdle < self.size",
    holds=lambda warm: warm.min_idle is None or warm.min_idle < warm.size,
    message="minIdle: less than size",
    field="minIdle",
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
    ("warm", (FEWER_THAN_ALL,)),
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
        for path in broken(rule, part, at)
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


def broken(rule: Rule, part: Any, at: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield where a part of a spec, which stands at a place, breaks the rule."""
    where = (*at, *(rule.field.split(".", 1) if rule.field else ()))
    if rule.for_keys:
        keys = getattr(part, rule.field) if rule.field else part
        yield from ((*where, key) for key in keys or () if not rule.holds(key, part))
    elif not rule.holds(part):
        yield where

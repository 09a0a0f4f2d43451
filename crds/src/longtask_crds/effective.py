"""What a task really gets: its own words, else its type's, else the installation's."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from longtask_crds import json_values, names, runner_contract, v1alpha1

_UNITS = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}
DEFAULT_PRIORITY = 50
DEFAULT_USER = 65532
_NO_TIMEOUTS = v1alpha1.Timeouts()


@dataclasses.dataclass(frozen=True)
class Installation:
    """What the installation gives to tasks that say nothing, and what none may exceed."""

    runner_image: str
    resources: v1alpha1.Resources
    resource_cap: Mapping[str, str]


class Wish(Protocol):
    """Where somebody wants to wait; None where they do not say."""

    @property
    def queue(self) -> str | None:
        """The queue's name."""

    @property
    def priority(self) -> int | None:
        """Minutes of head start."""


@dataclasses.dataclass(frozen=True)
class Retry:
    """When and how often a task is tried again. Times are seconds."""

    max_attempts: int
    backoff_seconds: int
    max_backoff_seconds: int


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long each part of a task may take, in seconds; None is no limit."""

    queue: int | None
    start: int
    run: int
    total: int | None
    heartbeat: int | None


@dataclasses.dataclass(frozen=True)
class EffectiveSpec:
    """A task's spec with every blank filled in."""

    type: str
    image: str
    command: tuple[str, ...] | None
    args: tuple[str, ...] | None
    env: tuple[v1alpha1.EnvVar, ...]
    queue: str
    priority: int
    resources: v1alpha1.Resources
    retry: Retry
    limits: Limits
    run_as_user: int
    writable_root: bool
    egress: v1alpha1.Egress
    placement: v1alpha1.Placement
    volumes: tuple[v1alpha1.TypeVolume, ...]
    shm_size: str | None

    @property
    def secrets(self) -> frozenset[str]:
        """Return the names of the Secrets that the pod reads."""
        of_env = (v.secret_ref.name for v in self.env if v.secret_ref is not None)
        of_volumes = (v.secret.secret_name for v in self.volumes if v.secret is not None)
        return frozenset((*of_env, *of_volumes))


def effective_spec(
    spec: v1alpha1.LongTaskSpec,
    task_type: v1alpha1.LongTaskTypeSpec | None,
    installation: Installation,
) -> EffectiveSpec:
    """Return what holds for the task; `task_type` is None for one with a container of its own."""
    task_type = task_type or v1alpha1.LongTaskTypeSpec()
    container = spec.container or task_type.container or v1alpha1.TypeContainer()
    defaults = task_type.defaults or v1alpha1.TypeDefaults()
    security = task_type.security or v1alpha1.TypeSecurity()
    return EffectiveSpec(
        type=spec.type or "",
        image=container.image or installation.runner_image,
        command=None if container.command is None else tuple(container.command),
        args=None if container.args is None else tuple(container.args),
        env=tuple(container.env or ()),
        queue=queue_of(spec, defaults),
        priority=priority_of(spec, defaults),
        resources=_resources(spec.resources, defaults.resources, installation),
        retry=_retry(spec.retry, defaults.retry),
        limits=limits_of(spec, defaults),
        run_as_user=_first(security.run_as_user, DEFAULT_USER),
        writable_root=bool(security.writable_root),
        egress=task_type.egress or v1alpha1.Egress.NONE,
        placement=task_type.placement or v1alpha1.Placement(),
        volumes=tuple(task_type.volumes or ()),
        shm_size=task_type.shm_size,
    )


def input_of(spec: v1alpha1.LongTaskSpec) -> Any:
    """Return what the program gets; no type has an input of its own."""
    return {} if spec.input is None else spec.input


def size_of_inputs(spec: v1alpha1.LongTaskSpec) -> int:
    """Return the bytes of all JSON that a spec brings, written compactly, its steps' together.

    Raises:
        RecursionError: It is nested deeper than Python goes.
    """
    _, *others = given_values(spec)
    given = [input_of(spec), *(value for _, value in others if value is not None)]
    return sum(map(json_values.size, given))


def given_values(spec: v1alpha1.LongTaskSpec) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the place of each value of a spec that may be any JSON, and the value."""
    yield ("input",), spec.input
    yield ("output",), spec.output
    for index, step in enumerate(spec.steps or ()):
        yield ("steps", index, "input"), step.input
        yield ("steps", index, "forEach"), step.for_each


def too_deep(spec: v1alpha1.LongTaskSpec) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of each value with which a spec could not be written as JSON by its model.

    That goes down 255 levels, what is around the values and what they take from others included.
    """
    for path, value in given_values(spec):
        flaws = json_values.flaws(value, depth=runner_contract.VALUE_DEPTH)
        if any(flaw == json_values.TOO_DEEP for _, flaw in flaws):
            yield path


def queue_of(wish: Wish, defaults: v1alpha1.TypeDefaults | None) -> str:
    """Return the name of the queue that the task waits in."""
    return wish.queue or (defaults.queue if defaults else None) or names.DEFAULT_QUEUE


def priority_of(wish: Wish, defaults: v1alpha1.TypeDefaults | None) -> int:
    """Return the task's minutes of head start in its queue."""
    of_type = defaults.priority if defaults else None
    return _first(wish.priority, of_type, DEFAULT_PRIORITY)


def limits_of(spec: v1alpha1.LongTaskSpec, defaults: v1alpha1.TypeDefaults | None) -> Limits:
    """Return how long each part of the task may take."""
    own = spec.timeouts or _NO_TIMEOUTS
    of_type = (defaults.timeouts if defaults else None) or _NO_TIMEOUTS
    return Limits(
        queue=_given(own.queue_seconds, of_type.queue_seconds),
        start=_first(own.start_seconds, of_type.start_seconds, 600),
        run=_first(own.run_seconds, of_type.run_seconds, 86_400),
        total=_given(own.total_seconds, of_type.total_seconds),
        heartbeat=_given(own.heartbeat_seconds, of_type.heartbeat_seconds),
    )


def over_cap(resources: v1alpha1.Resources, cap: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each amount that no task may ask for: `requests` or `limits`, and the resource.

    What the cap does not name is free, but for extended resources: those are few and dear.
    """
    for part, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        for name, asked in (amounts or {}).items():
            most = cap.get(name)
            if is_extended(name) if most is None else quantity(asked) > quantity(most):
                yield part, name


def is_extended(resource: str) -> bool:
    """Tell whether a node has a resource only where somebody says so, like `nvidia.com/gpu`."""
    return "/" in resource


@functools.lru_cache(maxsize=1024)
def quantity(text: str) -> Decimal:
    """Return an amount such as `250m` or `1.5Gi` as a number of base units."""
    digits = text.rstrip("kKMGTim")
    return Decimal(digits) * _UNITS[text[len(digits) :]]


def _first(*values: int | None) -> int:
    return next(v for v in values if v is not None)


def _given(own: int | None, of_type: int | None) -> int | None:
    return of_type if own is None else own


def _retry(own: v1alpha1.Retry | None, of_type: v1alpha1.Retry | None) -> Retry:
    own, of_type = own or v1alpha1.Retry(), of_type or v1alpha1.Retry()
    return Retry(
        max_attempts=_first(own.max_attempts, of_type.max_attempts, 1),
        backoff_seconds=_first(own.backoff_seconds, of_type.backoff_seconds, 10),
        max_backoff_seconds=_first(own.max_backoff_seconds, of_type.max_backoff_seconds, 360),
    )


def _resources(
    own: v1alpha1.Resources | None, of_type: v1alpha1.Resources | None, installation: Installation
) -> v1alpha1.Resources:
    """Fill each amount by itself: own, else the type's, else the installation's.

    An inherited request never exceeds a limit, or the API server would refuse the pod.
    """
    layers = [layer for layer in (own, of_type, installation.resources) if layer is not None]
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for layer in layers:
        extended = _extended(layer)
        for filled, amounts in ((requests, layer.requests), (limits, layer.limits)):
            for name, amount in ((amounts or {}) | extended).items():
                filled.setdefault(name, amount)
    for name in requests.keys() & limits.keys():
        if quantity(requests[name]) > quantity(limits[name]):
            if own and own.limits and name in own.limits:
                requests[name] = limits[name]
            else:
                limits[name] = requests[name]
    return v1alpha1.Resources(requests=requests, limits=limits)


def _extended(layer: v1alpha1.Resources) -> dict[str, str]:
    """Return a layer's extended resources: what is said on one side holds on both."""
    both = (layer.requests or {}) | (layer.limits or {})
    return {name: amount for name, amount in both.items() if is_extended(name)}

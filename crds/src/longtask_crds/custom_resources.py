"""What a CustomResourceDefinition says beyond the fields: names, columns, rules."""

import dataclasses
from typing import Any

from pydantic import BaseModel

from longtask_crds import names, schema, v1alpha1


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; wide ones appear with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as the CRD wants it."""
        out: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return out | ({"priority": 1} if self.wide else {})


@dataclasses.dataclass(frozen=True)
class Rule:
    """A CEL rule and the sentence that a user reads when it fails."""

    rule: str
    message: str
    field: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the CRD wants it."""
        out = {"rule": self.rule, "message": self.message}
        return out | ({"fieldPath": self.field} if self.field else {})


@dataclasses.dataclass(frozen=True)
class CrdFacts:
    """All of one kind that its model does not say."""

    kind: str
    plural: str
    short: str
    model: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    root_rules: tuple[Rule, ...] = ()
    spec_rules: tuple[Rule, ...] = ()
    status_rules: tuple[Rule, ...] = ()
    #: Rules by the path of a part of the spec; `[]` goes into a list's items.
    inner_rules: tuple[tuple[str, tuple[Rule, ...]], ...] = ()
    selectable: tuple[str, ...] = ()
    default_status: dict[str, Any] | None = None


def _name_rules(most: int) -> tuple[Rule, ...]:
    return (
        Rule(
            f"size(self.metadata.name) <= {most}",
            f"metadata.name: at most {most} characters, so that the names of Jobs still fit",
        ),
        Rule(
            f"self.metadata.name.matches('{names.DNS_LABEL_PATTERN}')",
            "metadata.name: only lower-case letters, digits and '-', as in a DNS label",
        ),
    )


def _unchanged(field: str) -> str:
    """Say in CEL that a field stays; `has` on both sides, or removing it would pass."""
    return (
        f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    )


#: The typeless `input` is invisible to a CRD's CEL; the admission policy guards it.
_FROZEN_SPEC = (
    "type",
    "container",
    "steps",
    "queue",
    "resources",
    "retry",
    "timeouts",
    "callback",
    "notify",
)
#: After Finished only `callback`, its condition and `observedGeneration` may change.
_FROZEN_STATUS = (
    "phase",
    "queue",
    "queuedAt",
    "startedAt",
    "finishedAt",
    "attempt",
    "attempts",
    "progress",
    "result",
    "steps",
    "waiting",
)
_WAS_FINISHED = (
    "has(oldSelf.conditions) && "
    "oldSelf.conditions.exists(c, "
    f"c.type == '{v1alpha1.ConditionType.FINISHED}' && c.status == 'True')"
)
_SETTLED = f"filter(c, c.type != '{v1alpha1.ConditionType.CALLBACK_DELIVERED}')"

_ENV_RULES = (
    Rule(
        "!self.name.startsWith('LONGTASK_')",
        "names that begin with LONGTASK_ are reserved",
        ".name",
    ),
    Rule("has(self.value) != has(self.secretRef)", "exactly one of value and secretRef is needed"),
)
_ONE_KIND_OF_WORK = Rule(
    "[has(self.type), has(self.container), has(self.steps)].filter(x, x).size() == 1",
    "exactly one of type, container and steps is needed",
)
_SCHEDULE_NAME_MAX = 43

LONGTASK = CrdFacts(
    kind="LongTask",
    plural=names.LONGTASKS,
    short="lt",
    model=v1alpha1.LongTask,
    spec=v1alpha1.LongTaskSpec,
    status=v1alpha1.LongTaskStatus,
    columns=(
        Column("Type", ".spec.type"),
        Column("Phase", ".status.phase"),
        Column("Progress", ".status.progress.percent", "integer"),
        Column("Queue", ".status.queue"),
        Column("Attempt", ".status.attempt", "integer"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Started", ".status.startedAt", "date", wide=True),
        Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason', wide=True),
        Column("Callback", ".status.callback.state", wide=True),
        Column("Job", ".status.attempts[-1:].jobName", wide=True),
    ),
    root_rules=_name_rules(names.TASK_NAME_MAX),
    spec_rules=(
        _ONE_KIND_OF_WORK,
        *(
            Rule(_unchanged(field), f"{field} cannot be changed once the task exists", f".{field}")
            for field in _FROZEN_SPEC
        ),
        Rule(
            "!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
            "a cancelled task stays cancelled",
            ".cancel",
        ),
    ),
    status_rules=(
        *(
            Rule(
                f"!({_WAS_FINISHED}) || ({_unchanged(field)})",
                f"{field} of a finished task cannot be changed",
            )
            for field in _FROZEN_STATUS
        ),
        Rule(
            f"!({_WAS_FINISHED}) || (has(self.conditions) && "
            f"self.conditions.{_SETTLED} == oldSelf.conditions.{_SETTLED})",
            "of a finished task's conditions only CallbackDelivered can be changed",
        ),
    ),
    inner_rules=(
        ("container.env[]", _ENV_RULES),
        (
            "steps[]",
            (
                Rule(
                    "has(self.type) != has(self.container)",
                    "exactly one of type and container is needed",
                ),
            ),
        ),
        ("steps[].container.env[]", _ENV_RULES),
        (
            "callback.headers",
            (
                Rule(
                    "self.all(name, name.matches('^[A-Za-z0-9-]{1,64}$') && !name.matches("
                    "'(?i)^(host|webhook-.*|connection|keep-alive|proxy-.*|te|trailer|"
                    "transfer-encoding|upgrade|content-length|content-type)$'))",
                    "Host, webhook-*, content and connection headers cannot be set",
                ),
            ),
        ),
    ),
    selectable=(".spec.type", ".status.phase", ".status.queue"),
    default_status={"phase": "Pending"},
)

LONGTASKTYPE = CrdFacts(
    kind="LongTaskType",
    plural=names.LONGTASKTYPES,
    short="ltt",
    model=v1alpha1.LongTaskType,
    spec=v1alpha1.LongTaskTypeSpec,
    status=v1alpha1.LongTaskTypeStatus,
    columns=(
        Column("Image", ".spec.container.image"),
        Column("Description", ".spec.description"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    root_rules=_name_rules(63),
    inner_rules=(("container.env[]", _ENV_RULES),),
)

LONGTASKQUEUE = CrdFacts(
    kind="LongTaskQueue",
    plural=names.LONGTASKQUEUES,
    short="ltq",
    model=v1alpha1.LongTaskQueue,
    spec=v1alpha1.LongTaskQueueSpec,
    status=v1alpha1.LongTaskQueueStatus,
    columns=(
        Column("Max-Running", ".spec.maxRunning", "integer"),
        Column("Paused", ".spec.paused", "boolean"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    root_rules=_name_rules(63),
)

LONGTASKSCHEDULE = CrdFacts(
    kind="LongTaskSchedule",
    plural=names.LONGTASKSCHEDULES,
    short="lts",
    model=v1alpha1.LongTaskSchedule,
    spec=v1alpha1.LongTaskScheduleSpec,
    status=v1alpha1.LongTaskScheduleStatus,
    columns=(
        Column("Schedule", ".spec.schedule"),
        Column("Suspend", ".spec.suspend", "boolean"),
        Column("Last-Schedule", ".status.lastScheduleTime", "date"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    root_rules=_name_rules(_SCHEDULE_NAME_MAX),
    spec_rules=(
        Rule(
            "has(self.schedule) != has(self.intervalSeconds)",
            "exactly one of schedule and intervalSeconds is needed",
        ),
    ),
    inner_rules=(
        (
            "taskTemplate.spec",
            (_ONE_KIND_OF_WORK,),
        ),
        ("taskTemplate.spec.container.env[]", _ENV_RULES),
    ),
)

ALL = (LONGTASK, LONGTASKTYPE, LONGTASKQUEUE, LONGTASKSCHEDULE)


def custom_resource_definition(facts: CrdFacts) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    spec = schema.structural_schema(facts.spec)
    status = schema.structural_schema(facts.status)
    _add_rules(spec, facts.spec_rules)
    _add_rules(status, facts.status_rules)
    for path, rules in facts.inner_rules:
        _add_rules(_at(spec, path), rules)
    conditions = status["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    if facts.default_status:
        status["default"] = facts.default_status
    root = {
        "type": "object",
        "description": facts.model.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of this schema."},
            "kind": {"type": "string", "description": "The kind of this resource."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    _add_rules(root, facts.root_rules)
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [c.to_json() for c in facts.columns],
    }
    if facts.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in facts.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{facts.plural}.{names.GROUP}",
            "labels": {"app.kubernetes.io/part-of": "longtask"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": facts.kind,
                "listKind": f"{facts.kind}List",
                "plural": facts.plural,
                "singular": facts.kind.lower(),
                "shortNames": [facts.short],
                # Not the plural: `kubectl delete longtasks --all` would take queues as well.
                "categories": ["longtask-all"],
            },
            "versions": [version],
        },
    }


def _at(node: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split("."):
        node = node["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            node = node["items"]
    return node


def _add_rules(node: dict[str, Any], rules: tuple[Rule, ...]) -> None:
    if rules:
        node["x-kubernetes-validations"] = [rule.to_json() for rule in rules]

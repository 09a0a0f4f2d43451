"""The definition of LongTask."""

from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.definitions import facts


def _unchanged(field: str) -> str:
    """Say in CEL that a field stays; `has` on both sides, or removing it would pass."""
    return (
        f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    )


#: The typeless `input` and `output` are invisible to a CRD's CEL; the admission policy guards them.
_FROZEN_SPEC = (
    "type",
    "container",
    "steps",
    "maxParallel",
    "queue",
    "resources",
    "retry",
    "timeouts",
    "callback",
    "notify",
    "notBefore",
)
#: After Finished only `callback`, its condition, `observedGeneration` and `contradictions` may
#: change.
_FROZEN_STATUS = (
    "phase",
    "queue",
    "queuedAt",
    "startedAt",
    "finishedAt",
    "attempt",
    "attempts",
    "disruptions",
    "retryAt",
    "progress",
    "result",
    "report",
    "step",
    "steps",
    "outcome",
    "waiting",
)
_WAS_FINISHED = (
    "has(oldSelf.conditions) && "
    "oldSelf.conditions.exists(c, "
    f"c.type == '{v1alpha1.ConditionType.FINISHED}' && c.status == 'True')"
)
_SETTLED = f"filter(c, c.type != '{v1alpha1.ConditionType.CALLBACK_DELIVERED}')"

#: What CEL sees of `pipeline.checks`, which names the very place; circles it does not see.
_LINKS = (
    facts.Rule(
        # The list of one list gives it a name: within each step it would be made anew.
        "!has(self.steps) || [self.steps.map(step, step.name)].all(names, "
        "self.steps.all(step, !has(step.needs) || step.needs.all(name, name in names)))",
        "each of a step's needs is the name of a step",
        ".steps",
    ),
    facts.Rule(
        "!has(self.steps) || self.steps.exists(step, !has(step.finally) || !step.finally)",
        "at least one step must not be marked finally",
        ".steps",
    ),
    facts.Rule(
        "has(self.steps) || !has(self.maxParallel)",
        "only a task with steps has it",
        ".maxParallel",
    ),
)

FACTS = facts.CrdFacts(
    kind="LongTask",
    plural=names.LONGTASKS,
    short="lt",
    model=v1alpha1.LongTask,
    spec=v1alpha1.LongTaskSpec,
    status=v1alpha1.LongTaskStatus,
    columns=(
        facts.Column("Type", ".spec.type"),
        facts.Column("Phase", ".status.phase"),
        facts.Column("Progress%", ".status.progress.percent", "integer"),
        facts.Column("Step", ".status.step"),
        facts.Column("Queue", ".status.queue"),
        facts.Column("Attempt", ".status.attempt", "integer"),
        facts.Column("Age", ".metadata.creationTimestamp", "date"),
        facts.Column("Started", ".status.startedAt", "date", wide=True),
        facts.Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason', wide=True),
        facts.Column("Callback", ".status.callback.state", wide=True),
        facts.Column("Job", ".status.attempts[-1:].jobName", wide=True),
        facts.Column("Image", ".spec.container.image", wide=True),
    ),
    root_rules=facts.name_rules(names.TASK_NAME_MAX),
    spec_rules=(
        *(
            facts.Rule(
                _unchanged(field), f"{field} cannot be changed once the task exists", f".{field}"
            )
            for field in _FROZEN_SPEC
        ),
        *_LINKS,
        facts.Rule(
            "!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
            "a cancelled task stays cancelled",
            ".cancel",
        ),
    ),
    status_rules=(
        *(
            facts.Rule(
                f"!({_WAS_FINISHED}) || ({_unchanged(field)})",
                f"{field} of a finished task cannot be changed",
            )
            for field in _FROZEN_STATUS
        ),
        facts.Rule(
            f"!({_WAS_FINISHED}) || (has(self.conditions) && "
            f"self.conditions.{_SETTLED} == oldSelf.conditions.{_SETTLED})",
            "of a finished task's conditions only CallbackDelivered can be changed",
        ),
    ),
    inner_rules=facts.rules_at("", acceptance.TASK),
    selectable=(".spec.type", ".status.phase", ".status.queue"),
    default_status={"phase": "Pending"},
)

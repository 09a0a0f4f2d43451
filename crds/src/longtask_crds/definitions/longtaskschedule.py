"""The definition of LongTaskSchedule."""

from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.definitions import facts

#: So that the names of the tasks it makes still fit.
_NAME_MAX = 43

FACTS = facts.CrdFacts(
    kind="LongTaskSchedule",
    plural=names.LONGTASKSCHEDULES,
    short="lts",
    model=v1alpha1.LongTaskSchedule,
    spec=v1alpha1.LongTaskScheduleSpec,
    status=v1alpha1.LongTaskScheduleStatus,
    columns=(
        facts.Column("Schedule", ".spec.schedule"),
        facts.Column("Suspend", ".spec.suspend", "boolean"),
        facts.Column("Last-Schedule", ".status.lastScheduleTime", "date"),
        facts.Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    root_rules=facts.name_rules(_NAME_MAX),
    spec_rules=(
        facts.Rule(
            "has(self.schedule) != has(self.intervalSeconds)",
            "exactly one of schedule and intervalSeconds is needed",
        ),
    ),
    inner_rules=facts.rules_at("taskTemplate.spec", acceptance.TASK),
)

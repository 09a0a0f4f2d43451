"""The definition of LongTaskSchedule."""

from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.definitions import facts

FACTS = facts.CrdFacts(
    kind="LongTaskSchedule",
    plural=names.LONGTASKSCHEDULES,
    short="lts",
    model=v1alpha1.LongTaskSchedule,
    spec=v1alpha1.LongTaskScheduleSpec,
    status=v1alpha1.LongTaskScheduleStatus,
    columns=(
        facts.Column("Schedule", ".spec.schedule"),
        facts.Column("Every", ".spec.intervalSeconds", "integer"),
        facts.Column("Suspend", ".status.conditions[?(@.type=='Suspended')].status"),
        facts.Column("Active", ".status.activeCount", "integer"),
        facts.Column("Last", ".status.lastScheduleTime", "date"),
        facts.Column("Next", ".status.nextRuns[0]"),
        facts.Column("Failures", ".status.failuresInARow", "integer"),
        facts.Column("Age", ".metadata.creationTimestamp", "date"),
        facts.Column("Zone", ".spec.timeZone", wide=True),
        facts.Column("Reason", ".status.conditions[?(@.type=='Suspended')].reason", wide=True),
        facts.Column("Succeeded", ".status.lastSuccessfulTime", "date", wide=True),
    ),
    root_rules=facts.name_rules(names.SCHEDULE_NAME_MAX),
    inner_rules=facts.rules_at("taskTemplate.spec", acceptance.TASK),
)

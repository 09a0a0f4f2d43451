"""The definition of LongTaskQueue."""

from longtask_crds import names, v1alpha1
from longtask_crds.definitions import facts

FACTS = facts.CrdFacts(
    kind="LongTaskQueue",
    plural=names.LONGTASKQUEUES,
    short="ltq",
    model=v1alpha1.LongTaskQueue,
    spec=v1alpha1.LongTaskQueueSpec,
    status=v1alpha1.LongTaskQueueStatus,
    columns=(
        facts.Column("Running", ".status.running", "integer"),
        facts.Column("Waiting", ".status.waiting", "integer"),
        facts.Column("Max", ".spec.maxRunning", "integer"),
        facts.Column("Paused", ".spec.paused", "boolean"),
        facts.Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        facts.Column("Age", ".metadata.creationTimestamp", "date"),
        facts.Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", wide=True),
    ),
    root_rules=facts.name_rules(63),
)

"""The definition of LongTaskType."""

from longtask_crds import acceptance, names, v1alpha1
from longtask_crds.definitions import facts

FACTS = facts.CrdFacts(
    kind="LongTaskType",
    plural=names.LONGTASKTYPES,
    short="ltt",
    model=v1alpha1.LongTaskType,
    spec=v1alpha1.LongTaskTypeSpec,
    status=v1alpha1.LongTaskTypeStatus,
    columns=(
        facts.Column("Image", ".spec.container.image"),
        facts.Column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        facts.Column("Age", ".metadata.creationTimestamp", "date"),
        facts.Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", wide=True),
        facts.Column("Description", ".spec.description", wide=True),
    ),
    root_rules=facts.name_rules(63),
    inner_rules=facts.rules_at("", acceptance.TYPE),
)

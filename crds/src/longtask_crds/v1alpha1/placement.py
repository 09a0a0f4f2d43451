"""On which nodes the pods of a type run: as in a pod's spec, but for what names namespaces.

Each field is typed, so that the API server refuses here what a pod could not say either. What
only the whole shows (an operator that takes no values) it refuses when the Job is made.
"""

import enum
from typing import Annotated

from pydantic import Field, StringConstraints

from longtask_crds import names
from longtask_crds.v1alpha1.fields import Model

LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        max_length=317,
    ),
]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]
LabelValues = Annotated[list[LabelValue], Field(max_length=64)]
LabelKeys = Annotated[list[LabelKey], Field(max_length=16)]
ClassName = Annotated[str, StringConstraints(pattern=names.DNS_SUBDOMAIN_PATTERN, max_length=253)]
Weight = Annotated[int, Field(ge=1, le=100)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]


class TolerationOperator(enum.StrEnum):
    """How a toleration is compared with a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(enum.StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint that the pods may run in spite of."""

    key: LabelKey | None = None
    """The taint's key; every key when absent, with operator Exists."""

    operator: TolerationOperator | None = None
    """Equal, when absent, or Exists, which takes every value."""

    value: LabelValue | None = None
    """The taint's value."""

    effect: TaintEffect | None = None
    """The taint's effect; every effect when absent."""

    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long a taint of effect NoExecute is tolerated; for ever when absent."""


class NodeOperator(enum.StrEnum):
    """How a node's label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class LabelOperator(enum.StrEnum):
    """How a pod's label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class NodeRequirement(Model):
    """What a label of a node must be."""

    key: LabelKey
    """The label."""

    operator: NodeOperator
    """How it is compared with the values."""

    values: LabelValues | None = None
    """The values: none for Exists and DoesNotExist, one whole number for Gt and Lt."""


class NodeTerm(Model):
    """A node that fits all of these."""

    match_expressions: Annotated[list[NodeRequirement], Field(min_length=1, max_length=16)]
    """What its labels must be."""


class NodeSelector(Model):
    """A node that fits one of these."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=16)]
    """The terms, of which one must fit."""


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: Weight
    """How much better."""

    preference: NodeTerm
    """Which nodes."""


class NodeAffinity(Model):
    """Nodes by their labels."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """The only nodes that will do."""

    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=16)] | None
    ) = None
    """Nodes that are better than others."""


class LabelRequirement(Model):
    """What a label of a pod must be."""

    key: LabelKey
    """The label."""

    operator: LabelOperator
    """How it is compared with the values."""

    values: LabelValues | None = None
    """The values: none for Exists and DoesNotExist."""


class LabelSelector(Model):
    """Pods by their labels. A task's pods carry longtask.dev/task, /queue and /attempt."""

    match_labels: Labels | None = None
    """Labels that the pods have."""

    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] | None = None
    """What their labels must be."""


class PodAffinityTerm(Model):
    """Pods beside which, or apart from which, the pods run; all of the tasks' own namespace."""

    label_selector: LabelSelector | None = None
    """Which pods."""

    topology_key: LabelKey
    """The label of nodes whose value says what "beside" means, such as kubernetes.io/hostname."""

    match_label_keys: LabelKeys | None = None
    """Labels in which those pods are like the pod itself."""

    mismatch_label_keys: LabelKeys | None = None
    """Labels in which those pods differ from the pod itself."""


class PreferredPods(Model):
    """Pods whose company is better, or worse, than others'."""

    weight: Weight
    """How much."""

    pod_affinity_term: PodAffinityTerm
    """Which pods."""


class PodAffinity(Model):
    """Where other pods are, or are not."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[list[PodAffinityTerm], Field(max_length=16)] | None
    ) = None
    """What must hold for all of these."""

    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPods], Field(max_length=16)] | None
    ) = None
    """What is better."""


class Affinity(Model):
    """Which nodes the pods may run on, or run best on."""

    node_affinity: NodeAffinity | None = None
    """By the nodes' labels."""

    pod_affinity: PodAffinity | None = None
    """Beside these pods."""

    pod_anti_affinity: PodAffinity | None = None
    """Apart from these pods."""


class WhenUnsatisfiable(enum.StrEnum):
    """What becomes of a pod that cannot be spread as wanted."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class NodeInclusion(enum.StrEnum):
    """Whether a rule about nodes counts."""

    HONOR = "Honor"
    IGNORE = "Ignore"


class TopologySpreadConstraint(Model):
    """How evenly pods are spread over zones, or over nodes."""

    max_skew: Annotated[int, Field(ge=1, le=10_000)]
    """By how many pods two of them may differ."""

    topology_key: LabelKey
    """The label of nodes whose value says which zone they belong to."""

    when_unsatisfiable: WhenUnsatisfiable
    """What becomes of a pod that cannot be spread so."""

    label_selector: LabelSelector | None = None
    """Which pods are counted."""

    min_domains: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many zones there are at least; with DoNotSchedule only."""

    node_affinity_policy: NodeInclusion | None = None
    """Whether nodes that the pods may not run on are left out: Honor when absent."""

    node_taints_policy: NodeInclusion | None = None
    """Whether nodes with taints that are not tolerated are left out: Ignore when absent."""

    match_label_keys: LabelKeys | None = None
    """Labels in which the counted pods are like the pod itself."""


class Placement(Model):
    """Where the pods run, how urgent they are to the scheduler, and under which runtime."""

    node_selector: Labels | None = None
    """Labels that the node has."""

    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints of nodes that the pods may run in spite of."""

    affinity: Affinity | None = None
    """Which nodes the pods may run on, or run best on."""

    topology_spread_constraints: (
        Annotated[list[TopologySpreadConstraint], Field(max_length=16)] | None
    ) = None
    """How evenly the pods are spread over zones, or over nodes."""

    priority_class_name: ClassName | None = None
    """The name of a PriorityClass: whose pods the scheduler takes first. The place in a queue is
    another matter, and `priority` says it."""

    runtime_class_name: ClassName | None = None
    """The name of a RuntimeClass, such as one for gVisor or Kata Containers."""

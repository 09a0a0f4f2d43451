"""Tasks and types by the thousand, each from a number: whatever the contract lets them say.

Their specs break no rule. Between the fields stands what authors of hostile specs would try: fields
of pods that the contract has not, texts that Kubernetes would expand, amounts at their bounds.
"""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, TypeVar

import spec_corpus
from longtask_crds import v1alpha1
from longtask_crds.testing import a_task, a_type

Json = dict[str, Any]
T = TypeVar("T")

#: Classes that a cluster must have before it takes all of the pods; the first one each has.
PRIORITY_CLASS = "system-cluster-critical"
RUNTIME_CLASS = "longtask-pod-cases"

#: What is tried in places that the contract does not know: the API server drops it.
_SMUGGLED: Json = {
    "hostPath": {"path": "/"},
    "hostNetwork": True,
    "hostPID": True,
    "privileged": True,
    "securityContext": {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["SYS_ADMIN"]}},
    "serviceAccountName": "admin",
    "nodeName": "node-1",
    "initContainers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}],
    "volumeMounts": [{"name": "x", "mountPath": "/"}],
    "ports": [{"containerPort": 1, "hostPort": 1}],
    "subPath": "../..",
    "nfs": {"server": "10.0.0.1", "path": "/"},
}
_TEXTS = ("", "x", "$(LONGTASK_TOKEN_FILE)", "$$(X)", "\n- name: x", "é€😀", "--privileged", "a b")


@dataclasses.dataclass(frozen=True)
class Case:
    """A task and the type that it names, if it names one."""

    task: v1alpha1.LongTask
    task_type: v1alpha1.LongTaskType | None


def case(number: int) -> Case:
    """Return the case of that number, the same each time."""
    made = _Maker(random.Random(number))
    if made.often():
        kind = a_type("mine", **made.type_spec())
        return Case(a_task(f"case-{number}", **made.task_spec({"type": "mine"})), kind)
    own = {"container": made.container() | {"image": made.one(spec_corpus.IMAGES)}}
    return Case(a_task(f"case-{number}", **made.task_spec(own)), None)


class _Maker:
    """Makes what it is asked for, by its dice."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.one = dice.choice

    def often(self) -> bool:
        return self.dice.random() < 0.6

    def some(self, fields: dict[str, Callable[[], Any]]) -> Json:
        """Return some of the fields, and now and then one that is none."""
        made = {name: make() for name, make in fields.items() if self.often()}
        if not self.often():
            smuggled = self.one(sorted(_SMUGGLED.keys() - fields.keys()))
            made[smuggled] = _SMUGGLED[smuggled]
        return made

    def few(self, make: Callable[[], T], *, least: int = 0, most: int = 3) -> list[T]:
        return [make() for _ in range(self.dice.randint(least, most))]

    def text(self) -> str:
        return self.one(_TEXTS)

    # --- tasks ---

    def task_spec(self, work: Json) -> Json:
        return (
            self.some(
                {
                    "input": lambda: self.one(({"a": "$(X)"}, [None, 1.5], "text", 0)),
                    "queue": self.name,
                    "priority": lambda: self.dice.randint(0, 100),
                    "resources": self.resources,
                    "timeouts": self.timeouts,
                }
            )
            | work
        )

    def timeouts(self) -> Json:
        names = ("queueSeconds", "startSeconds", "runSeconds")
        return self.some({name: lambda: self.one((1, 60, 31_536_000)) for name in names})

    def container(self) -> Json:
        return self.some(
            {
                "image": lambda: self.one(spec_corpus.IMAGES),
                "command": lambda: self.few(self.text),
                "args": lambda: self.few(self.text),
                "env": lambda: self.few(self.variable),
            }
        )

    def variable(self) -> Json:
        name = self.one(("HOME", "PATH", "A", "_b", "LONGTASK"))
        if self.often():
            return {"name": name, "value": self.text()}
        return {"name": name, "secretRef": {"name": self.name(), "key": "a.b"}}

    def resources(self) -> Json:
        requests = self.some(
            {
                "cpu": lambda: self.one(("1m", "250m", 1, 2)),
                "memory": lambda: self.one(("4Mi", "64Mi", "1Gi", 2**30)),
                "ephemeral-storage": lambda: self.one(("1Mi", "1Gi")),
                "example.com/widget": lambda: self.one((0, 1, "2")),
            }
        )
        requests = {k: v for k, v in requests.items() if k not in _SMUGGLED}
        # As much or more, and of a device as much.
        limits = {
            name: amount if "/" in name else {"cpu": 2, "memory": "2Gi"}.get(name, "2Gi")
            for name, amount in requests.items()
            if self.often()
        }
        if self.often():
            limits.setdefault("nvidia.com/gpu", self.one((0, 1, "8")))
        return {"requests": requests, "limits": limits}

    # --- types ---

    def type_spec(self) -> Json:
        return self.some(
            {
                "description": self.text,
                "container": self.container,
                "inputSchema": lambda: {},
                "defaults": self.defaults,
                "security": lambda: self.some(
                    {
                        "runAsUser": lambda: self.one((1, 1000, 2_147_483_647)),
                        "writableRoot": self.often,
                    }
                ),
                "egress": lambda: self.one(("none", "internet")),
                "placement": self.placement,
                "volumes": self.volumes,
                "shmSize": lambda: self.one(("1Mi", "1Gi", 2**20)),
                "warm": self.warm,
            }
        )

    def warm(self) -> Json:
        more = {"maxAgeSeconds": lambda: self.one((60, 3600)), "minIdle": lambda: self.one((0, 9))}
        return {"size": self.one((10, 100))} | self.some(more)

    def defaults(self) -> Json:
        return self.some(
            {
                "queue": self.name,
                "priority": lambda: self.dice.randint(0, 100),
                "resources": self.resources,
                "retry": lambda: {"maxAttempts": self.dice.randint(1, 100)},
                "timeouts": self.timeouts,
            }
        )

    def volumes(self) -> list[Json]:
        # One below another: still the path of each is its own.
        paths = self.dice.sample(
            ("/data", "/data/more", "/tmpfs", "/home/me/.cache", "/var/run", "/opt/a_b-c.d/e"), k=3
        )
        names = self.dice.sample(("data", "more", "0", "x" * 63), k=3)
        return [
            self.volume(name, path) for name, path in zip(names, paths, strict=True) if self.often()
        ]

    def volume(self, name: str, path: str) -> Json:
        source: Json = self.one(
            (
                {"persistentVolumeClaim": {"claimName": self.name()}},
                {"configMap": {"name": self.name()}},
                {"secret": {"secretName": self.name()}},
                {"emptyDir": {"sizeLimit": self.one(("1Mi", 2**30))}},
                {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
            )
        )
        bound = source.keys() & {"configMap", "secret"}
        read_only = lambda: bool(bound) or self.often()  # noqa: E731
        return self.some({"readOnly": read_only}) | {"name": name, "mountPath": path} | source

    # --- placement ---

    def placement(self) -> Json:
        return self.some(
            {
                "nodeSelector": self.labels,
                "tolerations": lambda: self.few(self.toleration),
                "affinity": self.affinity,
                "topologySpreadConstraints": self.spread,
                "priorityClassName": lambda: PRIORITY_CLASS,
                "runtimeClassName": lambda: RUNTIME_CLASS,
            }
        )

    def labels(self) -> Json:
        return {self.key(): self.one(("", "a", "A_b.c-9")) for _ in range(self.dice.randint(0, 2))}

    def key(self) -> str:
        return self.one(("a", "a.b/C_d", "kubernetes.io/hostname", "longtask.dev/queue"))

    def name(self) -> str:
        return self.one(("a", "0", "a-b", "x" * 63))

    def toleration(self) -> Json:
        if not self.often():
            return {"operator": "Exists"} | self.some({"effect": lambda: "NoSchedule"})
        seconds = {"effect": "NoExecute", "tolerationSeconds": self.dice.randint(0, 300)}
        return {"key": self.key(), "operator": "Equal", "value": "x"} | self.one((seconds, {}))

    def requirement(self, *others: str) -> Json:
        operator = self.one(("In", "NotIn", "Exists", "DoesNotExist", *others))
        values = {"In": ["a", "b"], "NotIn": ["a"], "Gt": ["1"], "Lt": ["9"]}.get(operator)
        given = {"key": self.key(), "operator": operator}
        return given if values is None else given | {"values": values}

    def node_term(self) -> Json:
        node = lambda: self.requirement("Gt", "Lt")  # noqa: E731
        return {"matchExpressions": self.few(node, least=1)}

    def selector(self) -> Json:
        return self.some(
            {"matchLabels": self.labels, "matchExpressions": lambda: self.few(self.requirement)}
        )

    def pod_term(self) -> Json:
        given = {"topologyKey": self.key()}
        if not self.often():
            return given
        # Of the keys of which others are like the pod, or unlike it, none may be asked for twice.
        return given | {
            "labelSelector": self.selector(),
            "matchLabelKeys": ["longtask.dev/task"],
            "mismatchLabelKeys": ["longtask.dev/attempt"],
        }

    def affinity(self) -> Json:
        hard = "requiredDuringSchedulingIgnoredDuringExecution"
        soft = "preferredDuringSchedulingIgnoredDuringExecution"
        of_pods = {
            hard: lambda: self.few(self.pod_term),
            soft: lambda: self.few(
                lambda: {"weight": self.one((1, 100)), "podAffinityTerm": self.pod_term()}
            ),
        }
        of_nodes = {
            hard: lambda: {"nodeSelectorTerms": self.few(self.node_term, least=1)},
            soft: lambda: self.few(
                lambda: {"weight": self.one((1, 100)), "preference": self.node_term()}
            ),
        }
        return self.some(
            {
                "nodeAffinity": lambda: self.some(of_nodes),
                "podAffinity": lambda: self.some(of_pods),
                "podAntiAffinity": lambda: self.some(of_pods),
            }
        )

    def spread(self) -> list[Json]:
        def constraint(key: str) -> Json:
            hard = self.often()
            given = {
                "maxSkew": self.one((1, 10_000)),
                "topologyKey": key,
                "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
                "labelSelector": self.selector(),
            }
            return given | self.some(
                {
                    "nodeAffinityPolicy": lambda: self.one(("Honor", "Ignore")),
                    "nodeTaintsPolicy": lambda: self.one(("Honor", "Ignore")),
                    **({"minDomains": lambda: 1} if hard else {}),
                    **({"matchLabelKeys": lambda: ["longtask.dev/task"]} if self.often() else {}),
                }
            )

        return [constraint(key) for key in ("zone", "kubernetes.io/hostname") if self.often()]

"""What types and queues say of themselves, of a real API server: what it takes, strange as it is.

Whatever a definition of ours takes can be read, so that nothing is `Unreadable` here.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from longtask_adapters.kube import errors, informer, kinds
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_crds import names, queueing, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import a_condition
from longtask_operator import cluster, mirror, verdicts
from longtask_operator.testing import INSTALLATION, SURROUNDINGS

Kubectl = Callable[..., str]
KINDS = pytest.mark.parametrize("kind", [kinds.TYPES, kinds.QUEUES], ids=lambda kind: kind.plural)
READY = a_condition(v1alpha1.ConditionType.READY, reason=v1alpha1.Reason.VALID)


@pytest.fixture
async def connection(kubeconfig: Path) -> AsyncIterator[Connection]:
    async with KubernetesTransport.connect(kubeconfig=kubeconfig) as transport:
        yield Connection(transport, user_agent=cluster.USER_AGENT)


class Looking:
    """What an operator does that has just begun, and what there is to see."""

    def __init__(self, connection: Connection, kubectl: Kubectl, namespace: str) -> None:
        self.door = cluster.Cluster(connection)
        self._connection = connection
        self._kubectl = kubectl
        self._namespace = namespace
        self.restart()

    def restart(self) -> None:
        """Begin with nothing known."""
        self._seen = mirror.Mirror(lambda _: None)
        self._verdicts = verdicts.Verdicts(
            self._seen,
            self.door,
            INSTALLATION,
            SURROUNDINGS,
            lambda: True,
            lambda: datetime.now(UTC),
        )

    def put(self, kind: kinds.Place, spec: dict[str, Any], name: str = "") -> str:
        """Store a spec under a name of its own, or one that is there."""
        name = name or f"v-{uuid.uuid4().hex[:8]}"
        singular = {kinds.TYPES: "LongTaskType", kinds.QUEUES: "LongTaskQueue"}[kind]
        document = {"apiVersion": names.API_VERSION, "kind": singular, "spec": spec}
        document["metadata"] = {"name": name}
        self._kubectl("-n", self._namespace, "apply", "-f", "-", document=document)
        return name

    async def look(self) -> None:
        """List all, and say what is to be said."""
        for kind, cache in (
            (kinds.TYPES, self._seen.types),
            (kinds.QUEUES, self._seen.queues),
        ):
            await informer.relist(self._connection, kind, self._namespace, cache)
        await self._verdicts.once()

    def raw(self, kind: kinds.Place, name: str) -> dict[str, Any]:
        """Return an object as it is stored."""
        resource = f"{kind.plural}.{names.GROUP}/{name}"
        found = self._kubectl("-n", self._namespace, "get", resource, "-o", "json")
        return dict(json.loads(found))

    def ready(self, kind: kinds.Place, name: str) -> dict[str, Any]:
        """Return the condition of an object."""
        (found,) = self.raw(kind, name)["status"]["conditions"]
        assert found["type"] == "Ready"
        return dict(found)

    def column(self, kind: kinds.Place, name: str) -> str:
        """Return what `kubectl get` shows of it."""
        resource = f"{kind.plural}.{names.GROUP}"
        shown = self._kubectl("-n", self._namespace, "get", resource, name)
        head, line = shown.splitlines()
        at = head.index("READY")
        return line[at:].split()[0]


@pytest.fixture
def looking(connection: Connection, kubectl: Kubectl, namespace: str) -> Looking:
    return Looking(connection, kubectl, namespace)


def toleration(**fields: Any) -> dict[str, Any]:
    return {"placement": {"tolerations": [fields]}}


def node(**expression: Any) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool"} | expression]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return {"placement": {"affinity": {"nodeAffinity": required}}}


STRANGE = [
    pytest.param({}, "True", "Valid", "", id="nothing-at-all"),
    pytest.param(
        {"inputSchema": {"type": "object"}, "warm": {"size": 1}}, "True", "Valid", "", id="usual"
    ),
    pytest.param(
        {"inputSchema": {"type": "numbre"}},
        "False",
        "InvalidSchema",
        "inputSchema cannot be used: /type: ",
        id="a-schema-that-is-none",
    ),
    pytest.param(
        {"inputSchema": {"$ref": "https://example.com/schema"}},
        "False",
        "InvalidSchema",
        "inputSchema cannot be used: ",
        id="a-schema-that-is-elsewhere",
    ),
    pytest.param(
        {"inputSchema": json.loads('{"not":' * 300 + "{}" + "}" * 300)},
        "False",
        "InvalidSchema",
        "inputSchema cannot be used: ",
        id="a-schema-that-is-deep",
    ),
    pytest.param(
        toleration(key="gpu", operator="Exists", value="yes"),
        "False",
        "JobRefused",
        "the Job was refused: spec.template.spec.tolerations[0]",
        id="a-toleration-of-all-that-names-one",
    ),
    pytest.param(
        node(operator="In"),
        "False",
        "JobRefused",
        "the Job was refused: spec.template.spec.affinity.nodeAffinity",
        id="one-of-no-values",
    ),
    pytest.param(
        node(operator="Gt", values=["1", "2"]),
        "False",
        "JobRefused",
        "the Job was refused: spec.template.spec.affinity.nodeAffinity",
        id="more-than-two-numbers",
    ),
]


@pytest.mark.parametrize(("spec", "status", "reason", "message"), STRANGE)
async def test_a_type_says_whether_it_can_be_used(
    looking: Looking, spec: dict[str, Any], status: str, reason: str, message: str
) -> None:
    name = looking.put(kinds.TYPES, spec)
    await looking.look()
    found = looking.ready(kinds.TYPES, name)
    assert (found["status"], found["reason"], found["observedGeneration"]) == (status, reason, 1)
    assert found["message"].startswith(message)
    assert looking.column(kinds.TYPES, name) == status


async def test_trying_a_job_leaves_none_behind(
    looking: Looking, kubectl: Kubectl, namespace: str
) -> None:
    looking.put(kinds.TYPES, {})
    await looking.look()
    assert json.loads(kubectl("-n", namespace, "get", "jobs", "-o", "json"))["items"] == []


async def test_what_is_mended_says_so_and_nothing_is_written_twice(looking: Looking) -> None:
    name = looking.put(kinds.TYPES, toleration(operator="Exists", value="x"))
    await looking.look()
    looking.put(kinds.TYPES, {"placement": {}}, name)
    await looking.look()
    found = looking.ready(kinds.TYPES, name)
    assert (found["status"], found["observedGeneration"]) == ("True", 2)
    version = looking.raw(kinds.TYPES, name)["metadata"]["resourceVersion"]
    await looking.look()
    looking.restart()
    await looking.look()
    assert looking.raw(kinds.TYPES, name)["metadata"]["resourceVersion"] == version


async def test_a_queue_says_so_too(looking: Looking) -> None:
    name = looking.put(kinds.QUEUES, {"maxRunning": 0, "paused": True})
    await looking.look()
    assert looking.ready(kinds.QUEUES, name)["status"] == "True"
    assert looking.column(kinds.QUEUES, name) == "True"


async def test_kubectl_waits_for_it(looking: Looking, kubectl: Kubectl, namespace: str) -> None:
    name = looking.put(kinds.TYPES, {})
    words = ("-n", namespace, "wait", "--for=condition=Ready", f"ltt/{name}", "--timeout=55s")
    waiting = asyncio.create_task(asyncio.to_thread(kubectl, *words))
    await looking.look()
    assert "condition met" in await waiting


@KINDS
async def test_a_stale_write_is_a_conflict(
    looking: Looking, connection: Connection, namespace: str, kind: kinds.Kind[Any]
) -> None:
    name = looking.put(kind, {})
    meta = kind.read(await connection.get(kind.path(ObjectKey(namespace, name)))).metadata
    await looking.door.write_conditions(kind, meta, [READY])
    with pytest.raises(errors.Conflict):
        await looking.door.write_conditions(kind, meta, [])
    assert looking.ready(kind, name)["reason"] == "Valid"


async def test_the_counts_of_a_queue_and_its_condition_stay_beside_each_other(
    looking: Looking, connection: Connection, namespace: str
) -> None:
    name = looking.put(kinds.QUEUES, {})
    await looking.look()
    path = kinds.QUEUES.path(ObjectKey(namespace, name))
    queue = kinds.QUEUES.read(await connection.get(path))
    counted = await looking.door.write_counts(queue, queueing.Counts(running=1, waiting=2))
    assert (counted.status.running, counted.status.waiting) == (1, 2)
    assert looking.ready(kinds.QUEUES, name)["status"] == "True"

"""Nothing waits on a node that is cordoned, and of all other nodes nothing is heard."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from longtask_adapters.testing import MemoryKubernetes
from longtask_adapters.testing.kubernetes import Refusal
from longtask_crds import names, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.testing import NAMESPACE, a_queue, a_task
from longtask_operator import testing
from longtask_operator.rules import warm
from longtask_operator.warm import nodes

TYPE = ObjectKey(NAMESPACE, "render")
NODE = "node-1"  #: where the twin has all pods run
ASKED = ["list nodes", "watch nodes"]


def a_type(**spec: Any) -> v1alpha1.LongTaskType:
    return v1alpha1.LongTaskType.model_validate(
        {
            "metadata": {"name": TYPE.name, "namespace": NAMESPACE},
            "spec": {"warm": {"size": 2}, "container": {"image": "x"}} | spec,
        }
    )


class Cordons:
    """An operator that watches nodes; its pauses are over at once, after everybody had a turn."""

    def __init__(self) -> None:
        self.kubernetes = MemoryKubernetes()
        self.kubernetes.add(a_queue(maxRunning=9))
        self.operator = testing.Operator(kubernetes=self.kubernetes)
        self.operator.nodes._sleep = lambda _: asyncio.sleep(0)

    @property
    def nodes(self) -> nodes.Nodes:
        return self.operator.nodes

    @property
    def asked(self) -> list[str]:
        return [call for call in self.kubernetes.calls if "nodes" in call]

    def cordon(self, name: str = NODE, *, is_cordoned: bool = True) -> None:
        self.kubernetes.put("nodes", name, spec={"unschedulable": is_cordoned})

    def waiting(self) -> list[str]:
        jobs = self.kubernetes.objects("jobs").values()
        return [raw["metadata"]["name"] for raw in jobs]

    async def fill(self) -> None:
        """Have the pods made that are wanted, and run."""
        await self.operator.hear()
        await self.operator.ahead.reconcile(TYPE)
        made = {
            owner["name"]
            for raw in self.kubernetes.objects("pods").values()
            for owner in raw["metadata"]["ownerReferences"]
        }
        for name in self.waiting():
            if name not in made:
                self.kubernetes.start_pod(self.kubernetes.make_pod(name))
        await self.operator.hear()

    async def knows(self, *cordoned: str) -> None:
        """Wait until it knows that these are cordoned."""
        changed = asyncio.Event()
        self.nodes.on_change(changed.set)
        while self.nodes.cordoned != set(cordoned):
            changed.clear()
            await changed.wait()


@pytest.fixture
async def cordons() -> AsyncIterator[Cordons]:
    made = Cordons()
    running = asyncio.create_task(made.nodes.run())
    async with asyncio.timeout(60):
        yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def turns() -> None:
    """Let everybody else have a few turns."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nobody_asks_for_nodes_while_no_pods_wait(cordons: Cordons) -> None:
    cordons.kubernetes.add(a_type(warm=None))
    await cordons.operator.hear()
    await turns()
    assert cordons.asked == []
    cordons.kubernetes.add(a_type())
    await cordons.operator.hear()
    await turns()
    assert cordons.asked == ASKED


async def test_it_is_asked_for_no_more_once_no_type_keeps_pods(cordons: Cordons) -> None:
    cordons.kubernetes.add(a_type())
    cordons.cordon()
    await cordons.operator.hear()
    await cordons.knows(NODE)
    cordons.kubernetes.put(names.LONGTASKTYPES, TYPE, spec={"warm": None})
    await cordons.operator.hear()
    cordons.kubernetes.end_watches()
    await cordons.knows()
    await turns()
    assert cordons.asked == ASKED
    cordons.kubernetes.add(a_type())
    await cordons.operator.hear()
    await cordons.knows(NODE)
    await turns()
    assert cordons.asked == ASKED * 2


async def test_what_a_watch_missed_is_found_by_the_list_before_the_next_one(
    cordons: Cordons, monkeypatch: pytest.MonkeyPatch
) -> None:
    cordons.kubernetes.add(a_type())
    cordons.cordon()
    await cordons.operator.hear()
    await cordons.knows(NODE)
    with monkeypatch.context() as patched:
        patched.setattr(cordons.nodes, "_take", lambda _: None)
        cordons.cordon(is_cordoned=False)
        await turns()
    assert cordons.nodes.cordoned == {NODE}
    cordons.kubernetes.end_watches()
    await cordons.knows()


async def test_what_waits_on_a_cordoned_node_goes(cordons: Cordons) -> None:
    cordons.kubernetes.add(a_type())
    await cordons.fill()
    before = cordons.waiting()
    cordons.cordon()
    await cordons.knows(NODE)
    assert TYPE in cordons.operator.woken_types
    await cordons.operator.ahead.reconcile(TYPE)
    after = cordons.waiting()
    # What takes their place waits for a node, and is not made again and again.
    assert len(after) == len(before) == 2
    assert not set(before) & set(after)
    await cordons.operator.hear()
    await cordons.operator.ahead.reconcile(TYPE)
    assert cordons.waiting() == after


async def test_no_task_gets_a_pod_there(cordons: Cordons) -> None:
    cordons.kubernetes.add(a_type())
    await cordons.fill()
    cordons.cordon()
    await cordons.knows(NODE)
    await cordons.operator.submit(a_task("report", type=TYPE.name))
    await cordons.operator.look()
    (attempt,) = cordons.operator.status().attempts or []
    assert attempt.start is v1alpha1.Start.NONE_IDLE
    cordons.cordon(is_cordoned=False)
    await cordons.knows()


async def test_what_other_nodes_say_of_themselves_never_comes(cordons: Cordons) -> None:
    """10,000 changes of nodes that are not cordoned bring no event: none is even sent."""
    cordons.kubernetes.add(a_type())
    cordons.cordon("node-2")
    await cordons.operator.hear()
    await cordons.knows("node-2")
    woken: list[None] = []
    cordons.nodes.on_change(lambda: woken.append(None))
    for beat in range(10_000):
        cordons.kubernetes.put("nodes", f"node-{beat % 100 + 3}", status={"beat": beat})
    cordons.cordon("node-2", is_cordoned=False)
    await cordons.knows()
    assert (cordons.asked, len(woken)) == (ASKED, 1)


async def test_a_place_that_is_forgotten_is_found_again_by_a_list(cordons: Cordons) -> None:
    cordons.kubernetes.add(a_type())
    await cordons.operator.hear()
    await turns()
    cordons.kubernetes.go_away(Refusal(410, "Expired", "too old"))
    await turns()
    cordons.cordon()
    before = len(cordons.asked)
    cordons.kubernetes.come_back()
    await cordons.knows(NODE)
    assert "list nodes" in cordons.asked[before:]


async def test_what_nobody_foresaw_ends_no_watch(
    cordons: Cordons, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cordons.kubernetes.add(a_type())
    listed = cordons.nodes._list

    async def fails_once() -> int:
        monkeypatch.setattr(cordons.nodes, "_list", listed)
        raise KeyError("metadata")

    monkeypatch.setattr(cordons.nodes, "_list", fails_once)
    await cordons.operator.hear()
    cordons.cordon()
    await cordons.knows(NODE)
    assert "The watch failed" in [line.message for line in caplog.records]


async def test_without_the_right_it_goes_on_and_says_so_once(
    cordons: Cordons, caplog: pytest.LogCaptureFixture
) -> None:
    cordons.kubernetes.add(a_type())
    await cordons.operator.hear()
    caplog.set_level(logging.INFO)
    refused = 'nodes is forbidden: User "x" cannot list resource "nodes"'
    cordons.kubernetes.go_away(Refusal(403, "Forbidden", refused))
    await turns()
    assert [line.message for line in caplog.records] == ["Lost the watch"]
    cordons.kubernetes.come_back()
    cordons.cordon()
    await cordons.knows(NODE)
    await turns()
    assert [line.message for line in caplog.records][1:] == ["Resumed the watch"]


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, True),
        ({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "node.kubernetes.io/unschedulable", "value": "x"}, False),
        ({"key": "gpu", "operator": "Exists"}, False),
    ],
)
async def test_pods_that_are_at_home_there_stay(
    toleration: dict[str, str], expected: bool, cordons: Cordons
) -> None:
    """Others like them would go there again, and be taken away again, for ever."""
    task_type = a_type(placement={"tolerations": [toleration]})
    assert warm.tolerates_cordons(task_type.spec.placement) is expected
    cordons.kubernetes.add(task_type)
    await cordons.fill()
    before = cordons.waiting()
    cordons.cordon()
    await cordons.knows(NODE)
    await cordons.operator.ahead.reconcile(TYPE)
    assert (cordons.waiting() == before) is expected

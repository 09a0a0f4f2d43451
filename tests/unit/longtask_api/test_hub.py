"""Who is told of what, and what that costs while nobody takes it."""

from collections.abc import Iterator

import pytest

from api_support import CALLER, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import wiring
from longtask_api.auth import callers
from longtask_api.hub import MOST_PENDING, OfMany
from longtask_api.stores.filters import Filter
from longtask_crds import names
from longtask_crds.names import ObjectKey
from stream_support import knows, put_started

ANN = callers.Caller(subject="ann", name="ann")
LABELS = {names.OWNER_LABEL: "ann"}
EVERYTHING = Filter()


def taken(listener: OfMany, most: int = 100) -> list[tuple[str, bool]]:
    return [(news.key.name, news.gone is not None) for news in listener.take(most)]


async def test_a_listener_is_told_of_what_it_may_see(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    hub = services.hub
    with (
        hub.listening_to_all(CALLER, EVERYTHING, since=None) as everything,
        hub.listening_to_all(ANN, EVERYTHING, since=None) as hers,
        hub.listening_to_all(CALLER, Filter(owner="bob"), since=None) as nothing,
    ):
        put_task(kubernetes, "a", metadata={"labels": LABELS})
        put_task(kubernetes, "b")
        await knows(services, kubernetes)
        assert taken(everything) == [("a", False), ("b", False)]
        assert taken(hers) == [("a", False)]
        assert taken(nothing) == []
        kubernetes.remove_task("a")
        await knows(services, kubernetes)
        assert (taken(hers), taken(everything)) == ([("a", True)], [("a", True)])
        assert taken(nothing) == []
        # Nothing is left to come back for, whoever was told nothing.
        assert {each.since for each in (everything, hers, nothing)} == {kubernetes.version}


async def test_a_task_that_changes_often_is_told_once_as_it_is(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=None) as listener:
        for percent in range(5):
            put_started(kubernetes, "a", progress={"percent": percent})
            put_task(kubernetes, "b")
        put_started(kubernetes, "a", progress={"percent": 6})
        last = kubernetes.version
        await knows(services, kubernetes)
        assert listener.size == 2
        (b, a) = listener.take(10)
        assert (b.key.name, a.key.name, a.version) == ("b", "a", last)


async def test_who_takes_nothing_falls_back_on_the_cache(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=None) as listener:
        count = MOST_PENDING + 5
        for number in range(count):
            put_task(kubernetes, f"t{number}")
        kubernetes.remove_task("t1")
        await knows(services, kubernetes)
        assert listener.size == 0
        versions: list[int] = []
        while found := listener.take(300):
            versions += [news.version for news in found]
        assert versions == sorted(set(versions))
        assert len(versions) == count  # each that is there, and the one that went
        put_task(kubernetes, "last")
        await knows(services, kubernetes)
        assert taken(listener) == [("last", False)]


async def test_all_tasks_are_looked_at_once_for_a_thousand(
    kubernetes: MemoryKubernetes, services: wiring.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    changed_since = services.resources.changed_since

    def counted(version: int) -> Iterator[tuple[int, ObjectKey]]:
        looks.append(version)
        return iter(changed_since(version))

    monkeypatch.setattr(services.resources, "changed_since", counted)
    for number in range(2 * MOST_PENDING + 5):
        put_task(kubernetes, f"t{number}")
    await knows(services, kubernetes)
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=0) as listener:
        names_told = []
        while found := taken(listener, 100):
            if len(names_told) == 100:
                # What changes before it was told is told as it is then, and once.
                put_task(kubernetes, "t500")
                await knows(services, kubernetes)
            names_told += [name for name, _ in found]
    assert len(names_told) == len(set(names_told)) == 2 * MOST_PENDING + 5
    assert names_told[-1] == "t500"
    assert len(looks) <= 4


async def test_what_the_watch_has_not_brought_yet_is_held_back(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    """A write of this replica's own is in the cache before something older that others wrote."""
    hub = services.hub
    put_task(kubernetes, "a")
    await knows(services, kubernetes)
    with hub.listening_to_all(CALLER, EVERYTHING, since=None) as listener:
        put_task(kubernetes, "b")
        task = await services.resources.find_task(services.resources.key("a"))
        assert task is not None
        await services.resources.patch_task(task, {"spec": {"priority": 7}})
        assert taken(listener) == []
        assert listener.is_done
        await knows(services, kubernetes)
        assert taken(listener) == [("b", False), ("a", False)]


async def test_a_change_wakes_who_follows_the_task_and_nobody_else(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_started(kubernetes, "a")
    await knows(services, kubernetes)
    key = services.resources.key
    with services.hub.listening(key("a")) as one, services.hub.listening(key("b")) as other:
        put_started(kubernetes, "a", progress={"percent": 5})
        await knows(services, kubernetes)
        assert (one.is_woken, other.is_woken) == (True, False)
        assert one.taken()
        put_started(kubernetes, "a", progress={"percent": 6}, waiting="x")
        await knows(services, kubernetes)
        assert not one.taken()


async def test_deletions_are_remembered_for_who_comes_back(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_task(kubernetes, "a", metadata={"labels": LABELS})
    put_task(kubernetes, "b")
    await knows(services, kubernetes)
    since = services.hub.position
    kubernetes.remove_task("a")
    kubernetes.remove_task("b")
    await knows(services, kubernetes)
    with services.hub.listening_to_all(ANN, EVERYTHING, since=since) as listener:
        assert taken(listener) == [("a", True)]
    assert services.hub.known_since <= since


@pytest.mark.parametrize("most", [1, 2])
async def test_who_comes_back_gets_the_oldest_first(
    kubernetes: MemoryKubernetes, services: wiring.Services, most: int
) -> None:
    for name in ("c", "a", "b"):
        put_task(kubernetes, name)
    await knows(services, kubernetes)
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=1) as listener:
        found = []
        while got := taken(listener, most):
            found += got
    assert [name for name, _ in found] == ["c", "a", "b"]


async def test_a_write_that_the_watch_brings_later_is_told_to_who_was_behind(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    """Nothing else says it again: the watch brings what is in the cache already."""
    put_task(kubernetes, "a")
    await knows(services, kubernetes)
    since = services.hub.position - 1
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=since) as listener:
        task = await services.resources.find_task(services.resources.key("a"))
        assert task is not None
        put_task(kubernetes, "b")
        await services.resources.patch_task(task, {"spec": {"priority": 7}})
        assert taken(listener) == []
        await knows(services, kubernetes)
        assert taken(listener) == [("b", False), ("a", False)]


async def test_who_was_told_of_something_older_is_woken_for_the_rest(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_task(kubernetes, "a")
    put_task(kubernetes, "b")
    await knows(services, kubernetes)
    with services.hub.listening_to_all(CALLER, EVERYTHING, since=None) as listener:
        put_task(kubernetes, "b", spec={"priority": 3})
        await knows(services, kubernetes)
        task = await services.resources.find_task(services.resources.key("a"))
        assert task is not None
        await services.resources.patch_task(task, {"spec": {"priority": 7}})
        assert taken(listener) == [("b", False)]
        assert listener.is_done
        await listener.wait(0)
        woken = [listener.is_woken]
        await knows(services, kubernetes)
        assert [*woken, listener.is_woken] == [False, True]
        assert taken(listener) == [("a", False)]

"""A Lease is taken only on top of what was seen of it."""

import datetime
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection, errors, leases
from longtask_crds import names
from longtask_crds.testing import NOW

KEY = names.ObjectKey("longtasks", "admission")
AT = "2026-01-02T03:04:05.000000Z"


def later(seconds: float) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


async def take(
    connected: connection.Connection, seen: leases.Lease | None, holder: str, after: float = 0
) -> leases.Lease:
    return await leases.take(connected, KEY, seen, holder=holder, seconds=15, now=later(after))


def spec(kubernetes: testing.MemoryKubernetes) -> dict[str, Any]:
    stored: dict[str, Any] = kubernetes.stored("leases", KEY)["spec"]
    return stored


async def test_the_first_one_makes_it(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    assert await leases.read(connected, KEY) is None
    made = await take(connected, None, "a")
    assert made == await leases.read(connected, KEY)
    assert (made.key, made.holder, made.seconds, made.transitions) == (KEY, "a", 15, 0)
    assert spec(kubernetes) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": AT,
        "renewTime": AT,
        "leaseTransitions": 0,
    }
    with pytest.raises(errors.Conflict):
        await take(connected, None, "b")


async def test_a_renewal_is_a_new_version_and_no_transition(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    made = await take(connected, None, "a")
    renewed = await take(connected, made, "a", 2.5)
    assert renewed.version != made.version
    assert renewed.transitions == 0
    stored = spec(kubernetes)
    assert (stored["acquireTime"], stored["renewTime"]) == (AT, "2026-01-02T03:04:07.500000Z")


async def test_another_holder_is_a_transition(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    made = await take(connected, None, "a")
    taken = await take(connected, made, "b", 20)
    assert (taken.holder, taken.transitions) == ("b", 1)
    assert spec(kubernetes)["acquireTime"] == "2026-01-02T03:04:25.000000Z"


async def test_one_that_was_let_go_is_held_by_nobody(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    made = await take(connected, None, "a")
    free = await take(connected, made, "", 1)
    assert (free.holder, free.transitions) == ("", 0)
    assert "holderIdentity" not in spec(kubernetes)
    assert (await take(connected, free, "b", 2)).transitions == 1


@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [
        pytest.param("b", errors.Conflict, id="somebody-took-it"),
        pytest.param(None, errors.NotFound, id="somebody-deleted-it"),
    ],
)
async def test_what_was_seen_must_be_what_there_is(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    meanwhile: str | None,
    error: type[Exception],
) -> None:
    made = await take(connected, None, "a")
    if meanwhile is None:
        kubernetes.remove("leases", KEY)
    else:
        await take(connected, made, meanwhile, 1)
    with pytest.raises(error):
        await take(connected, made, "a", 2)


async def test_what_nobody_wrote_into_is_held_by_nobody(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("leases", KEY)
    found = await leases.read(connected, KEY)
    assert found is not None
    assert (found.holder, found.seconds, found.transitions) == ("", 0, 0)

"""How much somebody may ask for."""

import contextlib
import dataclasses
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api_support import CALLER, Named, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, dependencies, errors, settings, wiring
from longtask_api.auth import callers, credentials
from longtask_api.http import limits
from longtask_api.services.allowances import Allowances
from longtask_api.stores.catalogue import Catalogue, Record
from longtask_crds import names
from longtask_crds.testing import a_task, with_meta, with_status
from longtask_crds.v1alpha1 import Phase

ORDER = {"type": "fibonacci", "input": {"n": 1}}


def with_parts(services: wiring.Services, **rates: int) -> wiring.Services:
    # Time stands still: on a slow machine a bucket would run out meanwhile.
    return dataclasses.replace(
        services,
        credentials=credentials.Credentials([Named()]),
        limiter=limits.Limiter(limits.Rates(**rates), clock=lambda: 0.0),
    )


def at(application: FastAPI, address: str = "192.0.2.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://api.test")


async def statuses(client: httpx.AsyncClient, count: int, **headers: str) -> list[int]:
    return [(await client.get("/api/v1/types", headers=headers)).status_code for _ in range(count)]


def bearing(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def test_who_asks_too_often_is_told_when_to_come_again(services: wiring.Services) -> None:
    async with at(app.for_users(with_parts(services, per_second=1))) as client:
        assert await statuses(client, 10, **bearing("ann")) == [200] * 10
        answer = await client.get("/api/v1/types", headers=bearing("ann"))
        assert answer.status_code == 429
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert answer.json()["detail"] == "10 requests in 10 seconds are taken."
        assert await statuses(client, 1, **bearing("bob")) == [200], "each has their own"


async def test_addresses_are_counted_before_anybody_is_known(services: wiring.Services) -> None:
    application = app.for_users(with_parts(services, per_second_of_address=1))
    async with at(application) as client, at(application, "192.0.2.2") as elsewhere:
        assert await statuses(client, 11) == [401] * 10 + [429]
        assert await statuses(elsewhere, 1, **bearing("ann")) == [200]


@pytest.mark.parametrize(
    ("forwarded", "counted_together"),
    [
        pytest.param({"X-Forwarded-For": "203.0.113.{n}"}, False, id="each-client-of-the-proxy"),
        pytest.param(
            {"X-Forwarded-For": "198.51.100.{n}, 203.0.113.1"}, True, id="not-what-a-client-claims"
        ),
        pytest.param({}, True, id="the-proxy-itself"),
        pytest.param({"X-Forwarded-For": "203.0.113.1:4{n}"}, True, id="one-client-by-its-ports"),
        pytest.param(
            {"X-Forwarded-For": "198.51.100.{n}, 203.0.113.1:80, 10.0.0.9:8{n}"},
            True,
            id="behind-a-proxy-with-its-port",
        ),
        pytest.param({"X-Forwarded-For": "[2001:db8::1]:4{n}"}, True, id="ipv6-with-ports"),
        pytest.param({"X-Forwarded-For": "[2001:db8::{n}]"}, True, id="one-network-of-ipv6"),
        pytest.param({"X-Forwarded-For": "[2001:db8:{n}::1]"}, False, id="networks-of-ipv6"),
    ],
)
async def test_what_a_trusted_proxy_says_is_believed(
    services: wiring.Services, forwarded: dict[str, str], counted_together: bool
) -> None:
    application = app.for_users(
        with_parts(services, per_second_of_address=1), trusted_proxies=["10.0.0.0/8"]
    )
    async with at(application, "10.1.2.3") as client:
        found = []
        for n in range(11):
            headers = {key: value.format(n=n) for key, value in forwarded.items()}
            found += await statuses(client, 1, **headers)
    assert found == [401] * 10 + [429 if counted_together else 401]


async def test_nobody_else_is_believed(services: wiring.Services) -> None:
    async with at(app.for_users(with_parts(services, per_second_of_address=1))) as client:
        claims = [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(11)]
        found = [(await statuses(client, 1, **claim))[0] for claim in claims]
    assert found[-1] == 429


@pytest.mark.parametrize(
    ("client", "address"),
    [
        pytest.param(("192.0.2.1", 1), "192.0.2.1", id="as-it-is"),
        pytest.param(("2001:db8::1:2:3:4", 1), "2001:db8::/64", id="the-network-of-ipv6"),
        pytest.param(("::ffff:192.0.2.1", 1), "192.0.2.1", id="of-ipv4-as-ipv6-writes-it"),
        pytest.param(("testclient", 1), "testclient", id="none-that-is-known"),
        pytest.param(None, "", id="of-a-socket"),
    ],
)
def test_the_address(client: tuple[str, int] | None, address: str) -> None:
    scope: dict[str, Any] = {"type": "http", "client": client}
    assert limits.address_of(limits.Request(scope)) == address


def test_logins_are_counted_by_user_and_address() -> None:
    limiter = limits.Limiter(limits.Rates(logins_per_minute=2), clock=lambda: 0.0)
    for _ in range(2):
        limiter.take_login("ann", "a")
    with pytest.raises(errors.TooManyRequests) as refused:
        limiter.take_login("ann", "a")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    limiter.take_login("ann", "b")
    for n in range(5):
        limiter.take_login(f"user-{n}", "a")
    with pytest.raises(errors.TooManyRequests):
        limiter.take_login("yet-another", "a")


async def test_a_route_may_ask_for_it(services: wiring.Services) -> None:
    application = app.for_users(with_parts(services, logins_per_minute=1))

    @application.post("/slow-login")
    async def login(take: dependencies.LoginLimitDep) -> None:
        take("ann")

    async with at(application) as client:
        found = [(await client.post("/slow-login")).status_code for _ in range(2)]
    assert found == [200, 429]


def test_a_burst_and_then_the_rate() -> None:
    now = [100.0]
    limiter = limits.Limiter(limits.Rates(per_second=2), clock=lambda: now[0])

    def is_taken() -> bool:
        try:
            limiter.take_of_caller("ann")
        except errors.TooManyRequests:
            return False
        return True

    def taken() -> int:
        return sum(is_taken() for _ in range(100))

    assert taken() == 20
    now[0] += 1
    assert taken() == 2
    now[0] += 1_000
    assert taken() == 20, "no more than that is saved up"


def test_whoever_came_is_forgotten_in_time() -> None:
    now = [100.0]
    limiter = limits.Limiter(limits.Rates(per_second_of_address=1), clock=lambda: now[0])
    for n in range(50_000):
        limiter.take_of_address(f"192.0.2.{n}")
        now[0] += 0.01
    assert len(limiter._empty_at) < 2_000


# --- how many tasks somebody may have


def a_catalogue(**phases: Phase) -> Catalogue:
    """Return one with tasks of ann in these phases."""
    made = Catalogue()
    for name, phase in phases.items():
        labelled = with_meta(a_task(name), labels={names.OWNER_LABEL: "ann"})
        made.put(Record.of(with_status(labelled, phase=phase)))
    return made


def key(name: str) -> names.ObjectKey:
    return names.ObjectKey("longtasks", name)


ANN = callers.Caller(subject="ann")


def make(allowances: Allowances, name: str, *, caller: callers.Caller = ANN) -> None:
    with allowances.one_more(caller, key(name)):
        pass


THREE = {"a": Phase.RUNNING, "b": Phase.QUEUED, "c": Phase.FAILED}


@pytest.mark.parametrize(
    ("caller", "active", "stored", "refused"),
    [
        pytest.param(ANN, 2, 0, "2 tasks that have not ended; 2 are", id="as-many-go-on-as-may"),
        pytest.param(ANN, 3, 0, None, id="one-more-may-go-on"),
        pytest.param(ANN, 0, 3, "3 tasks; 3 are allowed", id="as-many-are-there-as-may"),
        pytest.param(ANN, 0, 4, None, id="one-more-may-be-there"),
        pytest.param(ANN, 0, 0, None, id="no-limit"),
        pytest.param(callers.Caller(subject="bob"), 1, 1, None, id="another's-do-not-count"),
        pytest.param(CALLER, 1, 1, None, id="the-installation-has-no-limit"),
    ],
)
def test_how_many_somebody_may_have(
    caller: callers.Caller, active: int, stored: int, refused: str | None
) -> None:
    allowances = Allowances(a_catalogue(**THREE), active=active, stored=stored)
    if refused is None:
        make(allowances, "d", caller=caller)
        return
    with pytest.raises(errors.TooManyRequests, match=refused):
        make(allowances, "d", caller=caller)


def test_the_runs_of_a_schedule_do_not_count_among_the_tasks_of_its_owner() -> None:
    catalogue = a_catalogue(a=Phase.RUNNING)
    labels = {names.OWNER_LABEL: "ann", names.SCHEDULE_LABEL: "nightly"}
    for minute, phase in enumerate((Phase.RUNNING, Phase.QUEUED, Phase.SUCCEEDED)):
        run = with_meta(a_task(f"nightly-{minute}"), labels=labels)
        catalogue.put(Record.of(with_status(run, phase=phase)))
    make(Allowances(catalogue, active=2, stored=2), "b")
    with pytest.raises(errors.TooManyRequests, match="1 tasks that have not ended; 1 are"):
        make(Allowances(catalogue, active=1, stored=0), "b")
    with pytest.raises(errors.TooManyRequests, match="You have 1 tasks; 1 are"):
        make(Allowances(catalogue, active=0, stored=1), "b")


def test_those_that_are_being_made_count_once() -> None:
    catalogue = a_catalogue()
    allowances = Allowances(catalogue, active=2, stored=0)
    with allowances.one_more(ANN, key("a")), allowances.one_more(ANN, key("a")):
        catalogue.put(a_catalogue(a=Phase.PENDING)[key("a")])
        with allowances.one_more(ANN, key("b")), pytest.raises(errors.TooManyRequests):
            make(allowances, "c")
        make(allowances, "c")


def test_the_catalogue_counts_as_tasks_come_end_and_go() -> None:
    catalogue = a_catalogue(**THREE)
    assert catalogue.count_of("ann") == (2, 3)
    catalogue.put(a_catalogue(a=Phase.SUCCEEDED)[key("a")])
    assert catalogue.count_of("ann") == (1, 3)
    catalogue.remove(key("b"))
    catalogue.remove(key("c"))
    assert catalogue.count_of("ann") == (0, 1)
    assert catalogue.count_of("bob") == (0, 0)


@pytest.fixture
def configured(configured: settings.Settings) -> settings.Settings:
    return configured.model_copy(update={"active_tasks_per_owner": 3})


async def test_a_task_too_many_is_refused_and_a_repeated_request_is_not(
    kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    async with at(app.for_users(with_parts(services))) as client:
        keyed = bearing("ann") | {"Idempotency-Key": "k"}
        first = await client.post("/api/v1/tasks", json=ORDER, headers=keyed)
        assert first.status_code == 202
        for name in "abc":
            put_task(kubernetes, name, metadata={"labels": {names.OWNER_LABEL: "ann"}})
        again = await client.post("/api/v1/tasks", json=ORDER, headers=keyed)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        refused = await client.post("/api/v1/tasks", json=ORDER, headers=bearing("ann"))
    assert refused.status_code == 429
    assert "have not ended; 3 are allowed" in refused.json()["detail"]


def test_codes_are_counted_by_who_asks_and_for_whose_mailbox() -> None:
    limiter = limits.Limiter(limits.Rates(), clock=lambda: 0.0)

    def taken(subject: str, mailbox: str, times: int) -> int:
        count = 0
        for _ in range(times):
            with contextlib.suppress(errors.TooManyRequests):
                limiter.take_code(subject, mailbox)
                count += 1
        return count

    assert taken("eve", "ada@a.test", 100) == 6
    assert taken("ada", "ada@a.test", 100) == 6, "what eve was refused is not counted"
    assert (taken("eve", "b@a.test", 5), taken("eve", "c@a.test", 5)) == (5, 1), "twelve in all"
    others = sum(taken(f"eve-{number}", "ada@a.test", 6) for number in range(4))
    assert others == 12, "a mailbox gets 24"
    with pytest.raises(errors.TooManyRequests) as refused:
        limiter.take_code("joe", "ada@a.test")
    assert int(refused.value.headers["Retry-After"]) > 60

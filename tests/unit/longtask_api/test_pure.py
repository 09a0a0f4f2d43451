import json
from datetime import timedelta

import pytest

from longtask_api import cluster, errors
from longtask_api.routes import tasks as task_routes
from longtask_api.services import listing, places
from longtask_crds import names, testing, v1alpha1
from longtask_crds.testing import FINISHED, NOW, a_condition, a_queue, a_type, with_meta


def an_answer(code, *, reason="", message="", causes=()):
    status = {"reason": reason, "message": message, "details": {"causes": list(causes)}}
    return code, json.dumps(status).encode(), {"Retry-After": "7"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(an_answer(404), errors.NotFound, id="not-there"),
        pytest.param(an_answer(409, reason="AlreadyExists"), errors.AlreadyExists, id="name-taken"),
        pytest.param(an_answer(409, reason="Conflict"), errors.Conflict, id="somebody-wrote-first"),
        pytest.param(an_answer(410), errors.Expired, id="too-old"),
        pytest.param(an_answer(422, reason="Invalid"), errors.Rejected, id="refused-by-cel"),
        pytest.param(an_answer(429), errors.TooManyRequests, id="busy"),
        pytest.param(an_answer(401), errors.Unavailable, id="our-own-token-is-bad"),
        pytest.param(an_answer(500), errors.Unavailable, id="broken"),
        pytest.param(an_answer(403, message="exceeded quota"), errors.Forbidden, id="quota"),
        pytest.param(
            an_answer(403, message='User "system:serviceaccount:a:b" cannot create resource'),
            errors.Unavailable,
            id="our-own-rights-are-no-users-business",
        ),
        pytest.param((502, b"<html>", {}), errors.Unavailable, id="not-kubernetes-at-all"),
    ],
)
def test_error_of(answer, error):
    assert type(cluster.error_of(*answer)) is error


def test_the_api_server_says_when_to_come_back():
    assert cluster.error_of(*an_answer(429)).headers["Retry-After"] == "7"


def test_each_cause_is_named_in_the_orders_own_words():
    causes = [{"field": "spec.callback.headers", "message": "no"}]
    found = cluster.error_of(*an_answer(422, causes=causes)).errors
    assert [(error.pointer, error.detail) for error in found] == [("/callback/headers", "no")]


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        pytest.param("spec.container.env[0].name", "/container/env/0/name", id="in-a-list"),
        pytest.param("metadata.name", "/name", id="of-the-metadata"),
        pytest.param("spec", "", id="the-whole"),
        pytest.param("<nil>", "", id="nowhere"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_order_pointer(field, pointer):
    assert cluster.order_pointer(field) == pointer


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("wait=30", 30, id="plain"),
        pytest.param("respond-async, wait=5", 5, id="among-others"),
        pytest.param("wait=999", 60, id="never-more-than-a-minute"),
        pytest.param("wait=-1", None, id="no-number"),
        pytest.param("await=3", None, id="another-word"),
    ],
)
def test_wait_of(prefer, seconds):
    assert task_routes.wait_of(prefer) == seconds


def a_task(name, *, age=0, spec=None, status=None, labels=None):
    made = testing.a_task(name, uid=name, **(spec or {}))
    made = made.model_copy(update={"status": v1alpha1.LongTaskStatus(**(status or {}))})
    created = NOW - timedelta(seconds=age)
    return with_meta(made, creation_timestamp=created, labels=labels or {})


REFUSED = a_condition(v1alpha1.ConditionType.ACCEPTED, v1alpha1.ConditionStatus.FALSE)
FAST = a_type("fast", defaults={"queue": "express", "priority": 90})
QUEUE = a_queue(maxRunning=2)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        pytest.param([a_task("a", age=1), a_task("b", age=2)], ["b", "a"], id="oldest-first"),
        pytest.param(
            [a_task("a", age=61), a_task("b", spec={"priority": 52})],
            ["b", "a"],
            id="a-point-is-a-minute",
        ),
        pytest.param([a_task("a", status={"attempt": 1})], [], id="a-started-one-waits-no-more"),
        pytest.param(
            [a_task("a", status={"conditions": [FINISHED]})],
            [],
            id="nor-a-finished-one",
        ),
        pytest.param(
            [a_task("a", status={"conditions": [REFUSED]})],
            [],
            id="nor-one-that-can-never-run",
        ),
        pytest.param(
            [a_task("a", age=5), a_task("b", spec={"type": "fast"})],
            ["a"],
            id="other-queues-do-not-count",
        ),
    ],
)
def test_places(tasks, expected):
    board = places.Board()
    board.use_types({"fast": FAST})
    for task in tasks:
        board.update(task.metadata.name, task)
    found = {task.metadata.name: board.place(task.metadata.name, {}) for task in tasks}
    here = [(p.position, name) for name, p in found.items() if p and p.queue == "default"]
    assert [name for _, name in sorted(here)] == expected


def test_places_move_with_the_tasks():
    board = places.Board()

    def update(name, **arguments):
        board.update(name, a_task(name, **arguments))

    def seen(name):
        place = board.place(name, {"default": QUEUE})
        return place and (place.position, place.running, place.max_running)

    for age, name in enumerate("cba"):
        update(name, age=age)
    assert [seen(name) for name in "abc"] == [(1, 0, 2), (2, 0, 2), (3, 0, 2)]
    update("a", age=2, status={"attempt": 1})
    assert [seen(name) for name in "abc"] == [None, (1, 1, 2), (2, 1, 2)]
    board.update("b", None)
    assert [seen(name) for name in "abc"] == [None, None, (1, 1, 2)]
    update("a", age=2, status={"conditions": [FINISHED], "attempt": 1})
    assert [seen(name) for name in "abc"] == [None, None, (1, 0, 2)]


def test_places_follow_the_types_defaults():
    board = places.Board()
    board.update("a", a_task("a", spec={"type": "fast"}))
    assert board.place("a", {}).queue == "default"
    board.use_types({"fast": FAST})
    assert board.place("a", {}).queue == "express"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        pytest.param((1, "q", 0, None, False), "next in queue q", id="nothing-in-the-way"),
        pytest.param((1, "q", 2, 2, False), "next in queue q, 2 of 2 running", id="full"),
        pytest.param(
            (4, "q", 2, 2, False), "3 ahead in queue q, 2 of 2 running", id="others-first"
        ),
        pytest.param((4, "q", 1, 2, False), "3 ahead in queue q", id="room-in-a-moment"),
        pytest.param((1, "q", 0, 2, True), "queue q is paused", id="paused"),
    ],
)
def test_sentence(place, sentence):
    assert places.sentence(places.Place(*place)) == sentence


LISTED = [
    a_task("a", labels={names.OWNER_LABEL: "me", "team": "x", "kind": "y"}),
    a_task("b", spec={"type": "fast"}, status={"phase": "Running", "attempt": 1}),
    a_task("c", status={"phase": "Queued", "queue": "other"}),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(listing.Filter(), "abc", id="all"),
        pytest.param(listing.Filter(phases=(v1alpha1.Phase.RUNNING,)), "b", id="one-phase"),
        pytest.param(
            listing.Filter(phases=(v1alpha1.Phase.PENDING, v1alpha1.Phase.QUEUED)),
            "ac",
            id="several-phases",
        ),
        pytest.param(listing.Filter(queue="default"), "a", id="where-it-will-go"),
        pytest.param(listing.Filter(queue="express"), "b", id="where-its-type-sends-it"),
        pytest.param(listing.Filter(queue="other"), "c", id="where-it-is"),
        pytest.param(listing.Filter(type="fast"), "b", id="type"),
        pytest.param(listing.Filter(owner="me"), "a", id="owner"),
        pytest.param(
            listing.Filter(labels=listing.parse_selectors(["team=x,kind=y"])), "a", id="labels"
        ),
        pytest.param(
            listing.Filter(labels=listing.parse_selectors(["team=x", "kind=z"])),
            "",
            id="every-label-counts",
        ),
    ],
)
def test_filters(wanted, expected):
    found, _ = listing.page(
        LISTED,
        {"fast": FAST},
        wanted,
        sort=listing.models.SortOrder.OLDEST,
        limit=10,
        cursor=None,
    )
    assert "".join(task.metadata.name for task in found) == expected

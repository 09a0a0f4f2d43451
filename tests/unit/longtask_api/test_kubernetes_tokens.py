"""Accounts of Kubernetes, judged by the API server in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from account_support import DEFAULT_AUDIENCE, EDITOR, a_kubernetes_token, know
from api_support import put_task
from clock_support import Seconds
from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.connection import Connection
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, errors, wiring
from longtask_api.auth.callers import Act
from longtask_api.auth.kubernetes_tokens import KubernetesTokens
from longtask_api.cluster import Cluster
from longtask_crds import names


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def tokens(kubernetes: MemoryKubernetes, clock: Seconds) -> KubernetesTokens:
    cluster = Cluster(Connection(kubernetes, user_agent="test"))
    return KubernetesTokens(cluster, namespace="longtasks", clock=clock)


@pytest.mark.parametrize(
    ("rights", "acts", "sees_all"),
    [
        pytest.param(set(), set(), False, id="nothing"),
        pytest.param({"get longtasks"}, {Act.READ}, False, id="by-name-only"),
        pytest.param({"get longtasks", "list longtasks"}, {Act.READ}, True, id="a-viewer"),
        pytest.param(EDITOR, {Act.READ, Act.WRITE}, True, id="an-editor"),
        pytest.param(EDITOR | {"patch longtaskqueues"}, set(Act), True, id="an-admin"),
        pytest.param(
            {"get longtasks", "create longtasks"}, {Act.READ, Act.WRITE}, False, id="a-submitter"
        ),
        pytest.param(
            EDITOR - {"delete longtasks"},
            {Act.READ, Act.WRITE},
            False,
            id="who-may-not-delete-what-is-others-does-not-see-it",
        ),
        pytest.param(
            EDITOR - {"patch longtasks"},
            {Act.READ, Act.WRITE},
            False,
            id="who-may-not-cancel-what-is-others-does-not-see-it",
        ),
        pytest.param(
            {"delete longtasks", "patch longtasks", "update longtasks"},
            set(),
            False,
            id="what-nobody-asks-for",
        ),
    ],
)
async def test_rights_decide(
    kubernetes: MemoryKubernetes,
    tokens: KubernetesTokens,
    rights: set[str],
    acts: set[Act],
    sees_all: bool,
) -> None:
    caller = await tokens.caller(know(kubernetes, "alice", *rights))
    assert caller is not None
    assert (caller.name, caller.acts, caller.sees_all) == ("alice", acts, sees_all)


async def test_a_label_can_hold_who_they_are(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    subjects = set()
    for who in ("system:serviceaccount:a:b", "system:serviceaccount:a:c", "Zoë", "x" * 5000):
        caller = await tokens.caller(know(kubernetes, who))
        assert caller is not None
        assert caller.name == who[:256]
        subjects.add(caller.subject)
    assert len(subjects) == 4
    assert all(s.startswith("k8s-") and len(s) == 20 and s.isascii() for s in subjects)


async def test_the_reviews_say_all_that_the_api_server_said(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    token = know(kubernetes, "alice")
    await tokens.caller(token)
    first, *reviews = [request.json["spec"] for request in kubernetes.requests]
    assert first == {"token": token}
    for review in reviews:
        asked = review.pop("resourceAttributes")
        assert (asked["namespace"], asked["group"]) == ("longtasks", "longtask.dev")
        assert review == {
            "user": "alice",
            "uid": "uid-of-alice",
            "groups": ["all"],
            "extra": {"x": ["y"]},
        }


async def test_a_groups_rights_count(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    kubernetes.rights["all"] = {"get longtasks"}
    caller = await tokens.caller(know(kubernetes, "alice"))
    assert caller is not None
    assert caller.may(Act.READ)


async def test_a_review_in_ten_seconds(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens, clock: Seconds
) -> None:
    token = know(kubernetes, "alice", "get longtasks")
    await asyncio.gather(*(tokens.caller(token) for _ in range(20)))
    assert kubernetes.calls == ["create tokenreviews", *["create subjectaccessreviews"] * 6]
    kubernetes.rights["alice"].clear()
    clock.now = 9.9
    caller = await tokens.caller(token)
    assert caller is not None
    assert caller.may(Act.READ)
    clock.now = 10
    caller = await tokens.caller(token)
    assert caller is not None
    assert not caller.may(Act.READ)


async def test_a_refusal_is_remembered_too(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens, clock: Seconds
) -> None:
    for now in (0, 5, 9.9, 10):
        clock.now = now
        with pytest.raises(errors.Unauthenticated):
            await tokens.caller(a_kubernetes_token("mallory"))
    assert kubernetes.calls == ["create tokenreviews"] * 2


async def test_an_api_server_that_is_away_has_refused_nobody(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    token = know(kubernetes, "alice", "get longtasks")
    kubernetes.go_away()
    with pytest.raises(kube.Unavailable):
        await tokens.caller(token)
    kubernetes.come_back()
    assert await tokens.caller(token)


async def test_whom_the_review_of_rights_fails_for_is_asked_for_anew(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    token = know(kubernetes, "alice", "get longtasks")
    kubernetes.rights["alice"] = _Failing()
    with pytest.raises(kube.Unavailable):
        await tokens.caller(token)
    kubernetes.rights["alice"] = {"get longtasks"}
    assert await tokens.caller(token)


class _Failing(set[str]):
    def __contains__(self, _: object) -> bool:
        raise kube.Unavailable("busy")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("correct-horse", id="opaque"),
        pytest.param("lt_" + "x" * 43, id="of-longtask"),
        pytest.param("a.b", id="two-parts"),
        pytest.param("a.b.c", id="no-json"),
        pytest.param("", id="nothing"),
    ],
)
async def test_what_is_no_web_token_is_not_asked_about(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens, token: str
) -> None:
    assert await tokens.caller(token) is None
    assert kubernetes.calls == []


@pytest.mark.parametrize(
    "audiences", [["longtask-report"], "longtask-report", [DEFAULT_AUDIENCE, "longtask-report"]]
)
async def test_a_token_for_reports_is_none_for_users(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens, audiences: Any
) -> None:
    with pytest.raises(errors.Unauthenticated, match="reports"):
        await tokens.caller(a_kubernetes_token("pod", aud=audiences))
    assert kubernetes.calls == []


async def test_nor_is_one_that_the_api_server_takes_for_that(
    kubernetes: MemoryKubernetes, tokens: KubernetesTokens
) -> None:
    token = know(kubernetes, "pod", *EDITOR, audiences=[DEFAULT_AUDIENCE, "longtask-report"])
    with pytest.raises(errors.Unauthenticated):
        await tokens.caller(token)
    assert kubernetes.calls == ["create tokenreviews"]


async def test_made_up_tokens_take_few_places(
    clock: Seconds,
) -> None:
    class Slow:
        at_once = most = 0

        async def review_token(self, token: str) -> None:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await may_answer.wait()
            self.at_once -= 1

    slow, may_answer = Slow(), asyncio.Event()
    tokens = KubernetesTokens(slow, namespace="longtasks", clock=clock)  # type: ignore[arg-type]
    asking = [asyncio.create_task(tokens.caller(a_kubernetes_token(str(i)))) for i in range(250)]
    while slow.at_once < 16:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    may_answer.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert slow.most == 16
    assert [type(end) for end in ends].count(errors.TooManyRequests) == 50


# --- by REST ---


@pytest.fixture
async def stranger(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)), base_url="http://api.test"
    ) as made:
        yield made


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_what_rights_let_through(
    stranger: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    put_task(kubernetes, "of-kubectl")
    order = {"type": "fibonacci", "input": {"n": 1}}
    nobody = bearing(know(kubernetes, "nobody"))
    answer = await stranger.get("/api/v1/tasks", headers=nobody)
    assert (answer.status_code, answer.json()["detail"]) == (403, "You may not read here.")
    viewer = bearing(know(kubernetes, "viewer", "get longtasks", "list longtasks"))
    listed = (await stranger.get("/api/v1/tasks", headers=viewer)).json()["items"]
    assert [task["id"] for task in listed] == ["of-kubectl"]
    assert (await stranger.post("/api/v1/tasks", json=order, headers=viewer)).status_code == 403
    own = bearing(know(kubernetes, "submitter", "get longtasks", "create longtasks"))
    made = await stranger.post("/api/v1/tasks", json=order, headers=own)
    assert made.status_code == 202
    listed = (await stranger.get("/api/v1/tasks", headers=own)).json()["items"]
    assert [task["id"] for task in listed] == [made.json()["id"]]
    assert (await stranger.get("/api/v1/tasks/of-kubectl", headers=own)).status_code == 404
    stored = kubernetes.stored(names.LONGTASKS, made.json()["id"])["metadata"]
    assert stored["labels"][names.OWNER_LABEL].startswith("k8s-")
    assert stored["annotations"][names.OWNER_NAME_ANNOTATION] == "submitter"
    assert made.json()["ownerName"] == "submitter"


async def test_no_answer_of_kubernetes_is_no_401(
    stranger: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    token = know(kubernetes, "viewer", "get longtasks")
    kubernetes.go_away()
    answer = await stranger.get("/api/v1/tasks", headers=bearing(token))
    assert answer.status_code == 503
    answer = await stranger.get("/api/v1/tasks", headers=bearing("wrong"))
    assert answer.status_code == 401

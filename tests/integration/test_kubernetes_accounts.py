"""Accounts of Kubernetes by REST: real tokens, judged by the real API server."""

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import e2e_support
from api_support import eventually
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import KubernetesTransport, Transport
from longtask_api import app, errors, settings, wiring
from longtask_api.auth.kubernetes_tokens import KubernetesTokens
from longtask_api.cluster import Cluster
from longtask_crds import names, runner_contract

Kubectl = Callable[..., str]

ORDER = {"type": "fibonacci", "input": {"n": 10}}
#: What each account may; who stands in no line may nothing.
RIGHTS = {
    "editor": {names.LONGTASKS: ["get", "list", "watch", "create", "patch", "delete"]},
    "viewer": {names.LONGTASKS: ["get", "list", "watch"]},
    "submitter": {names.LONGTASKS: ["get", "create"]},
    "keeper": {names.LONGTASKS: ["get"], names.LONGTASKQUEUES: ["get", "patch"]},
}
ACCOUNTS = (*RIGHTS, "nobody", "member")


def a_role(name: str, rights: dict[str, list[str]], subject: dict[str, str]) -> dict[str, Any]:
    """Return a Role and who has it, in one."""
    rules = [
        {"apiGroups": [names.GROUP], "resources": [plural], "verbs": verbs}
        for plural, verbs in rights.items()
    ]
    api = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [subject],
    }
    return {"apiVersion": "v1", "kind": "List", "items": [role, binding]}


@pytest.fixture(scope="module")
def prepared(kubectl: Kubectl, namespace: str) -> str:
    def apply(document: dict[str, Any]) -> None:
        kubectl("-n", namespace, "apply", "-f", "-", document=document)

    for kind, name in (("LongTaskType", "fibonacci"), ("LongTaskQueue", "default")):
        head = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}}
        apply(head | {"spec": {}})
    for account in ACCOUNTS:
        kubectl("-n", namespace, "create", "serviceaccount", account)
    for account, rights in RIGHTS.items():
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        apply(a_role(account, rights, subject))
    for account in RIGHTS:
        # RBAC reaches the authorizer by a watch, and what the API hears too early it remembers.
        e2e_support.eventually(partial(may, kubectl, namespace, account), bool, within=60)
    return namespace


def may(kubectl: Kubectl, namespace: str, account: str) -> bool:
    """Ask the authorizer whether an account has the last of the rights that it was given."""
    plural, verbs = [*RIGHTS[account].items()][-1]
    asked = {"namespace": namespace, "verb": verbs[-1], "group": names.GROUP, "resource": plural}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "resourceAttributes": asked,
        },
    }
    told = kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}", document=review)
    return told == "true"


@pytest.fixture
def token_of(kubectl: Kubectl, prepared: str) -> Callable[..., str]:
    def of(account: str, *audiences: str) -> str:
        meant = [f"--audience={audience}" for audience in audiences]
        return kubectl("-n", prepared, "create", "token", account, *meant).strip()

    return of


@pytest.fixture
async def real(kubeconfig: Path) -> AsyncIterator[Transport]:
    async with KubernetesTransport.connect(kubeconfig=kubeconfig) as made:
        yield made


@pytest.fixture
async def client(
    real: Transport, prepared: str, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    token_file = tmp_path / "token"
    token_file.write_text("correct-horse")
    configured = settings.Settings(
        namespace=prepared,
        secrets_namespace=prepared,
        token_file=token_file,
        data_directory=tmp_path,
    )
    async with wiring.running(real, configured) as services:
        await services.health.synced()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)), base_url="http://api.test"
        ) as made:
            yield made


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("account", "reads", "writes"),
    [
        ("editor", 200, 202),
        ("viewer", 200, 403),
        ("submitter", 200, 202),
        ("keeper", 200, 403),
        ("nobody", 403, 403),
    ],
)
async def test_what_rbac_lets_through(
    client: httpx.AsyncClient,
    token_of: Callable[..., str],
    account: str,
    reads: int,
    writes: int,
) -> None:
    headers = bearing(token_of(account))
    assert (await client.get("/api/v1/tasks", headers=headers)).status_code == reads
    made = await client.post("/api/v1/tasks", json=ORDER, headers=headers)
    assert made.status_code == writes


async def test_a_task_is_whose_account_made_it(
    client: httpx.AsyncClient, token_of: Callable[..., str], kubectl: Kubectl, prepared: str
) -> None:
    own, viewer = bearing(token_of("submitter")), bearing(token_of("viewer"))
    made = (await client.post("/api/v1/tasks", json=ORDER, headers=own)).json()
    assert made["ownerName"] == f"system:serviceaccount:{prepared}:submitter"
    stored = json.loads(kubectl("-n", prepared, "get", "longtask", made["id"], "-o", "json"))
    assert stored["metadata"]["labels"][names.OWNER_LABEL] == made["owner"]
    by_kubectl = {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": "by-kubectl"},
        "spec": ORDER,
    }
    kubectl("-n", prepared, "apply", "-f", "-", document=by_kubectl)

    async def seen(headers: dict[str, str]) -> set[str]:
        listed = await client.get("/api/v1/tasks", headers=headers, params={"limit": 100})
        return {task["id"] for task in listed.json()["items"]}

    assert (await client.get("/api/v1/tasks/by-kubectl", headers=viewer)).status_code == 200
    assert {"by-kubectl", made["id"]} <= await seen(viewer)
    assert "by-kubectl" not in await seen(own)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", ":cancel"), ("GET", "/logs")):
        answer = await client.request(method, f"/api/v1/tasks/by-kubectl{path}", headers=own)
        assert answer.status_code == 404
    assert (await client.delete(f"/api/v1/tasks/{made['id']}", headers=own)).status_code == 204


@pytest.mark.parametrize(
    "audiences",
    [
        pytest.param(["another"], id="of-another-audience"),
        pytest.param([runner_contract.REPORT_AUDIENCE], id="of-a-tasks-pod"),
        pytest.param(
            ["https://kubernetes.default.svc.cluster.local", runner_contract.REPORT_AUDIENCE],
            id="for-reports-and-for-kubernetes",
        ),
    ],
)
async def test_tokens_for_something_else(
    client: httpx.AsyncClient, token_of: Callable[..., str], audiences: list[str]
) -> None:
    headers = bearing(token_of("editor", *audiences))
    answer = await client.get("/api/v1/tasks", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_changed_token_is_none(
    client: httpx.AsyncClient, token_of: Callable[..., str]
) -> None:
    head, body, signature = token_of("editor").split(".")
    _, of_another, _ = token_of("nobody").split(".")
    for token in (f"{head}.{of_another}.{signature}", f"{head}.{body}.{signature[::-1]}"):
        assert (await client.get("/api/v1/tasks", headers=bearing(token))).status_code == 401


async def test_rights_of_a_group_and_what_is_taken_away(
    real: Transport, token_of: Callable[..., str], kubectl: Kubectl, prepared: str
) -> None:
    now = 0.0
    cluster = Cluster(Connection(real, user_agent="longtask-api"))
    tokens = KubernetesTokens(cluster, namespace=prepared, clock=lambda: now)
    token = token_of("member")

    async def acts() -> set[str]:
        caller = await tokens.caller(token)
        assert caller is not None
        return {act.value for act in caller.acts}

    assert await acts() == set()
    group = {"kind": "Group", "name": f"system:serviceaccounts:{prepared}"}
    group |= {"apiGroup": "rbac.authorization.k8s.io"}
    role = a_role("all", {names.LONGTASKS: ["get"]}, group)
    kubectl("-n", prepared, "apply", "-f", "-", document=role)
    assert await acts() == set()  # for ten seconds

    async def is_granted() -> bool:
        nonlocal now
        now += 10
        return await acts() == {"read"}

    await eventually(is_granted)  # RBAC reaches the authorizer by a watch
    kubectl("-n", prepared, "delete", "serviceaccount", "member")

    async def is_refused() -> bool:
        nonlocal now
        now += 10
        try:
            await tokens.caller(token)
        except errors.Unauthenticated:
            return True
        return False

    await eventually(is_refused)  # and so does the account's end

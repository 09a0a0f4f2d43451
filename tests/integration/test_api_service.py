"""The whole API on a real cluster: what it accepts is there, and tokens are judged there."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api_support import UNLIMITED, eventually
from longtask_adapters.kube.transport import KubernetesTransport
from longtask_api import app, settings, wiring
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.testing import FINISHED, a_condition

Kubectl = Callable[..., str]

FIBONACCI = {
    "apiVersion": names.API_VERSION,
    "kind": "LongTaskType",
    "metadata": {"name": "fibonacci"},
    "spec": {"inputSchema": {"type": "object", "required": ["n"]}},
}
QUEUE = {
    "apiVersion": names.API_VERSION,
    "kind": "LongTaskQueue",
    "metadata": {"name": "default"},
    "spec": {},
}
KEYS = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": signing_keys.KEYS_SECRET}}
ORDER = {"type": "fibonacci", "input": {"n": 10, "none": [None]}}


@pytest.fixture(scope="module")
def prepared(kubectl: Kubectl, namespace: str) -> str:
    for document in (FIBONACCI, QUEUE, KEYS):
        kubectl("-n", namespace, "apply", "-f", "-", document=document)
    return namespace


@pytest.fixture
async def services(
    kubeconfig: Path, prepared: str, tmp_path: Path
) -> AsyncIterator[wiring.Services]:
    configured = settings.Settings(
        insecure=True,
        namespace=prepared,
        secrets_namespace=prepared,
        token_file=None,
        data_directory=tmp_path,
        operator_account=f"system:serviceaccount:{prepared}:default",
        **UNLIMITED,
    )
    async with (
        KubernetesTransport.connect(kubeconfig=kubeconfig) as transport,
        wiring.running(transport, configured) as made,
    ):
        await made.health.synced()
        yield made


@pytest.fixture
async def client(services: wiring.Services) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_users(services)), base_url="http://api.test"
    ) as made:
        yield made


async def test_what_is_accepted_is_there(
    client: httpx.AsyncClient, kubectl: Kubectl, prepared: str
) -> None:
    key = {"Idempotency-Key": "k"}
    answer = await client.post("/api/v1/tasks", json=ORDER, headers=key)
    assert answer.status_code == 202
    name = answer.json()["id"]
    stored = json.loads(kubectl("-n", prepared, "get", "longtask", name, "-o", "json"))
    assert stored["spec"] == ORDER
    assert (await client.post("/api/v1/tasks", json=ORDER, headers=key)).status_code == 200
    other = ORDER | {"priority": 3}
    assert (await client.post("/api/v1/tasks", json=other, headers=key)).status_code == 409


async def test_a_finished_task_goes_from_kubernetes_to_the_archive(
    client: httpx.AsyncClient, kubectl: Kubectl, prepared: str
) -> None:
    task = {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": "ended", "labels": {"team": "x"}},
        "spec": ORDER | {"ttlSecondsAfterFinished": 31_536_000},
    }
    succeeded = a_condition(v1alpha1.ConditionType.SUCCEEDED, message="Well Done")
    status = {
        "phase": "Succeeded",
        "conditions": [FINISHED.to_json(), succeeded.to_json()],
        "finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "result": {"value": {"n": [None]}},
    }
    kubectl("-n", prepared, "apply", "-f", "-", document=task)
    patch = ("-n", prepared, "patch", "longtask", "ended", "--type=merge", "-p")
    kubectl(*patch, json.dumps({"status": status}), "--subresource=status")
    assert (await client.get("/api/v1/tasks/ended")).status_code == 200
    kubectl(*patch, json.dumps({"spec": {"ttlSecondsAfterFinished": 0}}))

    async def is_archived() -> bool:
        query = {"archived": True, "search": "well done", "label": "team=x"}
        return bool((await client.get("/api/v1/tasks", params=query)).json()["items"])

    await eventually(is_archived)

    async def is_gone() -> bool:
        return not kubectl("-n", prepared, "get", "longtask", "ended", "--ignore-not-found")

    await eventually(is_gone)
    assert (await client.get("/api/v1/tasks/ended/result")).json() == {"n": [None]}
    assert (await client.delete("/api/v1/tasks/ended")).status_code == 204
    assert (await client.get("/api/v1/tasks/ended")).status_code == 404


async def test_a_task_of_kubectls_is_seen_and_can_be_cancelled_and_deleted(
    client: httpx.AsyncClient, services: wiring.Services, kubectl: Kubectl, prepared: str
) -> None:
    task = {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "metadata": {"name": "by-kubectl"},
        "spec": ORDER,
    }
    kubectl("-n", prepared, "apply", "-f", "-", document=task)
    key = names.ObjectKey(prepared, "by-kubectl")
    assert await services.resources.wait_for(key, lambda t: t is not None, within=60)
    listed = (await client.get("/api/v1/tasks")).json()["items"]
    assert "by-kubectl" in {item["id"] for item in listed}
    assert (await client.post("/api/v1/tasks/by-kubectl:cancel")).status_code == 202
    stored = json.loads(kubectl("-n", prepared, "get", "longtask", "by-kubectl", "-o", "json"))
    assert stored["spec"] == ORDER | {"cancel": True}
    assert (await client.delete("/api/v1/tasks/by-kubectl")).status_code == 204
    assert (await client.get("/api/v1/tasks/by-kubectl")).status_code == 404


async def test_the_callback_key_is_kept_in_the_secret(
    client: httpx.AsyncClient, kubectl: Kubectl, prepared: str
) -> None:
    key = (await client.get("/api/v1/me/callback-key")).json()["key"]
    template = "go-template={{.data.default|base64decode}}"
    stored = kubectl("-n", prepared, "get", "secret", signing_keys.KEYS_SECRET, "-o", template)
    assert stored == key


@pytest.fixture
async def pod_token(
    client: httpx.AsyncClient, kubectl: Kubectl, prepared: str
) -> tuple[str, Callable[..., str]]:
    """Make a task with a claimed attempt, and return how to get tokens of its pod."""
    name = (await client.post("/api/v1/tasks", json=ORDER)).json()["id"]
    # A Job that starts nothing stands in for the attempt's; the pod is made by hand.
    pod_spec = {
        "restartPolicy": "Never",
        "nodeSelector": {"no": "such-node"},
        "containers": [{"name": "runner", "image": "none"}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": {"spec": pod_spec}},
    }
    made = json.loads(kubectl("-n", prepared, "create", "-o", "json", "-f", "-", document=job))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made["metadata"]["uid"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-pod",
            "labels": {names.TASK_LABEL: name, names.ATTEMPT_LABEL: "1"},
            "ownerReferences": [owner],
        },
        "spec": pod_spec,
    }
    kubectl("-n", prepared, "create", "-f", "-", document=pod)
    claimed = {"attempt": 1, "attempts": [{"number": 1, "jobName": name}]}
    kubectl(
        "-n",
        prepared,
        "patch",
        "longtask",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": claimed}),
    )

    def token(*, audience: str = "longtask-report", bound: bool = True) -> str:
        binding = ["--bound-object-kind=Pod", f"--bound-object-name={name}-pod"] if bound else []
        made = kubectl(
            "-n", prepared, "create", "token", "default", f"--audience={audience}", *binding
        )
        return made.strip()

    return name, token


async def test_only_the_attempts_own_pod_may_report(
    client: httpx.AsyncClient,
    services: wiring.Services,
    pod_token: tuple[str, Callable[..., str]],
    prepared: str,
) -> None:
    name, token = pod_token
    key = names.ObjectKey(prepared, name)
    await services.resources.wait_for(key, lambda t: t and t.status.attempt == 1, within=60)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_tasks(services)),
        base_url="http://runner.test",
    ) as runner:

        async def report(bearer: str, percent: int) -> int:
            headers = {"Authorization": f"Bearer {bearer}"}
            answer = await runner.post(
                "/runner/v1/progress", json={"percent": percent}, headers=headers
            )
            return answer.status_code

        assert await report("nonsense", 1) == 401
        assert await report(token(audience="https://kubernetes.default.svc"), 2) == 401
        assert await report(token(bound=False), 3) == 401
        assert await report(token(), 40) == 200
        task = await services.resources.wait_for(
            key, lambda t: t and t.status.progress is not None, within=60
        )
        assert task.status.progress.percent == 40
        assert (await client.get(f"/api/v1/tasks/{name}")).json()["percent"] == 40


async def test_a_large_result_of_the_attempts_own_pod_is_kept(
    services: wiring.Services,
    pod_token: tuple[str, Callable[..., str]],
    kubectl: Kubectl,
    prepared: str,
) -> None:
    name, token = pod_token
    key = names.ObjectKey(prepared, name)
    task = await services.resources.wait_for(
        key, lambda t: bool(t and t.status.attempt == 1), within=60
    )
    assert task is not None
    content = b"[" + b"1234567," * 200_000 + b"0]"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.for_tasks(services)), base_url="http://runner.test"
    ) as runner:

        async def put(bearer: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {bearer}"}
            return await runner.put("/runner/v1/result", content=content, headers=headers)

        assert (await put(token(bound=False))).status_code == 401
        kept = await put(token())
        assert kept.status_code == 200, kept.text
        template = "jsonpath={.status.result.ref.sha256}"
        sha256 = kubectl("-n", prepared, "get", "longtask", name, "-o", template)
        assert sha256 == kept.json()["sha256"]

        async def get(bearer: str) -> httpx.Response:
            path = f"/runner/v1/tasks/{task.metadata.uid}/result"
            headers = {"Authorization": f"Bearer {bearer}"}
            return await runner.get(path, params={"sha256": sha256}, headers=headers)

        assert (await get(token())).status_code == 401
        assert (await get(token(audience="longtask-operator"))).content == content


async def test_another_delivery_is_asked_for_on_the_task(
    client: httpx.AsyncClient, services: wiring.Services, kubectl: Kubectl, prepared: str
) -> None:
    name = (await client.post("/api/v1/tasks", json=ORDER)).json()["id"]
    path = f"/api/v1/tasks/{name}/callbacks"
    assert (await client.post(f"{path}:redeliver")).status_code == 409
    entry = {
        "id": "msg_1",
        "event": "succeeded",
        "state": "Exhausted",
        "deliveries": [{"at": "2026-01-02T03:04:05Z", "event": "succeeded", "seconds": 0.5}],
    }
    patch = json.dumps({"status": {"callback": entry}})
    kubectl(
        *("-n", prepared, "patch", "longtask", name, "--subresource=status"),
        *("--type=merge", "-p", patch),
    )
    resources = services.resources
    await resources.wait_for(
        resources.key(name),
        lambda task: task is not None and task.status.callback is not None,
        within=60,
    )
    assert (await client.post(f"{path}:redeliver")).status_code == 202
    stored = json.loads(kubectl("-n", prepared, "get", "longtask", name, "-o", "json"))
    assert stored["metadata"]["annotations"][names.REDELIVER_ANNOTATION]
    assert (await client.get(path)).json()["items"][0]["seconds"] == 0.5


async def test_keys_are_rotated_in_the_secret(
    client: httpx.AsyncClient, kubectl: Kubectl, prepared: str
) -> None:
    before = (await client.get("/api/v1/me/callback-key")).json()["key"]
    made = (await client.post("/api/v1/me/callback-key:rotate")).json()
    secret = json.loads(
        kubectl("-n", prepared, "get", "secret", signing_keys.KEYS_SECRET, "-o", "json")
    )
    text = base64.b64decode(secret["data"][signing_keys.DEFAULT_OWNER]).decode()
    keys = signing_keys.OwnerKeys.parse(text)
    assert keys.active(datetime.now(UTC)) == [made["key"], before]
    assert made["previousUntil"] is not None

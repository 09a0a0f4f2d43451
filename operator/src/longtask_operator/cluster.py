"""The operator's door to Kubernetes: raw JSON goes no further than this module."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import aiohttp
import kubernetes.aio.client
import kubernetes.aio.config

from longtask_crds import names, v1alpha1
from longtask_operator import errors, pods

_TIMEOUT_SECONDS = 10.0
_WRITES_AT_ONCE = 16
_PAGE = 500
_USER_AGENT = "longtask-operator"


class Cluster(Protocol):
    """What the operator asks of Kubernetes, in the namespace of the tasks."""

    async def get_task(self, name: str) -> v1alpha1.LongTask:
        """Return the task as it is now."""

    async def get_type(self, name: str) -> v1alpha1.LongTaskType:
        """Return the type as it is now."""

    async def write_status(
        self, task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus
    ) -> v1alpha1.LongTask:
        """Write what differs from the task's status; raise Conflict if somebody wrote first."""

    async def create_job(self, manifest: dict[str, Any], *, now: datetime) -> pods.Job:
        """Create a Job; raise AlreadyExists if its name is taken."""

    async def get_job(self, name: str, *, now: datetime) -> pods.Job:
        """Return the Job, or the knowledge that there is none."""

    async def why_no_pod(self, job: pods.Job) -> str | None:
        """Return what the Events say of a Job whose pod cannot be made."""

    async def pods_of(self, task: v1alpha1.LongTask) -> tuple[int, list[pods.Pod]]:
        """Return the task's pods as they are now, and the version of that list."""

    async def delete_job(self, job: pods.Job) -> None:
        """Delete the Job and its pods; raise Conflict if another has its name."""

    async def release_job(self, job: pods.Job) -> None:
        """Let Kubernetes remove the Job after a while; raise Conflict if another has its name."""

    async def stop_pod(self, pod: pods.Pod) -> None:
        """End the pod with SIGTERM and grace, and keep its record."""

    async def get_secret(self, name: str, *, namespace: str | None = None) -> "Secret":
        """Return a Secret, by default of the tasks' namespace."""

    async def add_to_secret(self, secret: "Secret", key: str, value: str) -> "Secret":
        """Set one key of a Secret; raise Conflict if somebody wrote first."""

    async def warn(self, task: v1alpha1.LongTask, reason: str, message: str) -> None:
        """Post a Kubernetes Event of type Warning on the task."""


class Secret:
    """A Secret's labels and decoded data; its text never shows the data."""

    def __init__(self, raw: dict[str, Any]) -> None:
        meta = raw["metadata"]
        self.name: str = meta["name"]
        self.namespace: str = meta["namespace"]
        self.version: str = meta["resourceVersion"]
        self.labels: Mapping[str, str] = meta.get("labels") or {}
        self._data: Mapping[str, str] = raw.get("data") or {}

    def get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        value = self._data.get(key)
        return None if value is None else base64.b64decode(value).decode()


def status_patch(task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus) -> list[dict[str, Any]]:
    """Return the JSON Patch from the task's status to the new one; empty if they are the same.

    A JSON Patch and not a merge patch: that would drop nulls inside a result, and mix it with old
    keys. `replace` of the resourceVersion makes a stale write a 409.
    """
    before, after = task.status.to_json(), status.to_json()
    changes: list[dict[str, Any]] = [
        {"op": "add", "path": f"/status/{key}", "value": value}
        for key, value in after.items()
        if before.get(key, ...) != value
    ]
    changes += [{"op": "remove", "path": f"/status/{key}"} for key in before if key not in after]
    if not changes:
        return []
    version = task.metadata.resource_version
    return [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *changes]


class KubernetesCluster:
    """The real thing."""

    def __init__(self, api: kubernetes.aio.client.ApiClient, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def get_task(self, name: str) -> v1alpha1.LongTask:
        """Return the task as it is now."""
        raw = await self._request("GET", self._ours(names.LONGTASKS, name))
        return v1alpha1.LongTask.model_validate(raw)

    async def get_type(self, name: str) -> v1alpha1.LongTaskType:
        """Return the type as it is now."""
        raw = await self._request("GET", self._ours(names.LONGTASKTYPES, name))
        return v1alpha1.LongTaskType.model_validate(raw)

    async def write_status(
        self, task: v1alpha1.LongTask, status: v1alpha1.LongTaskStatus
    ) -> v1alpha1.LongTask:
        """Write what differs from the task's status; raise Conflict if somebody wrote first."""
        patch = status_patch(task, status)
        if not patch:
            return task
        path = self._ours(names.LONGTASKS, task.metadata.name) + "/status"
        raw = await self._request("PATCH", path, patch, "application/json-patch+json")
        return v1alpha1.LongTask.model_validate(raw)

    async def create_job(self, manifest: dict[str, Any], *, now: datetime) -> pods.Job:
        """Create a Job; raise AlreadyExists if its name is taken."""
        if manifest["metadata"]["namespace"] != self._namespace:
            raise errors.Rejected("a Job belongs into its task's namespace")
        try:
            raw = await self._request("POST", self._jobs(), manifest)
        except errors.Conflict as error:
            raise errors.AlreadyExists(str(error)) from error
        return pods.Job.parse(raw, now=now)

    async def get_job(self, name: str, *, now: datetime) -> pods.Job:
        """Return the Job, or the knowledge that there is none."""
        try:
            raw = await self._request("GET", self._jobs(name))
        except errors.NotFound:
            return pods.Job(name=name, checked_at=now, exists=False)
        return pods.Job.parse(raw, now=now)

    async def why_no_pod(self, job: pods.Job) -> str | None:
        """Return what the Events say of a Job whose pod cannot be made."""
        # A refusal by quota or Pod Security appears nowhere else.
        selector = f"involvedObject.uid={job.uid},reason=FailedCreate"
        path = f"/api/v1/namespaces/{self._namespace}/events"
        raw = await self._request("GET", path, query={"fieldSelector": selector})
        messages = [str(event.get("message", "")) for event in raw["items"]]
        return messages[-1][: names.MESSAGE_MAX] if messages else None

    async def pods_of(self, task: v1alpha1.LongTask) -> tuple[int, list[pods.Pod]]:
        """Return the task's pods as they are now, and the version of that list."""
        selector = {"labelSelector": f"{names.TASK_LABEL}={task.metadata.name}"}
        version, raws = await self._list(self._pods(), selector)
        return version, [pods.Pod.parse(raw) for raw in raws]

    async def delete_job(self, job: pods.Job) -> None:
        """Delete the Job and its pods; raise Conflict if another has its name."""
        # Without a policy a raw DELETE leaves the pods behind.
        options = {"propagationPolicy": "Background", "preconditions": {"uid": job.uid}}
        try:
            await self._request("DELETE", self._jobs(job.name), options)
        except errors.NotFound:
            return

    async def release_job(self, job: pods.Job) -> None:
        """Let Kubernetes remove the Job after a while; raise Conflict if another has its name."""
        spec = {"ttlSecondsAfterFinished": names.RELEASED_TTL_SECONDS}
        try:
            await self._patch_spec(self._jobs(job.name), job.uid, spec)
        except errors.NotFound:
            return

    async def stop_pod(self, pod: pods.Pod) -> None:
        """End the pod with SIGTERM and grace, and keep its record."""
        path = f"{self._pods()}/{quote(pod.name)}"
        await self._patch_spec(path, pod.uid, {"activeDeadlineSeconds": 1})

    async def get_secret(self, name: str, *, namespace: str | None = None) -> Secret:
        """Return a Secret, by default of the tasks' namespace."""
        return Secret(await self._request("GET", self._secret(name, namespace)))

    async def add_to_secret(self, secret: Secret, key: str, value: str) -> Secret:
        """Set one key of a Secret; raise Conflict if somebody wrote first."""
        patch = {
            "metadata": {"resourceVersion": secret.version},
            "data": {key: base64.b64encode(value.encode()).decode()},
        }
        path = self._secret(secret.name, secret.namespace)
        return Secret(await self._request("PATCH", path, patch, "application/merge-patch+json"))

    async def warn(self, task: v1alpha1.LongTask, reason: str, message: str) -> None:
        """Post a Kubernetes Event of type Warning on the task."""
        now = datetime.now().astimezone().isoformat(timespec="microseconds")
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{task.metadata.name}-", "namespace": self._namespace},
            "eventTime": now,
            "type": "Warning",
            "reason": reason,
            "action": reason,
            "note": message[: names.MESSAGE_MAX],
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": _USER_AGENT,
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": "LongTask",
                "name": task.metadata.name,
                "namespace": self._namespace,
                "uid": task.metadata.uid,
            },
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{self._namespace}/events"
        await self._request("POST", path, event)

    async def close(self) -> None:
        """Close the connections."""
        api: Any = self._api  # its close() carries no types
        await api.close()

    async def list_ours(self, plural: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the version of the list and all objects of one of our kinds."""
        return await self._list(self._ours(plural), {})

    async def list_labelled(self, kind: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the version of the list and all our `pods` or `jobs`."""
        path = self._jobs() if kind == "jobs" else self._pods()
        return await self._list(path, {"labelSelector": names.TASK_LABEL})

    async def _patch_spec(self, path: str, uid: str, spec: dict[str, Any]) -> None:
        patch = {"metadata": {"uid": uid}, "spec": spec}
        try:
            await self._request("PATCH", path, patch, "application/merge-patch+json")
        except errors.Rejected as error:
            # To the API server another uid is a change of the uid: a 422, and no 409.
            if "metadata.uid" in str(error):
                raise errors.Conflict(str(error)) from error
            raise

    async def _list(self, path: str, query: dict[str, str]) -> tuple[int, list[dict[str, Any]]]:
        items: list[dict[str, Any]] = []
        token = ""
        while True:
            page = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
            raw = await self._request("GET", path, query=query | page)
            items += raw["items"]
            token = raw["metadata"].get("continue", "")
            if not token:
                return int(raw["metadata"]["resourceVersion"]), items

    def _ours(self, plural: str, name: str | None = None) -> str:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{plural}"
        return path if name is None else f"{path}/{quote(name)}"

    def _jobs(self, name: str | None = None) -> str:
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        return path if name is None else f"{path}/{quote(name)}"

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods"

    def _secret(self, name: str, namespace: str | None) -> str:
        return f"/api/v1/namespaces/{namespace or self._namespace}/secrets/{quote(name)}"

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = "application/json",
        *,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {
            "Accept": "application/json",
            "Content-Type": content_type,
            "User-Agent": _USER_AGENT,
        }
        # Asked anew each time: a projected token is replaced while we run.
        token = await self._api.configuration.get_api_key_with_prefix(
            "BearerToken", alias="authorization"
        )
        if token:
            headers["Authorization"] = token
        try:
            async with self._limit(method):
                response = await self._api.call_api(
                    method, url, headers, body, _request_timeout=_TIMEOUT_SECONDS
                )
                data: bytes = await response.response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.Unavailable(f"{method} {path}: {type(error).__name__}") from error
        if response.status >= 300:
            raise _error(response.status, _told(data) or str(response.reason))
        try:
            raw: dict[str, Any] = json.loads(data) if data else {}
        except ValueError as error:
            raise errors.Unavailable(f"{method} {path}: an answer that is no JSON") from error
        return raw

    @asynccontextmanager
    async def _limit(self, method: str) -> AsyncIterator[None]:
        if method == "GET":
            yield
            return
        async with self._writes:
            yield


def _told(data: bytes) -> str:
    """Return the message of a refusal; a busy API server, or a proxy, answers in plain text."""
    try:
        raw = json.loads(data)
    except ValueError:
        return data.decode(errors="replace")[: names.MESSAGE_MAX].strip()
    return str(raw.get("message", "")) if isinstance(raw, dict) else ""


def _error(code: int, message: str) -> errors.ClusterError:
    match code:
        case 404:
            return errors.NotFound(message)
        case 409:
            return errors.Conflict(message)
        case 400 | 403 | 422:
            return errors.Rejected(message)
        case _:
            return errors.Unavailable(message)


async def connect(namespace: str) -> KubernetesCluster:
    """Return the cluster that this process runs in, or that the kubeconfig names."""
    configuration = kubernetes.aio.client.Configuration()
    config: Any = kubernetes.aio.config  # it carries no types
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    return KubernetesCluster(kubernetes.aio.client.ApiClient(configuration), namespace)

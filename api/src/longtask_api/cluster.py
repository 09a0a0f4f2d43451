"""The door to Kubernetes: raw JSON inside, typed resources outside."""

import base64
import contextlib
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config
from pydantic import ValidationError

from longtask_api import errors, ports
from longtask_api.ports import R
from longtask_client import models
from longtask_crds import json_values, names, v1alpha1

log = logging.getLogger(__name__)

_MERGE_PATCH = "application/merge-patch+json"
_REQUEST = aiohttp.ClientTimeout(total=10, sock_connect=5)
#: The API server sends a bookmark each minute, so a longer silence is a dead connection.
_WATCH = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=90)
_LOG = aiohttp.ClientTimeout(total=None, sock_connect=5)
_WATCH_SECONDS = (240, 300)
_PAGE = 500


class KubernetesCluster:
    """Kubernetes itself, as `ports.Cluster` wants it."""

    def __init__(self, api: client.ApiClient, *, namespace: str, secrets_namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._secrets_namespace = secrets_namespace

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, *, kubeconfig: Path | None, namespace: str, secrets_namespace: str
    ) -> "AsyncIterator[KubernetesCluster]":
        """Open the connections, with the pod's own account unless a kubeconfig is given."""
        configuration = client.Configuration()
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=configuration
            )
        # Watches and followed logs hold theirs for long.
        configuration.connection_pool_maxsize = 1000
        async with client.ApiClient(configuration) as api:
            yield cls(api, namespace=namespace, secrets_namespace=secrets_namespace)

    async def list(self, kind: ports.Kind[R]) -> ports.Listing[R]:
        """Return all resources of the kind in the tasks' namespace."""
        items: list[R] = []
        query = {"limit": str(_PAGE)}
        while True:
            page = await self._call("GET", self._path(kind), query=query)
            items += [r for raw in page["items"] if (r := _parsed(kind, raw)) is not None]
            meta = page["metadata"]
            if not meta.get("continue"):
                return ports.Listing(items, meta["resourceVersion"])
            query["continue"] = meta["continue"]

    async def watch(
        self, kind: ports.Kind[R], resource_version: str
    ) -> AsyncIterator[ports.Event[R]]:
        """Yield what happens from that version on; first an event that says: connected."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),
        }
        async with self._open("GET", self._path(kind), query=query, timeout=_WATCH) as response:
            yield ports.Event(ports.Change.PROGRESS, resource_version)
            with _translated():
                async for line in response.content:
                    yield _event(kind, json.loads(line))

    async def get(self, kind: ports.Kind[R], name: str) -> R:
        """Return the resource as it is now."""
        return _model(kind, await self._call("GET", self._path(kind, name)))

    async def create(self, kind: ports.Kind[R], body: Mapping[str, Any]) -> R:
        """Store a new resource."""
        try:
            return _model(kind, await self._call("POST", self._path(kind), body=body))
        except errors.NotFound as error:
            raise errors.Unavailable(f"The namespace {self._namespace} is missing.") from error

    async def patch(
        self, kind: ports.Kind[R], name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> R:
        """Apply a JSON merge patch."""
        path = self._path(kind, name) + (f"/{subresource}" if subresource else "")
        return _model(kind, await self._call("PATCH", path, body=patch, content_type=_MERGE_PATCH))

    async def delete(self, kind: ports.Kind[R], name: str) -> bool:
        """Delete the resource, and in the background what belongs to it; tell whether it is gone.

        It is not while somebody's finalizer holds it.
        """
        options = {"propagationPolicy": "Background"}
        answer = await self._call("DELETE", self._path(kind, name), body=options)
        return "deletionTimestamp" not in answer.get("metadata", {})

    async def get_pod(self, name: str) -> v1alpha1.ObjectMeta:
        """Return the metadata of a pod."""
        raw = await self._call("GET", f"{self._pods()}/{quote(name, safe='')}")
        return v1alpha1.ObjectMeta.model_validate(raw["metadata"])

    async def find_pods(self, labels: Mapping[str, str]) -> Sequence[v1alpha1.ObjectMeta]:
        """Return the metadata of the pods with these labels, the newest first."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        raw = await self._call("GET", self._pods(), query=query)
        pods = [v1alpha1.ObjectMeta.model_validate(item["metadata"]) for item in raw["items"]]
        return sorted(pods, key=lambda pod: str(pod.creation_timestamp), reverse=True)

    @contextlib.asynccontextmanager
    async def pod_log(
        self, pod: str, *, container: str, follow: bool
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a container's log."""
        path = f"{self._pods()}/{quote(pod, safe='')}/log"
        query = {"container": container, "follow": "true" if follow else "false"}
        async with self._open("GET", path, query=query, timeout=_LOG) as response:
            yield response.content.iter_any()

    async def review_token(self, token: str, audience: str) -> ports.TokenIdentity | None:
        """Ask whom a token belongs to; None if to nobody."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        review = await self._call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=body)
        status = review["status"]
        if not status.get("authenticated"):
            return None
        user = status["user"]
        return ports.TokenIdentity(
            username=user.get("username", ""),
            audiences=tuple(status.get("audiences", ())),
            extra={key: tuple(values) for key, values in user.get("extra", {}).items()},
        )

    async def get_secret(self, name: str) -> ports.SecretData:
        """Return a Secret of the release's namespace."""
        raw = await self._call("GET", self._secret(name))
        values = {k: base64.b64decode(v).decode() for k, v in (raw.get("data") or {}).items()}
        return ports.SecretData(values, raw["metadata"]["resourceVersion"])

    async def patch_secret(
        self, name: str, values: Mapping[str, str], *, resource_version: str
    ) -> None:
        """Set values of a Secret, unless somebody wrote after that version."""
        patch = {
            "metadata": {"resourceVersion": resource_version},
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
        }
        await self._call("PATCH", self._secret(name), body=patch, content_type=_MERGE_PATCH)

    def _path(self, kind: ports.Kind[R], name: str = "") -> str:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{kind.plural}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods"

    def _secret(self, name: str) -> str:
        return f"/api/v1/namespaces/{self._secrets_namespace}/secrets/{name}"

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        async with self._open(
            method, path, query=query, body=body, content_type=content_type, timeout=_REQUEST
        ) as response:
            with _translated():
                return json.loads(await response.read())

    @contextlib.asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; the body of a good answer is still to be read."""
        # Always set: without it the client sends patches as strategic ones.
        headers = {"Content-Type": content_type, "User-Agent": "longtask-api"}
        url = self._api.configuration.host + path
        url += "?" + urlencode({"fieldManager": "longtask-api"} | dict(query or {}))
        with _translated():
            # Reads the account's token again when it is about to expire.
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        try:
            if response.status >= 400:
                with _translated():
                    raise error_of(response.status, await response.read(), response.headers)
            yield response
        finally:
            # A read answer has given its connection back; of any other it is closed.
            response.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, aiohttp.ClientError, OSError, json.JSONDecodeError) as error:
        log.debug("Could not reach the API server", exc_info=True)
        raise errors.Unavailable("Kubernetes does not answer.") from error


def _model(kind: ports.Kind[R], raw: Any) -> R:
    model = _parsed(kind, raw)
    if model is None:
        raise errors.ClusterError(f"The resource in {kind.plural} cannot be read.")
    return model


def _parsed(kind: ports.Kind[R], raw: dict[str, Any]) -> R | None:
    """Return the typed resource, or None: one unreadable object must not stop all others."""
    try:
        # The input is up to 64 KiB, and no answer shows it: the cache goes without.
        if "input" in (raw.get("spec") or {}):
            del raw["spec"]["input"]
        return kind.model.model_validate(raw)
    except ValidationError as error:
        name = raw.get("metadata", {}).get("name")
        log.error("Skipped the unreadable %s in %s: %s", name, kind.plural, error)
        return None


def _event(kind: ports.Kind[R], raw: dict[str, Any]) -> ports.Event[R]:
    resource = raw["object"]
    if raw["type"] == "ERROR":
        raise _status_error(int(resource.get("code", 500)), resource, {})
    version = resource["metadata"]["resourceVersion"]
    if raw["type"] == "BOOKMARK":
        return ports.Event(ports.Change.PROGRESS, version)
    deleted = raw["type"] == "DELETED"
    change = ports.Change.ABSENT if deleted else ports.Change.PRESENT
    return ports.Event(change, version, _parsed(kind, resource))


def error_of(code: int, body: bytes, headers: Mapping[str, str]) -> errors.ClusterError:
    """Return what an answer of the API server means."""
    try:
        status = json.loads(body)
    except ValueError:
        status = {}
    return _status_error(code, status if isinstance(status, dict) else {}, headers)


def _status_error(
    code: int, status: dict[str, Any], headers: Mapping[str, str]
) -> errors.ClusterError:
    message = str(status.get("message") or "")
    match code:
        case 404:
            return errors.NotFound(message)
        case 409 if status.get("reason") == "AlreadyExists":
            return errors.AlreadyExists(message)
        case 409:
            return errors.Conflict(message)
        case 410:
            return errors.Expired(message)
        case 429:
            after = headers.get("Retry-After")
            return errors.TooManyRequests(headers={"Retry-After": after} if after else None)
        case 403 if re.search(r'User "[^"]*" cannot ', message):
            log.error("The API's own account lacks a right: %s", message)
            return errors.Unavailable("The API lacks a right in the cluster.")
        case 403:
            return errors.Forbidden(message)
        case 400 | 413 | 422:
            return errors.Rejected(message, errors=_causes(status))
        case _:
            log.warning("The API server answered %s: %s", code, message)
            return errors.Unavailable()


def _causes(status: dict[str, Any]) -> list[models.ProblemError]:
    causes = (status.get("details") or {}).get("causes") or []
    return [
        models.ProblemError(
            pointer=order_pointer(cause.get("field", "")), detail=str(cause.get("message", ""))
        )
        for cause in causes
    ]


def order_pointer(field: str) -> str:
    """Return where in an order the API server's field stands: `spec.a[0].b` is `/a/0/b`."""
    parts = [part for part in re.split(r"[.\[\]]+", field) if part]
    if parts[:1] in (["spec"], ["metadata"]):
        return json_values.pointer(*parts[1:])
    return ""

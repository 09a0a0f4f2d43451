"""What the API asks of Kubernetes: the verbs that its account may use, and no others."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from longtask_adapters.kube import errors, kinds, secrets
from longtask_adapters.kube.cache import key_of
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.kinds import Kind, R
from longtask_api import status_patches
from longtask_crds import names, v1alpha1


@dataclasses.dataclass(frozen=True)
class TokenIdentity:
    """Whom a token belongs to, and for whom it is meant."""

    username: str
    audiences: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...] = ()
    uid: str = ""


@dataclasses.dataclass(frozen=True)
class Access:
    """What somebody may do, or may not: by the rules of the cluster."""

    verb: str
    resource: str  #: the plural of a kind of ours
    namespace: str


@dataclasses.dataclass(frozen=True)
class LogPart:
    """What of a log is wanted."""

    follow: bool = False  #: go on until the container ends
    tail: int | None = None  #: the last lines, so many
    since: datetime | None = None  #: what was written from then on
    timestamps: bool = False  #: before each line, when it was written
    limit: int | None = None  #: no more bytes, from the first line on

    def query(self, container: str) -> dict[str, str]:
        """Return the parameters of the request for a container's log."""
        said = {
            "tailLines": self.tail,
            "sinceTime": self.since and self.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "timestamps": "true" if self.timestamps else None,
            "limitBytes": self.limit,
        }
        usual = {"container": container, "follow": "true" if self.follow else "false"}
        return usual | {key: str(value) for key, value in said.items() if value is not None}


_ALL = LogPart()


class Cluster:
    """Kubernetes, as far as the API uses it. Resources come whole; all raise ClusterErrors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, kind: Kind[R], key: names.ObjectKey) -> R:
        """Return a resource as it is now."""
        return kind.read(await self._connection.get(kind.path(key)))

    async def version(self, kind: Kind[R], namespace: str) -> int:
        """Return the version that all resources of the kind together have now."""
        listed = await self._connection.get(kind.collection(namespace), {"limit": "1"})
        return kinds.version_of(listed)

    async def create(self, kind: Kind[R], namespace: str, body: Mapping[str, Any]) -> R:
        """Store a new resource; raise AlreadyExists if its name is taken."""
        try:
            return kind.read(await self._connection.post(kind.collection(namespace), body))
        except errors.NotFound as error:
            raise errors.Unavailable(f"the namespace {namespace} is missing") from error

    async def patch(
        self, kind: Kind[R], key: names.ObjectKey, patch: Mapping[str, Any], *, uid: str
    ) -> R:
        """Apply a JSON merge patch; raise Conflict if another has the name."""
        return kind.read(await self._connection.patch(kind.path(key), patch, uid=uid))

    async def write_progress(
        self, key: names.ObjectKey, progress: Mapping[str, Any], *, uid: str, attempt: int
    ) -> v1alpha1.LongTask:
        """Set the progress of a plain task's attempt, and nothing else of its status.

        Raises:
            Rejected: The task has its outcome or another attempt, or another has its name.
        """
        return await self._patch_status(key, status_patches.of_progress(uid, attempt, progress))

    async def write_progress_of_steps(
        self, task: v1alpha1.LongTask, told: Mapping[str, Mapping[str, Any]]
    ) -> v1alpha1.LongTask:
        """Set the progress of programs of a pipeline, and its own; nothing else of its status.

        Args:
            task: The pipeline as it is known.
            told: What each program says of itself, by its name.

        Raises:
            Rejected: One of them has another attempt, or the pipeline is further than was known.
        """
        return await self._patch_status(key_of(task), status_patches.of_steps(task, told))

    async def write_result(
        self, task: v1alpha1.LongTask, result: v1alpha1.Result, *, run: str = ""
    ) -> v1alpha1.LongTask:
        """Set the result of a program of the task as it was looked at, and nothing else.

        Args:
            task: The task.
            result: The result.
            run: The program's name; empty for that of a plain task.

        Raises:
            Conflict: It has changed since.
            Rejected: It has its outcome, or another has its name.
        """
        return await self._patch_status(key_of(task), status_patches.of_result(task, run, result))

    async def write_outcome(
        self, task: v1alpha1.LongTask, report: v1alpha1.Report, *, run: str = ""
    ) -> v1alpha1.LongTask:
        """Record how a program of the task says that it ends, and nothing else.

        Args:
            task: The task as it was looked at.
            report: What it says.
            run: The program's name; empty for that of a plain task.

        Raises:
            Conflict: The task has changed since.
            Rejected: It has its outcome, or another has its name.
        """
        return await self._patch_status(key_of(task), status_patches.of_outcome(task, run, report))

    async def delete(
        self, kind: Kind[R], key: names.ObjectKey, *, uid: str, version: str | None = None
    ) -> bool:
        """Delete a resource, and in the background what it owns; tell whether it is gone.

        It is not while somebody's finalizer holds it.

        Raises:
            Conflict: Another has the name, or it has another resourceVersion by now.
        """
        answer = await self._connection.delete(kind.path(key), uid=uid, version=version)
        return "deletionTimestamp" not in answer.get("metadata", {})

    async def get_pod(self, key: names.ObjectKey) -> v1alpha1.ObjectMeta:
        """Return the metadata of a pod as it is now."""
        raw = await self._connection.get(kinds.PODS.path(key))
        return v1alpha1.ObjectMeta.model_validate(raw["metadata"])

    async def find_pods(
        self, namespace: str, labels: Mapping[str, str]
    ) -> list[v1alpha1.ObjectMeta]:
        """Return the metadata of the pods with these labels, the newest first."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        path = kinds.PODS.collection(namespace)
        raw = await self._connection.get(path, {"labelSelector": selector})
        pods = [v1alpha1.ObjectMeta.model_validate(item["metadata"]) for item in raw["items"]]
        return sorted(pods, key=lambda pod: pod.created_at, reverse=True)

    async def is_released(self, job: names.ObjectKey, *, owner: str) -> bool:
        """Tell whether the operator has done with a task's Job: it has its TTL, or is gone.

        Args:
            job: The Job's name; whose it is says its owner.
            owner: The task's uid.
        """
        try:
            raw = await self._connection.get(kinds.JOBS.path(job))
        except errors.NotFound:
            return True
        meta = v1alpha1.ObjectMeta.model_validate(raw["metadata"])
        is_ours = any(one.uid == owner for one in meta.owner_references)
        return not is_ours or "ttlSecondsAfterFinished" in raw["spec"]

    async def has_ended(self, pod: names.ObjectKey, *, container: str) -> bool:
        """Tell whether a container of a pod has ended, or its pod is gone."""
        try:
            raw = await self._connection.get(kinds.PODS.path(pod))
        except errors.NotFound:
            return True
        status = raw.get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"}:
            return True
        found = (c for c in status.get("containerStatuses", ()) if c["name"] == container)
        return any("terminated" in one.get("state", {}) for one in found)

    def pod_log(
        self, key: names.ObjectKey, *, container: str, part: LogPart = _ALL
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a container's log; raise Rejected while the container waits to start."""
        return self._connection.stream(kinds.PODS.path(key, "log"), part.query(container))

    async def _patch_status(
        self, key: names.ObjectKey, patch: status_patches.Patch
    ) -> v1alpha1.LongTask:
        path = kinds.TASKS.path(key, "status")
        return kinds.TASKS.read(await self._connection.patch(path, patch))

    async def review_token(self, token: str, audience: str | None = None) -> TokenIdentity | None:
        """Ask whom a token belongs to; None if to nobody.

        Args:
            token: The token.
            audience: For whom it must be meant: the API server itself when absent.
        """
        spec: dict[str, Any] = {"token": token}
        if audience is not None:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = (await self._connection.post(kinds.TOKEN_REVIEWS, body))["status"]
        if not status.get("authenticated"):
            return None
        user = status["user"]
        return TokenIdentity(
            username=user.get("username", ""),
            audiences=tuple(status.get("audiences", ())),
            extra={key: tuple(values) for key, values in user.get("extra", {}).items()},
            groups=tuple(user.get("groups", ())),
            uid=user.get("uid", ""),
        )

    async def may(self, who: TokenIdentity, access: Access) -> bool:
        """Ask whether somebody may do this with all resources of a kind."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": who.username,
                "uid": who.uid,
                "groups": list(who.groups),
                "extra": {key: list(values) for key, values in who.extra.items()},
                "resourceAttributes": {
                    "group": names.GROUP,
                    "version": names.VERSION,
                    **dataclasses.asdict(access),
                },
            },
        }
        answer = await self._connection.post(kinds.ACCESS_REVIEWS, body)
        return bool(answer["status"].get("allowed"))

    async def ensure_in_secret(
        self, secret: names.ObjectKey, data_key: str, make: Callable[[str], str | None]
    ) -> str:
        """Return what a Secret holds under a data key, and make it first as `secrets.ensure` does.

        Raises:
            NotFound: There is no such Secret.
        """
        return await secrets.ensure(self._connection, secret, data_key, make)

    async def drop_from_secret(
        self, secret: names.ObjectKey, data_keys: Collection[str]
    ) -> list[str]:
        """Take data keys out of a Secret as `secrets.drop` does; return which were there.

        Raises:
            NotFound: There is no such Secret.
        """
        return await secrets.drop(self._connection, secret, data_keys)

"""What a Pod or a Job tells about an attempt: parsed once from the API server's JSON. Pure."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

from longtask_crds import names

#: Reasons of a waiting container after which it does not start without help.
_CANNOT_START = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}


@dataclasses.dataclass(frozen=True)
class End:
    """How the runner's container ended."""

    exit_code: int
    reason: str  #: the kubelet's word: Completed, Error, OOMKilled, …
    message: str  #: the termination message
    finished_at: datetime | None


@dataclasses.dataclass(frozen=True)
class Pod:
    """The part of a Pod that decides."""

    name: str
    uid: str
    task: names.ObjectKey
    job_name: str  #: of the Job that controls it, or nothing
    job_uid: str
    version: int
    created_at: datetime
    node: str | None = None
    started_at: datetime | None = None
    running_seen_at: datetime | None = None  #: when we first saw it run
    end: End | None = None
    is_over: bool = False  #: the phase is Succeeded or Failed
    is_deleting: bool = False
    is_disrupted: bool = False
    is_ended_by_node: bool = False  #: the same, by the kubelet, which deletes no pod
    is_orphan: bool = False  #: nobody owns it, and nobody would remove it
    is_stopping: bool = False  #: somebody set its deadline to end it
    reason: str | None = None  #: the pod's own: DeadlineExceeded, Evicted, …
    cannot_start: str | None = None
    not_fetched: str | None = None  #: why what its program takes from others is not there
    unready_since: datetime | None = None  #: its node has not been heard of since
    events_read_at: datetime | None = None  #: when its Events were last read
    warm: str = ""  #: of one that was started ahead: its type
    template: str = ""  #: the sum of what that was made of
    counts_from: datetime | None = None  #: its deadline counts from then
    deadline: int | None = None  #: in seconds

    @classmethod
    def parse(cls, raw: dict[str, Any], *, seen_at: datetime | None = None) -> "Pod":
        """Read a Pod that carries our labels, seen at that time."""
        meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
        labels = meta.get("labels", {})
        owner = _controller(meta)
        runner = _named(status.get("containerStatuses", ()), names.RUNNER_CONTAINER).get(
            "state", {}
        )
        ended = runner.get("terminated")
        started = (runner.get("running") or ended or {}).get("startedAt")
        if ended and ended.get("reason") == "ContainerStatusUnknown":
            # The kubelet made it up: the container never ran, or nobody saw it end.
            started = None
        elif ended and ended.get("reason") == "StartError":
            # Its program could not be started; the kubelet says that it was in 1970.
            started = ended.get("finishedAt")
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            task=names.ObjectKey(meta["namespace"], labels.get(names.TASK_LABEL, "")),
            job_name=owner.get("name", "") if owner.get("kind") == "Job" else "",
            job_uid=owner.get("uid", "") if owner.get("kind") == "Job" else "",
            is_orphan=not owner,
            version=int(meta.get("resourceVersion") or 0),
            created_at=_time(meta["creationTimestamp"]),
            node=spec.get("nodeName"),
            started_at=_time(started) if started else None,
            running_seen_at=seen_at if "running" in runner else None,
            end=_end(ended) if ended else None,
            is_over=status.get("phase") in {"Succeeded", "Failed"},
            is_deleting="deletionTimestamp" in meta,
            is_disrupted=_is_true(status, "DisruptionTarget"),
            is_ended_by_node=_is_true(status, "DisruptionTarget")
            and _condition(status, "DisruptionTarget").get("reason") == "TerminationByKubelet",
            is_stopping=spec.get("activeDeadlineSeconds") == 1,
            reason=status.get("reason"),
            cannot_start=_cannot_start(status, runner),
            not_fetched=_not_fetched(status),
            unready_since=_unready_since(status, runner),
            warm=labels.get(names.WARM_LABEL, ""),
            template=meta.get("annotations", {}).get(names.TEMPLATE_ANNOTATION, ""),
            counts_from=_time(status["startTime"]) if "startTime" in status else None,
            deadline=spec.get("activeDeadlineSeconds"),
        )

    @property
    def is_nobodys(self) -> bool:
        """Tell whether it waits for a task, or did."""
        return not self.task.name

    @property
    def key(self) -> names.ObjectKey:
        """Return the pod's own key."""
        return self.task.sibling(self.name)

    @property
    def succeeded(self) -> bool:
        """Tell whether its program ended with exit code 0."""
        return self.end is not None and self.end.exit_code == 0 and self.started_at is not None

    def outlived(self, run_seconds: int) -> bool:
        """Tell whether its program ended when the pod's time was up, or later."""
        ended = self.end.finished_at if self.end is not None else None
        # The kubelet counts from when it took the pod over: not before it was created.
        return ended is not None and ended >= self.created_at + timedelta(seconds=run_seconds)


@dataclasses.dataclass(frozen=True)
class Job:
    """The part of a Job that decides, or the knowledge that there is none."""

    namespace: str
    name: str
    checked_at: datetime  #: when the API server last said so
    exists: bool = True
    uid: str = ""
    owner_uid: str = ""
    created_at: datetime | None = None
    is_deleting: bool = False
    is_finished: bool = False
    has_failed: bool = False
    is_released: bool = False  #: its TTL is set
    refusal: str | None = None  #: why it, or its pod, cannot be created
    looks: int = 0  #: how often it was read for having no pod since a list brought it
    task_name: str = ""  #: of the task whose attempt it is
    warm: str = ""  #: of one that was started ahead: its type
    template: str = ""  #: the sum of what that was made of

    @classmethod
    def parse(cls, raw: dict[str, Any], *, now: datetime, refusal: str | None = None) -> "Job":
        """Read a Job as the API server gave it now."""
        meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            checked_at=now,
            uid=meta["uid"],
            owner_uid=controller_uid(meta),
            created_at=_time(meta["creationTimestamp"]),
            is_deleting="deletionTimestamp" in meta,
            is_finished=_is_true(status, "Complete") or _is_true(status, "Failed"),
            has_failed=_is_true(status, "Failed"),
            is_released="ttlSecondsAfterFinished" in spec,
            refusal=refusal,
            task_name=meta.get("labels", {}).get(names.TASK_LABEL, ""),
            warm=meta.get("labels", {}).get(names.WARM_LABEL, ""),
            template=meta.get("annotations", {}).get(names.TEMPLATE_ANNOTATION, ""),
        )

    @property
    def key(self) -> names.ObjectKey:
        """Return the Job's key."""
        return names.ObjectKey(self.namespace, self.name)

    @property
    def task(self) -> names.ObjectKey:
        """Return the key of the task whose attempt it is."""
        return self.key.sibling(self.task_name)


def controller_uid(meta: dict[str, Any]) -> str:
    """Return the uid of the object's controller, or nothing."""
    return str(_controller(meta).get("uid", ""))


def _controller(meta: dict[str, Any]) -> dict[str, Any]:
    return next((o for o in meta.get("ownerReferences", ()) if o.get("controller")), {})


def _end(ended: dict[str, Any]) -> End:
    finished = ended.get("finishedAt")
    return End(
        exit_code=int(ended["exitCode"]),
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        finished_at=_time(finished) if finished else None,
    )


def _cannot_start(status: dict[str, Any], runner: dict[str, Any]) -> str | None:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _sentence(scheduled)
    waiting = runner.get("waiting", {})
    return _sentence(waiting) if waiting.get("reason") in _CANNOT_START else None


def _not_fetched(status: dict[str, Any]) -> str | None:
    """Return what the container said that fetches files, if it failed."""
    ours = _named(status.get("initContainerStatuses", ()), names.FILES_CONTAINER)
    ended = ours.get("state", {}).get("terminated", {})
    if not ended.get("exitCode"):
        return None
    words = str(ended.get("message", "")).strip() or f"exit code {ended['exitCode']}"
    return words[-names.MESSAGE_MAX :]


def _unready_since(status: dict[str, Any], runner: dict[str, Any]) -> datetime | None:
    """Return since when a container that runs is said not to be ready: it has no probe to fail.

    The node controller says so of all pods of a node that is not heard of any more.
    """
    ready = _condition(status, "Ready")
    if "running" not in runner or ready.get("status") != "False":
        return None
    since = ready.get("lastTransitionTime")
    return _time(since) if since else None


def _sentence(cause: dict[str, Any]) -> str:
    words = ": ".join(w for w in (cause.get("reason"), cause.get("message")) if w)
    return words[: names.MESSAGE_MAX]


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _is_true(status: dict[str, Any], kind: str) -> bool:
    return bool(_condition(status, kind).get("status") == "True")


def _named(statuses: Any, name: str) -> dict[str, Any]:
    # A sidecar may end first, so only the runner's own container counts.
    return next((s for s in statuses if s.get("name") == name), {})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

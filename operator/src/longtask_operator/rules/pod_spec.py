"""The pod of one attempt. Pure.

Nothing of a pod spec passes through from a task: each line is ours, or its type's. Of a type come
values for fields that stand here, and none of them takes a pod out of Pod Security `restricted`.
"""

import dataclasses
from typing import Any

from longtask_crds import effective, names, runner_contract, traces, v1alpha1

_TMP_SIZE = "256Mi"
_FILES_SIZE = "2Gi"  #: more than all results together that are kept of one pipeline
_TOKEN_SECONDS = 600
_FETCHING_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "32Mi"},
    "limits": {"memory": "128Mi"},
}
#: Where a container's files are mounted from.
_INPUT_FOLDER, _INPUT_NAME = runner_contract.INPUT_FILE.rsplit("/", 1)
_CHECKPOINT_NAME = runner_contract.CHECKPOINT_FILE.rsplit("/", 1)[1]
_TOKEN_FOLDER, _TOKEN_NAME = runner_contract.TOKEN_FILE.rsplit("/", 1)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What each Job of this installation gets alike."""

    runner_api_url: str
    service_account: str
    runner_image: str


def build(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    *,
    attempt: int,
    surroundings: Surroundings,
    run: str = "",
    files: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the spec of the attempt's pod; `run` and `files` as for its Job."""
    variables = _our_variables(task, spec, attempt, surroundings, run)
    return {
        # On the pod, not on the Job: a Job's deadline deletes the pod, and its outcome with it.
        "activeDeadlineSeconds": spec.limits.run,
        **_any(spec, variables, surroundings, files),
    }


def build_waiting(spec: effective.EffectiveSpec, *, surroundings: Surroundings) -> dict[str, Any]:
    """Return the spec of a pod that waits for a task: the same, but for what that task brings."""
    env = runner_contract.Env
    ours = {
        env.TYPE: spec.type,
        env.WARM: "true",
        env.OUTPUT_FILE: runner_contract.OUTPUT_FILE,
        env.API_URL: surroundings.runner_api_url,
        env.TOKEN_FILE: runner_contract.TOKEN_FILE,
    }
    return _any(spec, [{"name": str(k), "value": v} for k, v in ours.items()], surroundings, ())


def _any(
    spec: effective.EffectiveSpec,
    variables: list[dict[str, Any]],
    surroundings: Surroundings,
    files: tuple[str, ...],
) -> dict[str, Any]:
    mounts = [*_our_volumes(spec, files), *(_of_type(volume) for volume in spec.volumes)]
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": runner_contract.GRACE_SECONDS,
        "serviceAccountName": surroundings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": spec.run_as_user,
            "runAsGroup": spec.run_as_user,
            "fsGroup": spec.run_as_user,
            # Or each start would walk through all files of a claim.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **spec.placement.to_json(),
        **({"initContainers": [_fetching(files, surroundings, variables)]} if files else {}),
        "containers": [_container(spec, variables, mounts)],
        "volumes": [mount.volume for mount in mounts],
    }


@dataclasses.dataclass(frozen=True)
class _Mount:
    """A folder in the container, and what is in it."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = False

    @property
    def volume(self) -> dict[str, Any]:
        """Return the pod's part of it."""
        return {"name": self.name, **self.source}

    @property
    def in_container(self) -> dict[str, Any]:
        """Return the container's part of it."""
        mount = {"name": self.name, "mountPath": self.path}
        return mount | ({"readOnly": True} if self.read_only else {})


def _our_volumes(spec: effective.EffectiveSpec, files: tuple[str, ...]) -> list[_Mount]:
    """Return what each container finds; the names and paths are refused to types."""
    inputs = [
        _annotation_file(_INPUT_NAME, runner_contract.INPUT_ANNOTATION),
        _annotation_file(_CHECKPOINT_NAME, runner_contract.CHECKPOINT_ANNOTATION),
    ]
    token = {
        "audience": runner_contract.REPORT_AUDIENCE,
        "expirationSeconds": _TOKEN_SECONDS,
        "path": _TOKEN_NAME,
    }
    mounts = [
        _Mount("input", _INPUT_FOLDER, {"downwardAPI": {"items": inputs}}, read_only=True),
        _Mount(
            "token",
            _TOKEN_FOLDER,
            {"projected": {"sources": [{"serviceAccountToken": token}]}},
            read_only=True,
        ),
        _Mount("tmp", "/tmp", {"emptyDir": {"sizeLimit": _TMP_SIZE}}),
    ]
    if files:
        mounts.append(
            _Mount(
                "files",
                runner_contract.FILES_FOLDER,
                {"emptyDir": {"sizeLimit": _FILES_SIZE}},
                True,
            )
        )
    if spec.shm_size is not None:
        memory = {"medium": "Memory", "sizeLimit": spec.shm_size}
        mounts.append(_Mount("shm", "/dev/shm", {"emptyDir": memory}))
    return mounts


def _of_type(volume: v1alpha1.TypeVolume) -> _Mount:
    """Return a volume that the type says: never a folder of the node."""
    source = volume.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include={"persistent_volume_claim", "config_map", "secret", "empty_dir"},
    )
    read_only = volume.empty_dir is None if volume.read_only is None else volume.read_only
    return _Mount(volume.name, volume.mount_path, source, read_only=read_only)


def _our_variables(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    attempt: int,
    surroundings: Surroundings,
    run: str,
) -> list[dict[str, Any]]:
    """Return the variables that are ours alone; nobody else may set one of them."""
    env = runner_contract.Env
    ours = {
        env.NAME: task.metadata.name,
        env.NAMESPACE: task.metadata.namespace,
        env.UID: task.metadata.uid,
        env.TYPE: spec.type,
        env.STEP: run,
        env.ATTEMPT: str(attempt),
        env.INPUT_FILE: runner_contract.INPUT_FILE,
        env.OUTPUT_FILE: runner_contract.OUTPUT_FILE,
        env.CHECKPOINT_FILE: runner_contract.CHECKPOINT_FILE,
        env.HEARTBEAT_SECONDS: str(spec.limits.heartbeat or ""),
        env.API_URL: surroundings.runner_api_url,
        env.TOKEN_FILE: runner_contract.TOKEN_FILE,
    }
    trace, own = traces.trace_of(task), {variable.name for variable in spec.env}
    if trace is not None and runner_contract.TRACEPARENT not in own:
        ours[runner_contract.TRACEPARENT] = trace.parent
        if trace.state is not None and runner_contract.TRACESTATE not in own:
            ours[runner_contract.TRACESTATE] = _literal(trace.state)
    return [{"name": str(name), "value": value} for name, value in ours.items()]


def _fetching(
    files: tuple[str, ...], surroundings: Surroundings, ours: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the container that fetches whole results of earlier steps, before the program."""
    return {
        "name": names.FILES_CONTAINER,
        "image": surroundings.runner_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "longtask_runner.files", *files],
        "env": [{"name": "HOME", "value": "/tmp"}, *ours],
        "resources": _FETCHING_RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _security(writable_root=False),
        "volumeMounts": [
            {"name": "files", "mountPath": runner_contract.FILES_FOLDER},
            {"name": "token", "mountPath": _TOKEN_FOLDER, "readOnly": True},
        ],
    }


def _security(*, writable_root: bool) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": not writable_root,
    }


def _container(
    spec: effective.EffectiveSpec, ours: list[dict[str, Any]], mounts: list[_Mount]
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": names.RUNNER_CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            # The home of a numeric user is / otherwise, and that is read-only.
            {"name": "HOME", "value": "/tmp"},
            *(_variable(variable) for variable in spec.env),
            *ours,
        ],
        "resources": spec.resources.to_json(),
        "terminationMessagePath": runner_contract.OUTPUT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _security(writable_root=spec.writable_root),
        "volumeMounts": [mount.in_container for mount in mounts],
    }
    if spec.command is not None:
        container["command"] = [_literal(word) for word in spec.command]
    if spec.args is not None:
        container["args"] = [_literal(word) for word in spec.args]
    return container


def _variable(variable: v1alpha1.EnvVar) -> dict[str, Any]:
    if variable.secret_ref is not None:
        return {"name": variable.name, "valueFrom": {"secretKeyRef": variable.secret_ref.to_json()}}
    return {"name": variable.name, "value": _literal(variable.value or "")}


def _literal(word: str) -> str:
    """Keep Kubernetes from expanding `$(NAME)`: what a user wrote is what the program gets."""
    return word.replace("$", "$$")


def _annotation_file(name: str, annotation: str) -> dict[str, Any]:
    return {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}

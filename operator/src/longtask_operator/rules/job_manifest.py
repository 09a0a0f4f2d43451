"""The Job of one attempt. Pure.

Nothing of a pod spec passes through from a user: each line is ours.
"""

import dataclasses
from typing import Any

from longtask_crds import effective, json_values, names, runner_contract, v1alpha1

_TMP_SIZE = "256Mi"
_TOKEN_SECONDS = 600
#: Where a container's files are mounted from.
_INPUT_FOLDER, _INPUT_NAME = runner_contract.INPUT_FILE.rsplit("/", 1)
_CHECKPOINT_NAME = runner_contract.CHECKPOINT_FILE.rsplit("/", 1)[1]
_TOKEN_FOLDER, _TOKEN_NAME = runner_contract.TOKEN_FILE.rsplit("/", 1)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What each Job of this installation gets alike."""

    runner_api_url: str
    service_account: str


def build(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    *,
    attempt: int,
    surroundings: Surroundings,
) -> dict[str, Any]:
    """Return the Job of one attempt, for the namespace of its task; the task is whole."""
    meta = task.metadata
    labels = {
        names.TASK_LABEL: meta.name,
        names.QUEUE_LABEL: spec.queue,
        names.ATTEMPT_LABEL: str(attempt),
        "app.kubernetes.io/managed-by": "longtask",
        "app.kubernetes.io/part-of": "longtask",
    }
    name = names.job_name(meta.name, meta.uid, attempt=attempt)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "LongTask",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            # Another attempt is another Job: only we know whether there may be one.
            "backoffLimit": 0,
            # What is being deleted may still run: the Job has not failed before it is over.
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {
                    "labels": labels | {names.EGRESS_LABEL: spec.egress.value},
                    "annotations": {
                        runner_contract.INPUT_ANNOTATION: json_values.compact(
                            effective.input_of(task.spec)
                        ),
                        runner_contract.CHECKPOINT_ANNOTATION: "",
                    },
                },
                "spec": _pod_spec(task, spec, attempt, surroundings),
            },
        },
    }


def _pod_spec(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    attempt: int,
    surroundings: Surroundings,
) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        # On the pod, not on the Job: a Job's deadline deletes the pod, and its outcome with it.
        "activeDeadlineSeconds": spec.limits.run,
        "terminationGracePeriodSeconds": runner_contract.GRACE_SECONDS,
        "serviceAccountName": surroundings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": spec.run_as_user,
            "runAsGroup": spec.run_as_user,
            "fsGroup": spec.run_as_user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(task, spec, attempt, surroundings)],
        "volumes": [
            {
                "name": "input",
                "downwardAPI": {
                    "items": [
                        _annotation_file(_INPUT_NAME, runner_contract.INPUT_ANNOTATION),
                        _annotation_file(_CHECKPOINT_NAME, runner_contract.CHECKPOINT_ANNOTATION),
                    ]
                },
            },
            {
                "name": "token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": runner_contract.REPORT_AUDIENCE,
                                "expirationSeconds": _TOKEN_SECONDS,
                                "path": _TOKEN_NAME,
                            }
                        }
                    ]
                },
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": _TMP_SIZE}},
        ],
    }


def _container(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    attempt: int,
    surroundings: Surroundings,
) -> dict[str, Any]:
    env = runner_contract.Env
    ours = {
        env.NAME: task.metadata.name,
        env.NAMESPACE: task.metadata.namespace,
        env.UID: task.metadata.uid,
        env.TYPE: spec.type,
        env.STEP: "",
        env.ATTEMPT: str(attempt),
        env.INPUT_FILE: runner_contract.INPUT_FILE,
        env.OUTPUT_FILE: runner_contract.OUTPUT_FILE,
        env.CHECKPOINT_FILE: runner_contract.CHECKPOINT_FILE,
        env.API_URL: surroundings.runner_api_url,
        env.TOKEN_FILE: runner_contract.TOKEN_FILE,
    }
    container: dict[str, Any] = {
        "name": names.RUNNER_CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            # The home of a numeric user is / otherwise, and that is read-only.
            {"name": "HOME", "value": "/tmp"},
            *(_variable(variable) for variable in spec.env),
            *({"name": str(name), "value": value} for name, value in ours.items()),
        ],
        "resources": spec.resources.to_json(),
        "terminationMessagePath": runner_contract.OUTPUT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": not spec.writable_root,
        },
        "volumeMounts": [
            {"name": "input", "mountPath": _INPUT_FOLDER, "readOnly": True},
            {"name": "token", "mountPath": _TOKEN_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
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

"""The Job of one attempt. Pure."""

from typing import Any

from longtask_crds import effective, json_values, names, runner_contract, v1alpha1
from longtask_operator.rules import pod_spec


def build(
    task: v1alpha1.LongTask,
    spec: effective.EffectiveSpec,
    *,
    attempt: int,
    surroundings: pod_spec.Surroundings,
    run: str = "",
    files: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the Job of one attempt, for the namespace of its task.

    Args:
        task: The task, whole; or a program of a pipeline as if it were one.
        spec: What holds for it.
        attempt: The attempt's number.
        surroundings: What each Job gets alike.
        run: The name of that program.
        files: The steps whose results it finds as files.
    """
    meta = task.metadata
    labels = {
        **labels_of(task, spec.queue, attempt, run),
        "app.kubernetes.io/managed-by": "longtask",
        "app.kubernetes.io/part-of": "longtask",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(meta.name, meta.uid, attempt=attempt, step=run),
            "namespace": meta.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(task) | {"blockOwnerDeletion": True}],
        },
        "spec": spec_of(
            {
                "metadata": {
                    "labels": labels | {names.EGRESS_LABEL: spec.egress.value},
                    "annotations": {
                        runner_contract.INPUT_ANNOTATION: json_values.compact(
                            effective.input_of(task.spec)
                        ),
                        runner_contract.CHECKPOINT_ANNOTATION: _checkpoint(task),
                    },
                },
                "spec": pod_spec.build(
                    task, spec, attempt=attempt, surroundings=surroundings, run=run, files=files
                ),
            }
        ),
    }


def labels_of(task: v1alpha1.LongTask, queue: str, attempt: int, run: str = "") -> dict[str, str]:
    """Return the labels by which people find what belongs to an attempt."""
    return {
        names.TASK_LABEL: task.metadata.name,
        names.QUEUE_LABEL: queue,
        names.ATTEMPT_LABEL: str(attempt),
        **({names.STEP_LABEL: run} if run else {}),
    }


def spec_of(template: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Job of one pod, made of that template."""
    return {
        "completions": 1,
        "parallelism": 1,
        # Another attempt is another Job: only we know whether there may be one.
        "backoffLimit": 0,
        # What is being deleted may still run: the Job has not failed before it is over.
        "podReplacementPolicy": "Failed",
        "template": template,
    }


def _checkpoint(task: v1alpha1.LongTask) -> str:
    """Return what an earlier attempt left for this one, as JSON; nothing if there is nothing."""
    progress = task.status.progress
    if progress is None or progress.checkpoint is None:
        return ""
    return json_values.compact(progress.checkpoint)


def owner_reference(task: v1alpha1.LongTask) -> dict[str, Any]:
    """Return what has an object go with its task."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "LongTask",
        "name": task.metadata.name,
        "uid": task.metadata.uid,
        "controller": True,
    }

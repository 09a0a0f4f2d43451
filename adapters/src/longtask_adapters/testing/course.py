"""What people and the rest of Kubernetes do to what is stored: one line of a test each."""

import base64
import copy
from collections.abc import Mapping
from typing import Any

from longtask_adapters.testing.store import Store, stamp
from longtask_crds import last_words, names, v1alpha1
from longtask_crds.pipeline import runs

Raw = dict[str, Any]

_PLURALS: dict[type[v1alpha1.Resource], str] = {
    v1alpha1.LongTask: names.LONGTASKS,
    v1alpha1.LongTaskType: names.LONGTASKTYPES,
    v1alpha1.LongTaskQueue: names.LONGTASKQUEUES,
    v1alpha1.LongTaskSchedule: names.LONGTASKSCHEDULES,
}


class Course(Store):
    """The course of things."""

    # --- what people do ---

    def add(self, resource: v1alpha1.Resource) -> None:
        """Store one of our resources."""
        raw = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
        if isinstance(resource, v1alpha1.LongTask):
            raw |= {"spec": resource.spec.to_json(), "status": resource.status.to_json()}
        # What a builder leaves empty, the API server gives.
        given = {key: value for key, value in raw["metadata"].items() if value}
        raw["metadata"] = {"namespace": self.namespace} | given
        self._save(_PLURALS[type(resource)], raw)

    def add_secret(
        self,
        name: str,
        data: Mapping[str, str] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        namespace: str | None = None,
    ) -> None:
        """Store a Secret."""
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in (data or {}).items()}
        key = names.ObjectKey(namespace or self.namespace, name)
        self.put("secrets", key, data=encoded, metadata={"labels": dict(labels or {})})

    def cancel(self, name: str | names.ObjectKey) -> None:
        """Ask for the end of a task, as `kubectl patch` does."""
        raw = self.stored(names.LONGTASKS, name)
        meta = raw["metadata"] | {"generation": raw["metadata"].get("generation", 0) + 1}
        spec = raw["spec"] | {"cancel": True}
        self._save(names.LONGTASKS, {**raw, "metadata": meta, "spec": spec})

    def report_progress(self, name: str | names.ObjectKey, percent: int) -> None:
        """Write progress as the API does for the runner; another's write in between."""
        raw = self.stored(names.LONGTASKS, name)
        if is_finished(raw["status"]):
            return
        progress = {"percent": percent, "updatedAt": stamp(self.now)}
        status = raw["status"] | {"progress": progress}
        self._save(names.LONGTASKS, {**raw, "status": status})

    def report_outcome(self, pod: str | names.ObjectKey, exit_code: int = 0, **said: Any) -> bool:
        """Write how the program in a pod says that it ends, as the API does; tell whether it is."""
        meta = self.stored("pods", pod)["metadata"]
        key = self.key(pod).sibling(meta["labels"][names.TASK_LABEL])
        raw = self.stored(names.LONGTASKS, key)
        task, run = v1alpha1.LongTask.model_validate(raw), meta["labels"].get(names.STEP_LABEL, "")
        found = runs.named(task, run)
        if found is None or found.is_over or found.last.finished_at is not None:
            return False
        its_own = (meta["ownerReferences"][0]["name"], meta["uid"])
        if its_own != (found.last.job_name, found.last.pod_uid or meta["uid"]):
            return False
        seen = runs.as_task(task, run) if run else task
        if seen.status.report is not None or last_words.refusal(task, run) is not None:
            return False
        if exit_code and "deletionTimestamp" in meta:
            return False
        report = {
            "attempt": found.last.number,
            "podName": meta["name"],
            "podUid": meta["uid"],
            "exitCode": exit_code,
            "reportedAt": stamp(self.now),
        } | said
        self._save(names.LONGTASKS, {**raw, "status": _reporting(raw["status"], run, report)})
        return True

    def bring_result(self, name: str | names.ObjectKey, step: str, result: Raw) -> None:
        """Write a step's result as the API does that keeps it."""
        raw = self.stored(names.LONGTASKS, name)
        steps = [
            one | {"result": result} if one["name"] == step else one
            for one in raw["status"]["steps"]
        ]
        self._save(names.LONGTASKS, {**raw, "status": raw["status"] | {"steps": steps}})

    def remove_task(self, name: str | names.ObjectKey) -> None:
        """Delete a task; what it owns goes with it."""
        self.remove(names.LONGTASKS, name)

    def remove_task_alone(self, name: str | names.ObjectKey) -> None:
        """Delete a task; what it owns goes with the next `collect_garbage`."""
        self.take_out(names.LONGTASKS, name)

    def remove_job(self, name: str | names.ObjectKey) -> None:
        """Delete a Job; its pods go with it."""
        self.remove("jobs", name)

    def remove_pod(self, name: str | names.ObjectKey) -> None:
        """Delete a pod at once, its last words unread."""
        self.remove("pods", name)

    # --- what the rest of Kubernetes does ---

    def make_pod(self, job: str | names.ObjectKey) -> str:
        """Make the pod that a Job asks for, as the Job controller does; return its name."""
        raw = self.stored("jobs", job)
        key, template = self.key(job), raw["spec"]["template"]
        name = f"{key.name}-{self.made + 1}"
        uid = raw["metadata"]["uid"]
        owner = {"kind": "Job", "name": key.name, "uid": uid, "controller": True}
        meta = {
            **template["metadata"],
            "name": name,
            "namespace": key.namespace,
            "ownerReferences": [owner],
        }
        spec = template["spec"] | {"nodeName": "node-1"}
        self._save("pods", {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})
        return name

    def collect_garbage(self) -> bool:
        """Remove the Jobs whose owner is gone, and their pods; tell whether there were any."""
        owners = (names.LONGTASKS, names.LONGTASKTYPES)
        alive = {raw["metadata"]["uid"] for of in owners for raw in self.objects(of).values()}
        garbage = [
            key
            for key, raw in self.objects("jobs").items()
            if alive.isdisjoint(o["uid"] for o in raw["metadata"].get("ownerReferences", ()))
        ]
        for key in garbage:
            self.remove_job(key)
        return bool(garbage)

    def start_pod(self, name: str | names.ObjectKey) -> None:
        """Start the pod's container."""
        self._set_pod(name, "Running", {"running": {"startedAt": stamp(self.now)}})

    def end_pod(
        self,
        name: str | names.ObjectKey,
        exit_code: int = 0,
        message: str = "",
        *,
        disrupted: bool = False,
    ) -> None:
        """End the pod's container, and its Job with it."""
        raw = self.stored("pods", name)
        running = raw["status"]["containerStatuses"][0]["state"]["running"]
        terminated = running | {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "message": message,
            "finishedAt": stamp(self.now),
        }
        more: Raw = {}
        if exit_code and raw["spec"].get("activeDeadlineSeconds") == 1:
            more["reason"] = "DeadlineExceeded"
        if disrupted:
            # Nobody deletes it: the kubelet ended it, and says so.
            disruption = {"type": "DisruptionTarget", "reason": "TerminationByKubelet"}
            more["conditions"] = [disruption | {"status": "True"}]
        phase = "Failed" if exit_code else "Succeeded"
        self._set_pod(name, phase, {"terminated": terminated}, **more)
        self._end_job_of(raw, "Failed" if exit_code else "Complete")

    def no_pod_because(self, job: str | names.ObjectKey, message: str) -> None:
        """Say why a Job's pod cannot be made, as the Job controller does: in an Event."""
        meta = self.stored("jobs", job)["metadata"]
        about = {key: meta[key] for key in ("name", "namespace", "uid")} | {"kind": "Job"}
        self.put(
            "events",
            names.ObjectKey(meta["namespace"], f"{meta['name']}.{self.made + 1}"),
            involvedObject=about,
            type="Warning",
            reason="FailedCreate",
            message=message,
        )

    @property
    def warnings(self) -> list[tuple[str, str, str]]:
        """Return the Events of type Warning on tasks: the task's name, the reason, the message."""
        return [
            (event["involvedObject"]["name"], event["reason"], event["message"])
            for event in self.objects("events").values()
            if (event["type"], event["involvedObject"]["kind"]) == ("Warning", "LongTask")
        ]

    def _set_pod(self, name: str | names.ObjectKey, phase: str, state: Raw, **status: Any) -> None:
        containers = [{"name": names.RUNNER_CONTAINER, "state": state}]
        told = {"phase": phase, "containerStatuses": containers} | status
        self._save("pods", {**self.stored("pods", name), "status": told})

    def _end_job_of(self, pod: Raw, kind: str) -> None:
        owners = {owner["uid"] for owner in pod["metadata"].get("ownerReferences", ())}
        for job in list(self.objects("jobs").values()):
            if job["metadata"]["uid"] in owners:
                ended = [{"type": kind, "status": "True"}]
                self._save("jobs", {**job, "status": {"conditions": ended}})


def is_finished(status: Raw) -> bool:
    """Tell whether a stored status says that its task has finished."""
    conditions = status.get("conditions", ())
    return any(c["type"] == "Finished" and c["status"] == "True" for c in conditions)


def _reporting(status: Raw, run: str, report: Raw) -> Raw:
    """Return a task's status with a program's last report in its place."""
    if not run:
        return status | {"report": report}
    step, index = runs.split(run)
    found = copy.deepcopy(status)
    place = next(one for one in found["steps"] if one["name"] == step)
    if index is not None:
        place = next(one for one in place["children"] if one["index"] == index)
    place["report"] = report
    return found

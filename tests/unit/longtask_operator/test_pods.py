"""What is read from the API server's JSON; the samples are a real kubelet's."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longtask_crds.testing import NOW
from longtask_operator.rules import pods
from longtask_operator.testing import REPORT, a_pod

OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-1", "controller": True}
POD: dict[str, Any] = {
    "metadata": {
        "name": "report-abc",
        "namespace": "longtasks",
        "uid": "pod-1",
        "resourceVersion": "77",
        "creationTimestamp": "2026-11-23T11:40:00Z",
        "labels": {"longtask.dev/task": "report", "longtask.dev/attempt": "2"},
        "ownerReferences": [{"kind": "Other", "name": "x", "uid": "x"}, OWNER],
    },
    "spec": {"nodeName": "node-1", "activeDeadlineSeconds": 86400},
    "status": {"phase": "Pending"},
}
STARTED = "2026-11-23T11:40:02Z"
ENDED = "2026-11-23T11:41:02Z"


def a_raw_pod(state: Any = None, **status: Any) -> dict[str, Any]:
    raw = copy.deepcopy(POD)
    raw["status"] |= status
    if state is not None:
        sidecar = {"name": "sidecar", "state": {"terminated": {"exitCode": 9}}}
        raw["status"]["containerStatuses"] = [sidecar, {"name": "runner", "state": state}]
    return raw


def terminated(code: int, reason: str, **more: Any) -> dict[str, Any]:
    given = {"exitCode": code, "reason": reason, "startedAt": STARTED, "finishedAt": ENDED}
    return {"terminated": given | more}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_what_a_pod_is() -> None:
    pod = pods.Pod.parse(a_raw_pod())
    assert pod == pods.Pod(
        name="report-abc",
        uid="pod-1",
        task=REPORT,
        job_name="j",
        job_uid="job-1",
        version=77,
        created_at=datetime(2026, 11, 23, 11, 40, tzinfo=UTC),
        node="node-1",
        deadline=86400,
    )


def test_a_pod_that_runs() -> None:
    raw = a_raw_pod({"running": {"startedAt": STARTED}}, phase="Running")
    pod = pods.Pod.parse(raw, seen_at=NOW)
    assert (pod.started_at, pod.is_over, pod.end) == (time(STARTED), False, None)
    assert pod.running_seen_at == NOW


def test_a_pod_that_ended() -> None:
    pod = pods.Pod.parse(a_raw_pod(terminated(0, "Completed", message="7"), phase="Succeeded"))
    assert pod.end == pods.End(0, "Completed", "7", time(ENDED))
    assert (pod.started_at, pod.is_over, pod.succeeded) == (time(STARTED), True, True)


def test_of_an_end_only_the_exit_code_is_sure() -> None:
    pod = pods.Pod.parse(a_raw_pod({"terminated": {"exitCode": 1}}))
    assert pod.end == pods.End(1, "", "", None)
    assert pod.started_at is None


def test_a_node_that_is_not_heard_of_is_seen_by_a_program_that_runs() -> None:
    gone = {"type": "Ready", "status": "False", "lastTransitionTime": ENDED}
    running = {"running": {"startedAt": STARTED}}
    assert pods.Pod.parse(a_raw_pod(running, conditions=[gone])).unready_since == time(ENDED)
    there = gone | {"status": "True"}
    assert pods.Pod.parse(a_raw_pod(running, conditions=[there])).unready_since is None
    waits = {"waiting": {"reason": "ContainerCreating"}}
    assert pods.Pod.parse(a_raw_pod(waits, conditions=[gone])).unready_since is None


def test_the_end_of_a_sidecar_is_no_end() -> None:
    assert pods.Pod.parse(a_raw_pod({"running": {"startedAt": STARTED}})).end is None


def test_what_the_kubelet_made_up_was_no_run() -> None:
    made_up = terminated(137, "ContainerStatusUnknown")
    pod = pods.Pod.parse(a_raw_pod(made_up, phase="Failed", reason="DeadlineExceeded"))
    assert pod.started_at is None
    assert pod.reason == "DeadlineExceeded"


def test_a_program_that_could_not_be_started_did_not_start_in_1970() -> None:
    raw = a_raw_pod(
        terminated(128, "StartError", startedAt="1970-01-01T00:00:00Z", message="not found"),
        phase="Failed",
    )
    pod = pods.Pod.parse(raw)
    assert pod.started_at == time(ENDED)
    assert pod.end is not None
    assert pod.end.message == "not found"


def waiting(reason: str, message: str = "m") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available",
}


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        pytest.param(a_raw_pod(), None, id="nothing-is-known-yet"),
        pytest.param(a_raw_pod(waiting("ContainerCreating")), None, id="it-is-on-its-way"),
        pytest.param(
            a_raw_pod(waiting("ImagePullBackOff")), "ImagePullBackOff: m", id="its-image-is-missing"
        ),
        pytest.param(
            a_raw_pod(waiting("CreateContainerConfigError", "")),
            "CreateContainerConfigError",
            id="without-more-words",
        ),
        pytest.param(
            a_raw_pod(conditions=[UNSCHEDULABLE]),
            "Unschedulable: 0/1 nodes are available",
            id="no-node-takes-it",
        ),
        pytest.param(
            a_raw_pod(waiting("ErrImagePull", "x" * 5000)),
            ("ErrImagePull: " + "x" * 5000)[:1024],
            id="a-long-cause-is-cut",
        ),
        pytest.param(a_raw_pod(conditions=None), None, id="no-conditions-at-all"),
    ],
)
def test_why_it_cannot_start(raw: dict[str, Any], cause: str | None) -> None:
    assert pods.Pod.parse(raw).cannot_start == cause


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([], id="of-nobody"),
        pytest.param([OWNER | {"controller": False}], id="of-a-job-that-does-not-control-it"),
        pytest.param([OWNER | {"kind": "ReplicaSet"}], id="of-a-replica-set"),
    ],
)
def test_only_a_controlling_job_is_a_pods_job(owners: list[dict[str, Any]]) -> None:
    raw = a_raw_pod()
    raw["metadata"]["ownerReferences"] = owners
    assert pods.Pod.parse(raw).job_name == ""


def test_a_pod_without_anything_is_still_read() -> None:
    bare = {"name": "p", "namespace": "longtasks", "uid": "u", "creationTimestamp": STARTED}
    pod = pods.Pod.parse({"metadata": bare})
    assert (pod.task.name, pod.job_name, pod.job_uid, pod.version) == ("", "", "", 0)


def test_marks_of_a_pod() -> None:
    raw = a_raw_pod(
        conditions=[
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        ]
    )
    raw["metadata"]["deletionTimestamp"] = ENDED
    raw["spec"]["activeDeadlineSeconds"] = 1
    pod = pods.Pod.parse(raw)
    assert (pod.is_disrupted, pod.is_deleting, pod.is_stopping) == (True, True, True)
    assert not pod.is_ended_by_node
    raw["status"]["conditions"][0]["reason"] = "TerminationByKubelet"
    assert pods.Pod.parse(raw).is_ended_by_node


JOB: dict[str, Any] = {
    "metadata": {
        "name": "j",
        "namespace": "longtasks",
        "uid": "job-1",
        "creationTimestamp": STARTED,
        "ownerReferences": [{"kind": "LongTask", "uid": "task-1", "controller": True}],
    },
    "spec": {},
}


def test_what_a_job_is() -> None:
    assert pods.Job.parse(JOB, now=NOW) == pods.Job(
        "longtasks", "j", checked_at=NOW, uid="job-1", owner_uid="task-1", created_at=time(STARTED)
    )


FAILED_JOB = {"conditions": [{"type": "Failed", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "finished"),
    [
        pytest.param({"conditions": [{"type": "Complete", "status": "True"}]}, True, id="complete"),
        pytest.param(FAILED_JOB, True, id="failed"),
        pytest.param({"conditions": [{"type": "Failed", "status": "False"}]}, False, id="not-so"),
        pytest.param(
            {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}, False, id="nearly"
        ),
        pytest.param({"active": 1}, False, id="active"),
    ],
)
def test_a_job_that_is_finished(status: dict[str, Any], finished: bool) -> None:
    job = pods.Job.parse(JOB | {"status": status}, now=NOW)
    assert job.is_finished is finished
    assert job.has_failed is (status == FAILED_JOB)


def test_a_job_that_is_released_or_going() -> None:
    raw = JOB | {"spec": {"ttlSecondsAfterFinished": 0}}
    raw["metadata"] = JOB["metadata"] | {"deletionTimestamp": ENDED}
    job = pods.Job.parse(raw, now=NOW)
    assert (job.is_released, job.is_deleting) == (True, True)


def test_an_owner_that_is_no_controller_does_not_count() -> None:
    assert pods.controller_uid({"ownerReferences": [{"uid": "x"}]}) == ""


@pytest.mark.parametrize(
    ("ended_after", "outlived"),
    [
        pytest.param(59, False, id="in-time"),
        pytest.param(60, True, id="when-its-time-was-up"),
        pytest.param(None, False, id="while-it-runs"),
    ],
)
def test_whether_a_program_outlived_its_time(ended_after: int | None, outlived: bool) -> None:
    end = None if ended_after is None else pods.End(0, "", "", NOW + timedelta(seconds=ended_after))
    assert a_pod(end=end).outlived(60) is outlived


@pytest.mark.parametrize(
    ("terminated", "expected"),
    [
        pytest.param({"exitCode": 75, "message": "not kept\n"}, "not kept", id="its-words"),
        pytest.param({"exitCode": 1}, "exit code 1", id="without-words"),
        pytest.param({"exitCode": 0, "message": "x"}, None, id="all-came"),
    ],
)
def test_what_could_not_be_fetched(terminated: dict[str, object], expected: str | None) -> None:
    raw = {
        "metadata": {
            "name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"
        },
        "status": {
            "phase": "Failed",
            "initContainerStatuses": [{"name": "files", "state": {"terminated": terminated}}],
        },
    }  # fmt: skip
    assert pods.Pod.parse(raw).not_fetched == expected

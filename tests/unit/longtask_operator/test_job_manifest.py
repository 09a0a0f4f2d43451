"""The Job of one attempt: whatever a user writes, each line of the pod is ours."""

import dataclasses
import json
import re
import string
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import pod_security
import spec_corpus
from longtask_crds import effective, names, runner_contract, v1alpha1
from longtask_crds.testing import TASK_UID, a_task, a_type, with_status
from longtask_operator.rules import job_manifest
from longtask_operator.testing import INSTALLATION, SURROUNDINGS


def build(
    task: v1alpha1.LongTask, task_type: v1alpha1.LongTaskType | None = None, *, attempt: int = 1
) -> dict[str, Any]:
    spec = effective.effective_spec(task.spec, task_type and task_type.spec, INSTALLATION)
    return job_manifest.build(task, spec, attempt=attempt, surroundings=SURROUNDINGS)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    return container


def environment(job: dict[str, Any]) -> dict[str, Any]:
    """Return what the kubelet makes of it: a later variable wins."""
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container_of(job)["env"]}


def expanded(text: str, env: dict[str, str]) -> str:
    """Expand `$(NAME)` as Kubernetes does."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def test_a_job_is_its_tasks() -> None:
    job = build(a_task(type="sleep", input={"seconds": 1}), attempt=3)
    meta = job["metadata"]
    assert meta["namespace"] == "longtasks"
    assert meta["name"] == names.job_name("report", TASK_UID, attempt=3)
    (owner,) = meta["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["kind"]) == (TASK_UID, True, "LongTask")
    for labels in (meta["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels[names.TASK_LABEL] == "report"
        assert labels[names.ATTEMPT_LABEL] == "3"
        assert labels[names.QUEUE_LABEL] == "default"


def test_a_job_starts_its_program_once() -> None:
    spec = build(a_task())["spec"]
    assert (spec["backoffLimit"], spec["parallelism"], spec["completions"]) == (0, 1, 1)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in spec, "its outcome may not vanish unread"
    assert "activeDeadlineSeconds" not in spec, "a Job's deadline deletes the pod"
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 86_400


#: What each program is told; only one that has no task yet is told so.
TOLD = {v for k, v in vars(runner_contract.Env).items() if not k.startswith("_")} - {
    runner_contract.Env.WARM
}


def test_the_program_is_told_who_it_is() -> None:
    env = environment(build(a_task(type="sleep"), attempt=2))
    assert env | {"HOME": "/tmp"} == env
    assert env["LONGTASK_NAME"] == "report"
    assert env["LONGTASK_UID"] == TASK_UID
    assert (env["LONGTASK_TYPE"], env["LONGTASK_STEP"], env["LONGTASK_ATTEMPT"]) == (
        *("sleep", "", "2"),
    )
    assert env.keys() >= TOLD


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"n": 1, "ü": "é€😀"}, id="utf-8-stays-utf-8"),
        pytest.param({"a": "$(LONGTASK_UID) $$"}, id="dollars-are-data"),
        pytest.param([None, True, 1.5, {"b": []}], id="every-kind-of-value"),
        pytest.param("text", id="a-bare-text"),
        pytest.param(None, id="nothing-is-an-empty-object"),
    ],
)
def test_the_input_arrives_byte_for_byte(value: Any) -> None:
    job = build(a_task(type="x", input=value))
    text = job["spec"]["template"]["metadata"]["annotations"][runner_contract.INPUT_ANNOTATION]
    expected = {} if value is None else value
    assert text == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    (items,) = [v["downwardAPI"]["items"] for v in pod_of(job)["volumes"] if "downwardAPI" in v]
    paths = {item["path"]: item["fieldRef"]["fieldPath"] for item in items}
    assert paths == {
        "input.json": "metadata.annotations['longtask.dev/input']",
        "checkpoint.json": "metadata.annotations['longtask.dev/checkpoint']",
    }


def checkpoint_of(job: dict[str, Any]) -> str:
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    return annotations[runner_contract.CHECKPOINT_ANNOTATION]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        pytest.param(None, "", id="nothing-was-said"),
        pytest.param({"percent": 5}, "", id="nothing-was-kept"),
        pytest.param({"checkpoint": {"n": [None, "ü"]}}, '{"n":[null,"ü"]}', id="as-it-was-kept"),
        pytest.param({"checkpoint": 0}, "0", id="nought-is-something"),
    ],
)
def test_the_next_attempt_gets_what_the_one_before_kept(progress: Any, text: str) -> None:
    said = progress and v1alpha1.Progress.model_validate(progress)
    assert checkpoint_of(build(with_status(a_task(), progress=said), attempt=2)) == text


@pytest.mark.parametrize(
    ("timeouts", "told"),
    [
        pytest.param(None, "", id="no-limit"),
        pytest.param({"heartbeatSeconds": 30}, "30", id="the-tasks-own"),
    ],
)
def test_the_program_is_told_how_long_it_may_be_silent(timeouts: Any, told: str) -> None:
    job = build(a_task(type="sleep", timeouts=timeouts))
    assert environment(job)["LONGTASK_HEARTBEAT_SECONDS"] == told


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("annotation", "own", "told"),
    [
        pytest.param(TRACE, [], TRACE, id="its-trace"),
        pytest.param("$(LONGTASK_TOKEN_FILE)", [], None, id="nothing-that-is-none"),
        pytest.param(
            TRACE, [{"name": "TRACEPARENT", "value": "own"}], "own", id="what-it-says-itself"
        ),
    ],
)
def test_the_program_is_told_its_trace(
    annotation: str, own: list[dict[str, str]], told: str | None
) -> None:
    task = a_task(container={"image": "x", "env": own})
    meta = task.metadata.model_copy(
        update={"annotations": {names.TRACEPARENT_ANNOTATION: annotation}}
    )
    env = environment(build(task.model_copy(update={"metadata": meta})))
    assert env.get("TRACEPARENT") == told


def test_the_program_is_told_what_others_say_of_its_trace() -> None:
    said = {names.TRACEPARENT_ANNOTATION: TRACE, names.TRACESTATE_ANNOTATION: "a=$(PATH),b=2"}
    for own, told in (([], "a=$$(PATH),b=2"), ([{"name": "TRACEPARENT", "value": TRACE}], None)):
        task = a_task(container={"image": "x", "env": own})
        meta = task.metadata.model_copy(update={"annotations": said})
        env = environment(build(task.model_copy(update={"metadata": meta})))
        assert env.get("TRACESTATE") == told


def test_a_secret_is_named_and_never_copied() -> None:
    secret = {"name": "db", "key": "password"}
    task = a_task(container={"image": "x", "env": [{"name": "PW", "secretRef": secret}]})
    assert environment(build(task))["PW"] == {"secretKeyRef": secret}


def test_a_type_may_choose_its_user_and_a_writable_root() -> None:
    kind = a_type("legacy", security={"runAsUser": 1000, "writableRoot": True}, egress="internet")
    job = build(a_task(type="legacy"), kind)
    context = pod_of(job)["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (1000, 1000, 1000)
    assert context["runAsNonRoot"] is True
    assert container_of(job)["securityContext"]["readOnlyRootFilesystem"] is False
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["longtask.dev/egress"] == "internet"


def test_a_task_without_a_type_cannot_choose_either() -> None:
    job = build(a_task())
    assert pod_of(job)["securityContext"]["runAsUser"] == effective.DEFAULT_USER
    assert container_of(job)["securityContext"]["readOnlyRootFilesystem"] is True
    assert job["spec"]["template"]["metadata"]["labels"]["longtask.dev/egress"] == "none"


def of_type(**spec: Any) -> dict[str, Any]:
    """Return the Job of a task whose type says all this."""
    return build(a_task(type="mine"), a_type("mine", **spec))


def test_a_type_places_its_pods() -> None:
    placement = {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"longtask.dev/queue": "gpu"}},
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "priorityClassName": "urgent",
        "runtimeClassName": "gvisor",
    }
    pod = pod_of(of_type(placement=placement))
    assert {field: pod[field] for field in placement} == placement
    assert not placement.keys() & pod_of(of_type()).keys()


def test_no_placement_names_a_namespace() -> None:
    term = {"topologyKey": "a", "namespaces": ["kube-system"], "namespaceSelector": {}}
    hard = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    pod = pod_of(of_type(placement={"affinity": {"podAffinity": hard}}))
    assert "namespace" not in json.dumps(pod["affinity"])


@pytest.mark.parametrize(
    ("given", "source", "read_only"),
    [
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "models"}},
            {"persistentVolumeClaim": {"claimName": "models"}},
            True,
            id="a-claim-is-read-only-unless-said",
        ),
        pytest.param(
            {"persistentVolumeClaim": {"claimName": "models"}, "readOnly": False},
            {"persistentVolumeClaim": {"claimName": "models"}},
            False,
            id="a-claim-to-write-to",
        ),
        pytest.param({"configMap": {"name": "a"}}, {"configMap": {"name": "a"}}, True, id="a-map"),
        pytest.param(
            {"secret": {"secretName": "a"}}, {"secret": {"secretName": "a"}}, True, id="a-secret"
        ),
        pytest.param(
            {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
            {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
            False,
            id="an-empty-folder-is-there-to-be-written-to",
        ),
        pytest.param(
            {"emptyDir": {"sizeLimit": 2**30}, "readOnly": True},
            {"emptyDir": {"sizeLimit": str(2**30)}},
            True,
            id="unless-said",
        ),
    ],
)
def test_a_type_gives_volumes(
    given: dict[str, Any], source: dict[str, Any], read_only: bool
) -> None:
    job = of_type(volumes=[{"name": "data", "mountPath": "/data", **given}])
    assert pod_of(job)["volumes"] == [*PLAIN_POD["volumes"], {"name": "data", **source}]
    mount = {"name": "data", "mountPath": "/data"} | ({"readOnly": True} if read_only else {})
    assert container_of(job)["volumeMounts"] == [*PLAIN_CONTAINER["volumeMounts"], mount]


def test_a_type_says_how_large_the_shared_memory_is() -> None:
    job = of_type(shmSize="1Gi")
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    assert memory in pod_of(job)["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container_of(job)["volumeMounts"]
    assert "shm" not in json.dumps(PLAIN_POD)


def test_a_large_claim_is_not_walked_through_at_each_start() -> None:
    assert PLAIN_POD["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


# --- whatever a user writes ---

TEXT = st.text(max_size=20)
WORD = st.text(string.ascii_letters + "_", min_size=1, max_size=10)
HOSTILE = st.sampled_from(
    ["hostPath", "privileged", "$(LONGTASK_TOKEN_FILE)", "$$(X)", "\n- name: x", "serviceAccount"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | HOSTILE, inner, max_size=3),
    max_leaves=8,
)
ENV = st.lists(
    st.builds(lambda n, v: {"name": n, "value": v}, WORD | HOSTILE.filter(str.isalpha), TEXT),
    max_size=4,
)
CONTAINER = st.fixed_dictionaries(
    {"image": st.sampled_from(spec_corpus.IMAGES)},
    optional={
        "command": st.lists(TEXT | HOSTILE, max_size=3),
        "args": st.lists(TEXT | HOSTILE, max_size=3),
        "env": ENV,
        # What no field of ours is called is not there at all.
        "securityContext": st.just({"privileged": True}),
        "volumeMounts": st.just([{"name": "x", "mountPath": "/"}]),
        "hostNetwork": st.just(True),
    },
)
SPEC = st.fixed_dictionaries(
    {"container": CONTAINER},
    optional={
        "input": JSON,
        "priority": st.integers(0, 100),
        "timeouts": st.fixed_dictionaries({"runSeconds": st.integers(1, 31_536_000)}),
        "serviceAccountName": st.just("admin"),
        "nodeName": st.just("node-1"),
    },
)

POD_FIELDS = {
    *("restartPolicy", "activeDeadlineSeconds", "terminationGracePeriodSeconds"),
    *("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"),
    *("securityContext", "containers", "volumes"),
}
CONTAINER_FIELDS = {
    *("name", "image", "imagePullPolicy", "env", "resources", "terminationMessagePath"),
    *("terminationMessagePolicy", "securityContext", "volumeMounts", "command", "args"),
}


@settings(max_examples=300)
@given(spec=SPEC)
def test_nothing_is_smuggled_into_a_pod(spec: dict[str, Any]) -> None:
    job = build(a_task(**spec))
    pod, container = pod_of(job), container_of(job)
    assert pod.keys() <= POD_FIELDS
    assert container.keys() <= CONTAINER_FIELDS
    assert pod_security.violations(job["spec"]["template"]) == []
    assert pod["serviceAccountName"] == SURROUNDINGS.service_account
    assert pod["volumes"] == PLAIN_POD["volumes"]
    assert container["volumeMounts"] == PLAIN_CONTAINER["volumeMounts"]
    assert container["image"] == spec["container"]["image"]
    # Nobody but us says who the program is.
    env = environment(job)
    assert {name: env[name] for name in TOLD} == {
        name: environment(build(a_task()))[name] for name in TOLD
    }
    # What a user wrote is what the program gets.
    values = {name: value for name, value in env.items() if isinstance(value, str)}
    for part in ("command", "args"):
        assert [expanded(word, values) for word in container.get(part, [])] == spec[
            "container"
        ].get(part, [])
    for variable in spec["container"].get("env", []):
        last = [v for v in spec["container"]["env"] if v["name"] == variable["name"]][-1]
        if variable["name"] not in TOLD:
            assert expanded(values[variable["name"]], values) == last["value"]


PLAIN_POD = pod_of(build(a_task()))
PLAIN_CONTAINER = container_of(build(a_task()))


def test_the_token_is_for_reports_only_and_short_lived() -> None:
    (token,) = [v["projected"]["sources"] for v in PLAIN_POD["volumes"] if "projected" in v]
    assert token == [
        {
            "serviceAccountToken": {
                "audience": "longtask-report",
                "expirationSeconds": 600,
                "path": "token",
            }
        }
    ]


def test_the_surroundings_are_the_installations() -> None:
    other = dataclasses.replace(SURROUNDINGS, runner_api_url="http://a", service_account="b")
    spec = effective.effective_spec(a_task().spec, None, INSTALLATION)
    job = job_manifest.build(a_task(), spec, attempt=1, surroundings=other)
    assert environment(job)["LONGTASK_API_URL"] == "http://a"
    assert pod_of(job)["serviceAccountName"] == "b"


# --- line by line ---

#: Of a program of a pipeline, at its second attempt: the one Job that has all that a Job may have.
WHOLE = yaml.safe_load("""
apiVersion: batch/v1
kind: Job
metadata:
  name: report-veqwaeda73
  namespace: longtasks
  labels: &labels
    longtask.dev/task: report
    longtask.dev/queue: default
    longtask.dev/attempt: "2"
    longtask.dev/step: sum-3
    app.kubernetes.io/managed-by: longtask
    app.kubernetes.io/part-of: longtask
  ownerReferences:
    - apiVersion: longtask.dev/v1alpha1
      kind: LongTask
      name: report
      uid: 7b1c4a52-7a5e-4a0c-9d8e-5f0d6c1b2a30
      controller: true
      blockOwnerDeletion: true
spec:
  completions: 1
  parallelism: 1
  backoffLimit: 0
  podReplacementPolicy: Failed
  template:
    metadata:
      labels:
        <<: *labels
        longtask.dev/egress: none
      annotations:
        longtask.dev/input: '{"n":1}'
        longtask.dev/checkpoint: '[2]'
    spec:
      restartPolicy: Never
      activeDeadlineSeconds: 600
      terminationGracePeriodSeconds: 30
      serviceAccountName: longtask-task
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      initContainers:
        - name: files
          image: runner:1
          imagePullPolicy: IfNotPresent
          command: [python3, -m, longtask_runner.files, fetch, split]
          env: &env
            - {name: HOME, value: /tmp}
            - {name: LONGTASK_NAME, value: report}
            - {name: LONGTASK_NAMESPACE, value: longtasks}
            - {name: LONGTASK_UID, value: 7b1c4a52-7a5e-4a0c-9d8e-5f0d6c1b2a30}
            - {name: LONGTASK_TYPE, value: mine}
            - {name: LONGTASK_STEP, value: sum-3}
            - {name: LONGTASK_ATTEMPT, value: "2"}
            - {name: LONGTASK_INPUT_FILE, value: /longtask/input/input.json}
            - {name: LONGTASK_OUTPUT_FILE, value: /dev/termination-log}
            - {name: LONGTASK_CHECKPOINT_FILE, value: /longtask/input/checkpoint.json}
            - {name: LONGTASK_HEARTBEAT_SECONDS, value: "30"}
            - {name: LONGTASK_API_URL, value: "http://api.example:8081"}
            - {name: LONGTASK_TOKEN_FILE, value: /longtask/token/token}
          resources:
            requests: {cpu: 10m, memory: 32Mi}
            limits: {memory: 128Mi}
          terminationMessagePolicy: FallbackToLogsOnError
          securityContext: &security
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
            readOnlyRootFilesystem: true
          volumeMounts:
            - {name: files, mountPath: /longtask/files}
            - {name: token, mountPath: /longtask/token, readOnly: true}
      containers:
        - name: runner
          image: mine:1
          imagePullPolicy: IfNotPresent
          env: *env
          resources: {requests: {}, limits: {}}
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: FallbackToLogsOnError
          securityContext: *security
          volumeMounts:
            - {name: input, mountPath: /longtask/input, readOnly: true}
            - {name: token, mountPath: /longtask/token, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            - {name: files, mountPath: /longtask/files, readOnly: true}
            - {name: shm, mountPath: /dev/shm}
      volumes:
        - name: input
          downwardAPI:
            items:
              - path: input.json
                fieldRef: {fieldPath: "metadata.annotations['longtask.dev/input']"}
              - path: checkpoint.json
                fieldRef: {fieldPath: "metadata.annotations['longtask.dev/checkpoint']"}
        - name: token
          projected:
            sources:
              - serviceAccountToken:
                  audience: longtask-report
                  expirationSeconds: 600
                  path: token
        - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
        - {name: files, emptyDir: {sizeLimit: 2Gi}}
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
""")


def test_no_line_of_a_job_is_there_by_chance() -> None:
    kind = a_type("mine", container={"image": "mine:1"}, shmSize="1Gi")
    timeouts = {"heartbeatSeconds": 30, "runSeconds": 600}
    task = a_task(type="mine", input={"n": 1}, timeouts=timeouts)
    task = with_status(task, progress=v1alpha1.Progress(checkpoint=[2]))
    spec = effective.effective_spec(task.spec, kind.spec, INSTALLATION)
    job = job_manifest.build(
        *(task, spec), attempt=2, surroundings=SURROUNDINGS, run="sum-3", files=("fetch", "split")
    )
    assert job == WHOLE

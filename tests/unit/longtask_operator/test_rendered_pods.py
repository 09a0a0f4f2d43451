"""Whatever a task and its type say, the pod keeps to Pod Security `restricted`, and to ours.

Some hundreds of cases in each run; `make pods-check` takes ten thousand.
"""

from typing import Any

import pydantic
import pytest

import pod_cases
import pod_security
from longtask_crds import acceptance, effective, runner_contract, v1alpha1
from longtask_operator.rules import job_manifest
from longtask_operator.testing import INSTALLATION, SURROUNDINGS

Json = dict[str, Any]

OUR_PATHS = {"input": "/longtask/input", "token": "/longtask/token", "tmp": "/tmp"}
#: What the contract has, but pods have not: for tasks that go through other doors.
ELSEWHERE = {
    "LongTaskSpec": {
        *("steps", "max_parallel", "output", "retry", "callback", "notify", "not_before", "cancel"),
        "ttl_seconds_after_finished",
    },
    "Retry": {"backoff_seconds", "max_backoff_seconds"},
    "Timeouts": {"total_seconds", "heartbeat_seconds"},
}


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> list[pod_cases.Case]:
    return [pod_cases.case(number) for number in range(request.config.getoption("--pods"))]


def rendered(case: pod_cases.Case) -> tuple[effective.EffectiveSpec, Json]:
    """Return what holds for a case, and its Job: every third one is a step that takes files."""
    kind = case.task_type and case.task_type.spec
    spec = effective.effective_spec(case.task.spec, kind, INSTALLATION)
    as_step: Json = {}
    if case.task.metadata.name.endswith(("2", "5", "8")):
        as_step = {"run": "convert.3", "files": ("fetch", "parse")}
    job = job_manifest.build(case.task, spec, attempt=1, surroundings=SURROUNDINGS, **as_step)
    return spec, job


def test_every_case_keeps_the_contract(cases: list[pod_cases.Case]) -> None:
    for case in cases:
        assert acceptance.breaches(case.task.spec) == []
        if case.task_type is not None:
            assert acceptance.breaches(case.task_type.spec) == []


def test_every_pod_is_restricted(cases: list[pod_cases.Case]) -> None:
    for case in cases:
        _, job = rendered(case)
        assert pod_security.violations(job["spec"]["template"]) == [], case


def test_every_pod_is_ours(cases: list[pod_cases.Case]) -> None:
    for case in cases:
        spec, job = rendered(case)
        check_ours(spec, job["spec"]["template"]["spec"])


def check_ours(spec: effective.EffectiveSpec, pod: Json) -> None:
    """Check what `restricted` does not ask for."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == SURROUNDINGS.service_account
    assert pod["activeDeadlineSeconds"] == spec.limits.run
    assert pod["securityContext"]["runAsUser"] == spec.run_as_user > 0
    assert "nodeName" not in pod
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is not spec.writable_root
    for fetching in pod.get("initContainers", ()):
        assert fetching["image"] == SURROUNDINGS.runner_image
        assert fetching["securityContext"]["readOnlyRootFilesystem"] is True
    # Nobody but us says who the program is.
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert env[runner_contract.Env.TOKEN_FILE] == runner_contract.TOKEN_FILE
    # Ours are there, at their places, and nothing is mounted twice.
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert paths | OUR_PATHS == paths
    assert len(set(paths.values())) == len(container["volumeMounts"]) == len(pod["volumes"])
    assert paths.keys() == {volume["name"] for volume in pod["volumes"]}
    written = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
    for volume in pod["volumes"]:
        if "emptyDir" in volume:
            assert "sizeLimit" in volume["emptyDir"]
        elif "persistentVolumeClaim" not in volume:
            assert volume["name"] not in written
    # No request is above its limit, and of a device they are the same.
    requests, limits = (container["resources"].get(part, {}) for part in ("requests", "limits"))
    for name in requests.keys() | limits.keys():
        if effective.is_extended(name):
            assert requests[name] == limits[name]
        elif name in requests and name in limits:
            assert effective.quantity(requests[name]) <= effective.quantity(limits[name])


def test_the_cases_say_all_that_the_contract_lets_them_say() -> None:
    """A new field must be made here too, or nobody has looked at its pods."""
    said: set[tuple[str, str]] = set()
    for number in range(300):
        case = pod_cases.case(number)
        said |= fields(case.task.spec)
        said |= fields(case.task_type.spec) if case.task_type is not None else set()
    known = of_model(v1alpha1.LongTaskSpec) | of_model(v1alpha1.LongTaskTypeSpec)
    assert sorted(known - said) == []


def fields(model: pydantic.BaseModel) -> set[tuple[str, str]]:
    """Return each field that is said, with its model's name."""
    found = set()
    for name in type(model).model_fields:
        value = getattr(model, name)
        if value is not None:
            found.add((type(model).__name__, name))
        for inner in value if isinstance(value, list) else [value]:
            found |= fields(inner) if isinstance(inner, pydantic.BaseModel) else set()
    return found


def of_model(model: type[pydantic.BaseModel]) -> set[tuple[str, str]]:
    """Return each field that can be said, with its model's name."""
    found = set()
    elsewhere = ELSEWHERE.get(model.__name__, set())
    for name, field in model.model_fields.items():
        if name not in elsewhere:
            found.add((model.__name__, name))
            for inner in models_in(field.annotation):
                found |= of_model(inner)
    return found


def models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """Return the models that an annotation speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    parts = getattr(annotation, "__args__", ())
    return [model for part in parts for model in models_in(part)]


# --- the judge ---

PLAIN = rendered(pod_cases.case(0))[1]["spec"]["template"]


@pytest.mark.parametrize(("change", "told"), pod_security.BREACHES)
def test_a_pod_that_is_not_restricted_is_told(change: Json, told: str) -> None:
    assert pod_security.violations(pod_security.changed(PLAIN, change)) == [told]


@pytest.mark.parametrize("change", pod_security.ALLOWED)
def test_what_is_allowed_is_allowed(change: Json) -> None:
    assert pod_security.violations(pod_security.changed(PLAIN, change)) == []

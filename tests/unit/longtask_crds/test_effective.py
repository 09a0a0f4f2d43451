"""Own words before the type's, the type's before the installation's."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from longtask_crds import effective, v1alpha1

INSTALLATION = effective.Installation(
    runner_image="runner:1",
    resources=v1alpha1.Resources.model_validate(
        {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    ),
    resource_cap={"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi", "example.com/a": "2"},
)
TYPE = v1alpha1.LongTaskTypeSpec.model_validate(
    {
        "container": {"image": "mine:2", "command": ["run", "it"], "args": ["--fast"]},
        "shmSize": "128Mi",
        "defaults": {
            "queue": "big",
            "priority": 70,
            "timeouts": {"runSeconds": 60, "heartbeatSeconds": 30},
            "retry": {"maxAttempts": 4},
            "resources": {"limits": {"memory": "256Mi"}},
        },
        "security": {"runAsUser": 1234, "writableRoot": True},
        "egress": "internet",
    }
)


DEVICES = v1alpha1.LongTaskTypeSpec.model_validate(
    {
        "defaults": {
            "resources": {"requests": {"example.com/b": "4"}, "limits": {"example.com/a": "2"}}
        }
    }
)


def spec(**fields: Any) -> v1alpha1.LongTaskSpec:
    return v1alpha1.LongTaskSpec.model_validate({"type": "mine", **fields})


def of(own: v1alpha1.LongTaskSpec, kind: v1alpha1.LongTaskTypeSpec | None) -> Any:
    return effective.effective_spec(own, kind, INSTALLATION)


@pytest.mark.parametrize(
    ("own", "kind", "expected"),
    [
        pytest.param(
            v1alpha1.LongTaskSpec(),
            None,
            {
                "type": "",
                "command": None,
                "args": None,
                "image": "runner:1",
                "queue": "default",
                "priority": 50,
                "limits": effective.Limits(None, 600, 86_400, None, None),
                "retry": effective.Retry(1, 10, 360),
                "run_as_user": 65532,
                "writable_root": False,
                "egress": v1alpha1.Egress.NONE,
                "env": (),
                "placement": v1alpha1.Placement(),
                "volumes": (),
                "shm_size": None,
            },
            id="where-nobody-says-anything-the-documented-defaults-hold",
        ),
        pytest.param(
            spec(),
            TYPE,
            {
                "type": "mine",
                "image": "mine:2",
                "command": ("run", "it"),
                "args": ("--fast",),
                "shm_size": "128Mi",
                "queue": "big",
                "priority": 70,
                "limits": effective.Limits(None, 600, 60, None, 30),
                "retry": effective.Retry(4, 10, 360),
                "run_as_user": 1234,
                "writable_root": True,
                "egress": v1alpha1.Egress.INTERNET,
            },
            id="the-type-says-what-the-task-does-not",
        ),
        pytest.param(
            spec(
                queue="own",
                priority=0,
                timeouts={"startSeconds": 5, "totalSeconds": 9},
                retry={"backoffSeconds": 0},
            ),
            TYPE,
            {
                "queue": "own",
                "priority": 0,
                "limits": effective.Limits(None, 5, 60, 9, 30),
                "retry": effective.Retry(4, 0, 360),
            },
            id="the-task-wins-field-by-field-and-zero-is-a-word",
        ),
    ],
)
def test_effective_spec(
    own: v1alpha1.LongTaskSpec,
    kind: v1alpha1.LongTaskTypeSpec | None,
    expected: dict[str, Any],
) -> None:
    got = of(own, kind)
    assert {name: getattr(got, name) for name in expected} == expected


TIMEOUTS = ("queueSeconds", "startSeconds", "runSeconds", "totalSeconds", "heartbeatSeconds")
RETRY = ("maxAttempts", "backoffSeconds", "maxBackoffSeconds")


@pytest.mark.parametrize("field", TIMEOUTS)
def test_each_limit_is_the_tasks_own_else_the_types(field: str) -> None:
    of_type = [1, 2, 3, 4, 5]
    kind = v1alpha1.LongTaskTypeSpec.model_validate(
        {"defaults": {"timeouts": dict(zip(TIMEOUTS, of_type, strict=True))}}
    )
    assert list(dataclasses.astuple(of(spec(), kind).limits)) == of_type
    of_both = [9 if name == field else one for name, one in zip(TIMEOUTS, of_type, strict=True)]
    got = of(spec(timeouts={field: 9}), kind).limits
    assert list(dataclasses.astuple(got)) == of_both


@pytest.mark.parametrize("field", RETRY)
def test_each_word_on_retries_is_the_tasks_own_else_the_types(field: str) -> None:
    of_type = [2, 3, 4]
    kind = v1alpha1.LongTaskTypeSpec.model_validate(
        {"defaults": {"retry": dict(zip(RETRY, of_type, strict=True))}}
    )
    assert list(dataclasses.astuple(of(spec(), kind).retry)) == of_type
    of_both = [9 if name == field else one for name, one in zip(RETRY, of_type, strict=True)]
    assert list(dataclasses.astuple(of(spec(retry={field: 9}), kind).retry)) == of_both


def test_a_type_without_defaults_says_nothing_of_limits() -> None:
    assert effective.limits_of(spec(), None) == effective.Limits(None, 600, 86_400, None, None)


@pytest.mark.parametrize(
    ("own", "kind", "expected"),
    [
        pytest.param(
            {},
            TYPE,
            {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            id="each-amount-is-filled-by-itself",
        ),
        pytest.param(
            {"requests": {"memory": "1Gi"}},
            None,
            {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
            id="an-inherited-limit-gives-way-to-a-request",
        ),
        pytest.param(
            {"limits": {"memory": "32Mi"}},
            None,
            {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
            id="an-inherited-request-gives-way-to-a-limit",
        ),
        pytest.param(
            {"requests": {"example.com/a": 1}},
            DEVICES,
            {
                "requests": {"cpu": "50m", "memory": "64Mi"}
                | {"example.com/a": "1", "example.com/b": "4"},
                "limits": {"memory": "512Mi", "example.com/a": "1", "example.com/b": "4"},
            },
            id="a-device-is-the-same-on-both-sides-whoever-says-it",
        ),
        pytest.param(
            {"limits": {"example.com/a": 0, "example.com/b": "0"}},
            DEVICES,
            {
                "requests": {"cpu": "50m", "memory": "64Mi"}
                | {"example.com/a": "0", "example.com/b": "0"},
                "limits": {"memory": "512Mi", "example.com/a": "0", "example.com/b": "0"},
            },
            id="no-device-is-a-word",
        ),
    ],
)
def test_resources(
    own: dict[str, Any], kind: v1alpha1.LongTaskTypeSpec | None, expected: dict[str, Any]
) -> None:
    assert of(spec(resources=own), kind).resources.to_json() == expected


@pytest.mark.parametrize(
    ("text", "amount"),
    [("250m", "0.25"), ("2", "2"), ("1.5Gi", "1610612736"), ("3k", "3000"), ("1Ti", str(2**40))],
)
def test_an_amount_is_a_number_of_base_units(text: str, amount: str) -> None:
    assert effective.quantity(text) == Decimal(amount)


def test_what_is_over_the_cap_is_named() -> None:
    asked = v1alpha1.Resources.model_validate(
        {
            "requests": {"cpu": 2, "ephemeral-storage": "2Gi"},
            "limits": {"cpu": "2001m", "memory": "1Gi"},
        }
    )
    assert list(effective.over_cap(asked, INSTALLATION.resource_cap)) == [
        ("requests", "ephemeral-storage"),
        ("limits", "cpu"),
    ]


def test_of_devices_a_task_may_ask_for_those_that_the_cap_names() -> None:
    asked = v1alpha1.Resources(limits={"example.com/a": "3", "example.com/b": "1"})
    assert list(effective.over_cap(asked, INSTALLATION.resource_cap)) == [
        ("limits", "example.com/a"),
        ("limits", "example.com/b"),
    ]
    assert list(effective.over_cap(v1alpha1.Resources(limits={"cpu": "9"}), {})) == []


@pytest.mark.parametrize(
    ("given", "got"),
    [
        pytest.param({}, {}, id="nothing-is-an-empty-object"),
        pytest.param({"input": [None]}, [None], id="any-json"),
        pytest.param({"input": 0}, 0, id="zero-is-a-word"),
    ],
)
def test_input_of(given: dict[str, Any], got: Any) -> None:
    assert effective.input_of(spec(**given)) == got

from typing import Any

import pydantic
import pytest

from longtask_adapters import settings
from longtask_crds import address_guard, effective, v1alpha1


def told(monkeypatch: pytest.MonkeyPatch, **environment: str) -> settings.CommonSettings:
    for name, value in environment.items():
        monkeypatch.setenv(f"LONGTASK_{name}", value)
    return settings.CommonSettings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("a", ("a",), id="one"),
        pytest.param("a, b,,c ", ("a", "b", "c"), id="parted-by-commas"),
        pytest.param('["a", "b"]', ("a", "b"), id="a-json-list"),
        pytest.param("[]", (), id="an-empty-json-list"),
        pytest.param("[fd00::1]:443,b", ("[fd00::1]:443", "b"), id="brackets-of-an-address"),
    ],
)
def test_a_list(monkeypatch: pytest.MonkeyPatch, text: str, expected: Any) -> None:
    assert told(monkeypatch, CALLBACK_ALLOW=text).callback_allow == expected


def test_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(settings.CommonSettings):
        schedule: settings.Numbers = (1,)

    monkeypatch.setenv("LONGTASK_SCHEDULE", "0, 5,300")
    assert Own().schedule == (0, 5, 300)


def test_what_is_denied_is_denied_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    common = told(monkeypatch, CALLBACK_DENY="34.0.0.0/8")
    with pytest.raises(address_guard.Refused) as caught:
        common.guard.check_url("https://34.1.2.3/")
    assert caught.value.reason is address_guard.Refusal.ADDRESS_DENIED


@pytest.mark.parametrize("name", ["CALLBACK_ALLOW", "CALLBACK_DENY"])
@pytest.mark.parametrize("text", ["10.0.0.0/99", '["a.example"', "[1]"])
def test_a_list_that_no_guard_can_read_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    with pytest.raises(pydantic.ValidationError):
        told(monkeypatch, **{name: text})


def test_what_tasks_get(monkeypatch: pytest.MonkeyPatch) -> None:
    common = told(
        monkeypatch,
        RUNNER_IMAGE="r:1",
        RESOURCES='{"requests": {"cpu": "1"}}',
        RESOURCE_CAP='{"memory": "1Gi"}',
    )
    assert common.installation == effective.Installation(
        "r:1",
        v1alpha1.Resources(requests={"cpu": "1"}),
        {"memory": "1Gi"},
    )


def test_settings_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        settings.CommonSettings().namespace = "another"  # type: ignore[misc]

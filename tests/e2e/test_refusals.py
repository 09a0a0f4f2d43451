"""Bad input is refused at the door by REST, and told in the resource where kubectl brought it."""

from typing import Any

import httpx
import pytest

from e2e_support import Kubectl, Receiver, callback_key, finished, submit

REFUSED_URLS = [
    "http://127.0.0.1:1/x",
    "https://localhost/x",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://[64:ff9b::a9fe:a9fe]/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/x",
    "https://192.168.0.1/x",
    "https://0x7f000001/x",
    "https://2130706433/x",
    "https://kubernetes.default.svc/x",
    "https://user:secret@example.com/x",
    "https://example.com:22/x",
    "ftp://example.com/x",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_rest_refuses_a_callback_to_the_inside(rest: httpx.Client, url: str) -> None:
    answer = rest.post(
        "/api/v1/tasks", json={"type": "sleep", "input": {"seconds": 1}, "callback": {"url": url}}
    )

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/callback/url"]


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://kubernetes.default.svc/"])
def test_kubectl_learns_from_the_conditions_that_a_callback_is_refused(
    kubectl: Kubectl, name: str, url: str
) -> None:
    kubectl.apply_task(name, {"type": "sleep", "input": {"seconds": 1}, "callback": {"url": url}})

    status = kubectl.wait_finished(name)["status"]

    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    assert conditions["Accepted"] == ("False", "CallbackRefused")
    assert conditions["Succeeded"] == ("False", "CallbackRefused")
    assert "attempts" not in status


def test_an_unknown_type_is_refused_by_both(
    rest: httpx.Client, kubectl: Kubectl, receiver: Receiver, name: str
) -> None:
    answer = rest.post("/api/v1/tasks", json={"type": "no-such-type"})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/type"]

    kubectl.apply_task(name, {"type": "no-such-type", "callback": {"url": receiver.url()}})

    status = kubectl.wait_finished(name)["status"]
    assert status["phase"] == "Failed"
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Accepted"] == "TypeNotFound"
    (delivery,) = receiver.wait_for(name)
    assert delivery.verify(callback_key(rest))["data"]["reason"] == "TypeNotFound"


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        pytest.param({"type": "sleep", "input": {}}, "/input/seconds", id="a-missing-input"),
        pytest.param(
            {"type": "sleep", "input": {"seconds": "two"}}, "/input/seconds", id="a-wrong-type"
        ),
        pytest.param(
            {"type": "sleep", "input": {"seconds": 1}, "colour": 1}, "/colour", id="extra"
        ),
        pytest.param({"input": {}}, "", id="neither-type-nor-container"),
        pytest.param(
            {"type": "sleep", "input": {"seconds": 1}, "priority": 101}, "/priority", id="range"
        ),
        pytest.param(
            {"type": "sleep", "input": {"seconds": 1}, "queue": "nowhere"}, "/queue", id="queue"
        ),
        pytest.param({"container": {}}, "/container/image", id="no-image"),
        pytest.param(
            {"type": "sleep", "input": {"seconds": 1}, "resources": {"limits": {"memory": "9Ti"}}},
            "/resources/limits/memory",
            id="more-than-the-cap",
        ),
    ],
)
def test_rest_names_the_field_that_is_wrong(
    rest: httpx.Client, order: dict[str, Any], pointer: str
) -> None:
    answer = rest.post("/api/v1/tasks", json=order)

    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_a_poisonous_task_stops_no_other(rest: httpx.Client, kubectl: Kubectl, name: str) -> None:
    levels = 3000
    kubectl.apply(
        f"""{{"apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
        "metadata": {{"name": "{name}"}},
        "spec": {{"type": "sleep", "input": {"[" * levels + "]" * levels}}}}}"""
    )
    other = submit(rest, type="fibonacci", input={"n": 3})["id"]

    assert finished(rest, other)["phase"] == "Succeeded"
    kubectl("wait", "--for=condition=Finished", f"lt/{name}", "--timeout=60s")
    assert kubectl("get", "lt", name, "-o", "jsonpath={.status.phase}") == "Failed"
    assert rest.get(f"/api/v1/tasks/{name}").json()["reason"] == "InvalidInput"
    # A list that holds it can still be read by whoever comes next.
    kubectl("delete", "lt", name)


@pytest.mark.parametrize(
    ("spec", "reason", "told"),
    [
        pytest.param(
            '{"inputSchema": {"type": "numbre"}}', "InvalidSchema", "/type: ", id="no-schema"
        ),
        pytest.param(
            '{"inputSchema": ' + '{"not":' * 3000 + "{}" + "}" * 3001,
            "InvalidSchema",
            "inputSchema cannot be used: ",
            id="a-schema-without-an-end",
        ),
        pytest.param(
            '{"placement": {"tolerations": [{"operator": "Exists", "value": "x"}]}}',
            "JobRefused",
            "spec.template.spec.tolerations[0]",
            id="a-placement-that-no-pod-may-have",
        ),
    ],
)
def test_a_poisonous_type_says_so_itself_and_stops_no_other(
    rest: httpx.Client, kubectl: Kubectl, name: str, spec: str, reason: str, told: str
) -> None:
    def apply(spec: str) -> None:
        kubectl.apply(
            f"""{{"apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskType",
            "metadata": {{"name": "{name}"}}, "spec": {spec}}}"""
        )

    apply(spec)
    try:
        kubectl("wait", "--for=condition=Ready=False", f"ltt/{name}", "--timeout=60s")
        # As JSON it is too deep to be read here.
        words = "jsonpath={.status.conditions[*].reason}: {.status.conditions[*].message}"
        said = kubectl("get", "ltt", name, "-o", words)
        assert said.startswith(f"{reason}: ")
        assert told in said
        assert "False" in kubectl("get", "ltt", name).split()
        listed = rest.get("/api/v1/types").json()["items"]
        assert {name, "fibonacci"} <= {one["name"] for one in listed}
        other = submit(rest, type="fibonacci", input={"n": 3})["id"]
        assert finished(rest, other)["phase"] == "Succeeded"
        apply("{}")
        kubectl("wait", "--for=condition=Ready", f"ltt/{name}", "--timeout=60s")
    finally:
        kubectl("delete", "ltt", name)


def test_nobody_gets_in_without_the_token(rest: httpx.Client) -> None:
    for token in ("", "Bearer wrong", "Basic Zm9vOmJhcg=="):
        answer = rest.get("/api/v1/tasks", headers={"Authorization": token})
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers

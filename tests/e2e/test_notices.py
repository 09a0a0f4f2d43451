"""Mails of the installed product, which logs them: what `kubectl` and REST ask for is told."""

from typing import Any

import httpx

from e2e_support import Kubectl, eventually


def notices(rest: httpx.Client, task: str) -> list[dict[str, Any]]:
    answer = rest.get("/api/v1/notices", params={"task": task})
    answer.raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_task_of_kubectls_is_told_to_whom_it_names(
    rest: httpx.Client, kubectl: Kubectl, name: str
) -> None:
    notify = [
        {"email": "ada@example.com"},
        {"email": "team@example.com", "events": ["queued", "failed"]},
    ]
    kubectl.apply_task(name, {"type": "fibonacci", "input": {"n": 10}, "notify": notify})
    told = eventually(
        lambda: notices(rest, name),
        lambda found: len(found) == 2 and all(one["state"] == "logged" for one in found),
        within=120,
    )
    assert {(one["event"], one["to"]) for one in told} == {
        ("succeeded", "ada@example.com"),
        ("queued", "team@example.com"),
    }

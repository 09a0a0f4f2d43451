"""Two users, through the ingress: each sees their own, and neither the other's."""

from collections.abc import Iterator

import httpx
import pytest

from e2e_support import (
    Kubectl,
    Product,
    Receiver,
    a_user,
    callback_key,
    client_of,
    eventually,
    finished,
    submit,
)


@pytest.fixture
def users(product: Product, rest: httpx.Client) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    one, other = a_user(product), a_user(product)
    names = [client.get("/api/v1/me").json()["username"] for client in (one, other)]
    yield one, other
    for client, name in zip((one, other), names, strict=True):
        for task in client.get("/api/v1/tasks").json()["items"]:
            client.delete(f"/api/v1/tasks/{task['id']}")
        client.close()
        assert rest.delete(f"/api/v1/users/{name}").status_code == 204


def test_each_sees_their_own(
    users: tuple[httpx.Client, httpx.Client],
    rest: httpx.Client,
    kubectl: Kubectl,
    receiver: Receiver,
) -> None:
    one, other = users
    order = {"type": "fibonacci", "input": {"n": 40}, "callback": {"url": receiver.url()}}
    task = submit(one, **order)["id"]
    view = finished(one, task)
    me = one.get("/api/v1/me").json()
    assert (view["phase"], view["owner"]) == ("Succeeded", me["subject"])
    labels = kubectl.get("lt", task)["metadata"]["labels"]
    assert labels["longtask.dev/owner"] == me["username"]

    # The callback is signed with the owner's key, which nobody else gets.
    (delivery,) = receiver.wait_for(task)
    assert delivery.verify(callback_key(one))["data"]["result"]["value"] == "102334155"
    assert len({callback_key(client) for client in (one, other, rest)}) == 3

    for method, path in (
        ("GET", ""),
        ("GET", "/state"),
        ("GET", "/result"),
        ("GET", "/logs"),
        ("GET", "/callbacks"),
        ("POST", ":cancel"),
        ("POST", ":retry"),
        ("POST", "/callbacks:redeliver"),
        ("DELETE", ""),
    ):
        answer = other.request(method, f"/api/v1/tasks/{task}{path}")
        assert answer.status_code == 404, (method, path)
    assert other.get("/api/v1/tasks").json()["items"] == []
    assert other.post("/api/v1/tasks", json=order | {"name": task}).status_code == 409
    assert [found["id"] for found in one.get("/api/v1/tasks").json()["items"]] == [task]
    assert rest.get(f"/api/v1/tasks/{task}").status_code == 200


def test_a_token_for_programs_is_refused_soon_after_its_end(
    users: tuple[httpx.Client, httpx.Client], product: Product
) -> None:
    one, _ = users
    order = {"name": "nightly", "scopes": ["read"]}
    made = one.post("/api/v1/tokens", json=order).json()
    with client_of(product, made["token"]) as program:
        assert program.get("/api/v1/tasks").status_code == 200
        refused = program.post("/api/v1/tasks", json={"type": "fibonacci", "input": {"n": 1}})
        assert refused.status_code == 403
        assert one.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
        # Whichever replica answers.
        eventually(
            lambda: program.get("/api/v1/tasks").status_code, lambda code: code == 401, within=30
        )

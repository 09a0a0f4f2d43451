"""The Roles of API and operator hold the rights that the code asks for, and no more.

Every call of their two doors to Kubernetes is made once, at an API server that refuses all and
remembers what it was asked; what kopf watches stands in its registry.
"""

import contextlib
import dataclasses
import http.server
import inspect
import itertools
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.aio import client

import chart_support
import longtask_api.cluster
import longtask_api.errors
import longtask_operator.cluster
import longtask_operator.errors
from longtask_api import ports
from longtask_crds import names, signing_keys
from longtask_crds.testing import NOW, a_task, with_status
from longtask_operator import handlers, testing

RELEASE, TASKS = chart_support.RELEASE, chart_support.TASKS
KEYS = signing_keys.KEYS_SECRET

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclasses.dataclass(frozen=True, order=True)
class Right:
    """What a rule of a Role grants, or a request needs."""

    namespace: str
    resource: str  #: plural[.group][/subresource]
    verb: str
    name: str = ""  #: the object's; a right without one is for all objects

    def covers(self, needed: "Right") -> bool:
        return self in (needed, dataclasses.replace(needed, name=""))


def right_of(method: str, target: str) -> Right:
    """Return what a request needs, as the API server reads it."""
    url = urlsplit(target)
    parts = url.path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else (f".{parts[1]}", parts[3:])
    namespace = ""
    if parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    if method == "GET" and not name:
        verb = "watch" if "watch" in parse_qs(url.query) else "list"
    else:
        verb = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
    resource = plural + group + (f"/{subresource}" if subresource else "")
    return Right(namespace, resource, verb, name)


@pytest.fixture
def asked() -> Iterator[tuple[client.ApiClient, set[Right]]]:
    """An API server that refuses all, as a client sees it, and the rights that it was asked for."""
    rights: set[Right] = set()

    class Refusing(http.server.BaseHTTPRequestHandler):
        def refuse(self) -> None:
            rights.add(right_of(self.command, self.path))
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PATCH = do_DELETE = refuse  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        yield client.ApiClient(client.Configuration(host=host)), rights
        server.shutdown()


def given(*positional: Any, **named: Any) -> Arguments:
    return positional, named


def calls(door: type) -> set[str]:
    """Return what can be asked at a door."""
    public = (name for name, _ in inspect.getmembers(door, callable) if not name.startswith("_"))
    return set(public) - {"connect", "close"}


async def knock(door: object, call: str, arguments: Arguments) -> None:
    """Make one call, of whatever kind it is, and be refused."""
    positional, named = arguments
    answer = getattr(door, call)(*positional, **named)
    if isinstance(answer, contextlib.AbstractAsyncContextManager):
        answer = answer.__aenter__()
    elif inspect.isasyncgen(answer):
        answer = anext(answer)
    refused = (longtask_api.errors.ClusterError, longtask_operator.errors.ClusterError)
    with pytest.raises(refused):
        await answer


def granted(component: str) -> set[Right]:
    """Return what the chart's Roles grant to a component's account."""
    objects = chart_support.render()
    roles = {
        (found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]): found
        for found in objects
        if found["kind"] in ("Role", "ClusterRole")
    }
    account = {"kind": "ServiceAccount", "name": f"longtask-{component}", "namespace": RELEASE}
    rights = set()
    for binding in objects:
        if account not in binding.get("subjects", []):
            continue
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        for rule in roles[reference["kind"], namespace, reference["name"]]["rules"]:
            for group, path, verb, name in itertools.product(
                rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
            ):
                plural, slash, subresource = path.partition("/")
                resource = plural + (f".{group}" if group else "") + slash + subresource
                rights.add(Right(namespace, resource, verb, name))
    return rights


def assert_the_same(granted: set[Right], needed: set[Right]) -> None:
    missing = {need for need in needed if not any(right.covers(need) for right in granted)}
    unused = {right for right in granted if not any(right.covers(need) for need in needed)}
    assert (sorted(missing), sorted(unused)) == ([], [])


async def test_the_apis_rights(asked: tuple[client.ApiClient, set[Right]]) -> None:
    kinds = [kind for kind in vars(ports).values() if isinstance(kind, ports.Kind)]
    questions = {
        # Of each kind a cache is kept, and what that has not yet is looked up.
        "list": [given(kind) for kind in kinds],
        "watch": [given(kind, "1") for kind in kinds],
        "get": [given(kind, "a") for kind in kinds],
        "create": [given(ports.TASKS, {})],
        "patch": [
            given(ports.TASKS, "a", {}),
            given(ports.TASKS, "a", {}, subresource="status"),
        ],
        "delete": [given(ports.TASKS, "a")],
        "get_pod": [given("a")],
        "find_pods": [given({})],
        "pod_log": [given("a", container="runner", follow=True)],
        "review_token": [given("token", "audience")],
        "get_secret": [given(KEYS)],
        "patch_secret": [given(KEYS, {}, resource_version="1")],
    }
    assert set(questions) == calls(longtask_api.cluster.KubernetesCluster)
    api, rights = asked
    door = longtask_api.cluster.KubernetesCluster(api, namespace=TASKS, secrets_namespace=RELEASE)
    async with api:
        for call, several in questions.items():
            for arguments in several:
                await knock(door, call, arguments)
    assert_the_same(granted("api"), rights)


async def test_the_operators_rights(asked: tuple[client.ApiClient, set[Right]]) -> None:
    task = a_task()
    secret = {"metadata": {"name": KEYS, "namespace": RELEASE, "resourceVersion": "1"}}
    ours = (names.LONGTASKS, names.LONGTASKQUEUES, names.LONGTASKTYPES)
    questions = {
        "get_task": [given("a")],
        "get_type": [given("a")],
        "write_status": [given(task, with_status(task, queue="default").status)],
        "create_job": [given({"metadata": {"namespace": TASKS}}, now=NOW)],
        "get_job": [given("a", now=NOW)],
        "why_no_pod": [given(testing.a_job())],
        "pods_of": [given(task)],
        "delete_job": [given(testing.a_job())],
        "release_job": [given(testing.a_job())],
        "stop_pod": [given(testing.a_pod())],
        # Signing keys of `callback.secretRef`; the owners' keys.
        "get_secret": [given("a"), given(KEYS, namespace=RELEASE)],
        "add_to_secret": [given(longtask_operator.cluster.Secret(secret), "owner", "key")],
        "warn": [given(task, "Stalled", "message")],
        "list_ours": [given(plural) for plural in ours],
        "list_labelled": [given("jobs"), given("pods")],
    }
    assert set(questions) == calls(longtask_operator.cluster.KubernetesCluster)
    api, rights = asked
    door = longtask_operator.cluster.KubernetesCluster(api, TASKS)
    async with api:
        for call, several in questions.items():
            for arguments in several:
                await knock(door, call, arguments)
    # kopf lists and watches what a handler names, and has no public word for it.
    for selector in handlers.registry._watching.get_all_selectors():
        resource = f"{selector.any_name}.{selector.group}".rstrip(".")
        rights |= {Right(TASKS, resource, verb) for verb in ("list", "watch")}
    assert_the_same(granted("operator"), rights)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        pytest.param(
            "GET /api/v1/namespaces/n/pods?limit=5", Right("n", "pods", "list"), id="a-list"
        ),
        pytest.param(
            "GET /apis/longtask.dev/v1alpha1/namespaces/n/longtasks?watch=true",
            Right("n", "longtasks.longtask.dev", "watch"),
            id="a-watch",
        ),
        pytest.param(
            "PATCH /apis/longtask.dev/v1alpha1/namespaces/n/longtasks/a/status",
            Right("n", "longtasks.longtask.dev/status", "patch", "a"),
            id="a-subresource",
        ),
        pytest.param(
            "POST /apis/authentication.k8s.io/v1/tokenreviews",
            Right("", "tokenreviews.authentication.k8s.io", "create"),
            id="outside-namespaces",
        ),
    ],
)
def test_a_request_needs_a_right(request_line: str, expected: Right) -> None:
    assert right_of(*request_line.split()) == expected

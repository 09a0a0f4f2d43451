"""The Roles of API and operator hold the rights that the code asks for, and no more.

Every call of their doors to Kubernetes is made once, over a transport that refuses all and
remembers what it was asked; what kopf watches stands in its registry.
"""

import contextlib
import dataclasses
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import chart_support
import longtask_api.cluster
import longtask_operator.cluster
from longtask_adapters.kube import errors, informer, kinds, leases, secrets
from longtask_adapters.kube.cache import Cache
from longtask_adapters.kube.connection import Connection
from longtask_adapters.kube.transport import Request, Response
from longtask_api.cluster import Access, TokenIdentity
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.names import ObjectKey
from longtask_crds.queueing import Counts
from longtask_crds.testing import NOW, a_queue, a_schedule, a_task, a_type, with_meta, with_status
from longtask_operator import handlers, testing

RELEASE, TASKS = chart_support.RELEASE, chart_support.TASKS
KEYS = ObjectKey(RELEASE, signing_keys.KEYS_SECRET)
A = ObjectKey(TASKS, "a")
RESULT = v1alpha1.Result()
REPORT = v1alpha1.Report(attempt=1, pod_name="a", pod_uid="p", exit_code=0, reported_at=NOW)
SOMEBODY = TokenIdentity("somebody", (), {})

#: Something to ask.
Question = Callable[[], Awaitable[object]]


@dataclasses.dataclass(frozen=True, order=True)
class Right:
    """What a rule of a Role grants, or a request needs."""

    namespace: str
    resource: str  #: plural[.group][/subresource]
    verb: str
    name: str = ""  #: the object's; a right without one is for all objects

    def covers(self, needed: "Right") -> bool:
        return self in (needed, dataclasses.replace(needed, name=""))


def right_of(request: Request) -> Right:
    """Return what a request needs, as the API server reads it."""
    parts = request.path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else (f".{parts[1]}", parts[3:])
    namespace = ""
    if parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    if request.method == "GET" and not name:
        verb = "watch" if "watch" in request.query else "list"
    else:
        verbs = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
        verb = verbs[request.method]
    resource = plural + group + (f"/{subresource}" if subresource else "")
    return Right(namespace, resource, verb, name)


class Refusing:
    """An API server that refuses all, and remembers the rights that it was asked for."""

    def __init__(self) -> None:
        self.rights: set[Right] = set()

    @contextlib.asynccontextmanager
    async def open(self, request: Request) -> AsyncIterator[Response]:
        self.rights.add(right_of(request))
        raise errors.Unavailable("no")
        yield  # what makes this a generator

    async def ask(self, *questions: Question) -> None:
        for question in questions:
            with pytest.raises(errors.ClusterError):
                await question()


def calls(door: type) -> set[str]:
    """Return what can be asked at a door."""
    return {name for name, _ in inspect.getmembers(door, callable) if not name.startswith("_")}


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


async def test_the_apis_rights() -> None:
    server = Refusing()
    connection = Connection(server, user_agent="test")
    door = longtask_api.cluster.Cluster(connection)
    cached = (kinds.TASKS, kinds.TYPES, kinds.QUEUES, kinds.SCHEDULES)

    async def log() -> None:
        async with door.pod_log(A, container="runner"):
            pass

    def keep(_: str) -> None:
        return None

    questions: dict[str, list[Question]] = {
        "get": [lambda kind=kind: door.get(kind, A) for kind in cached],
        "create": [
            lambda: door.create(kinds.TASKS, TASKS, {}),
            lambda: door.create(kinds.SCHEDULES, TASKS, {}),
        ],
        "patch": [
            lambda: door.patch(kinds.TASKS, A, {}, uid="u"),
            lambda: door.patch(kinds.QUEUES, A, {}, uid="u"),
            lambda: door.patch(kinds.SCHEDULES, A, {}, uid="u"),
        ],
        "write_progress": [lambda: door.write_progress(A, {}, uid="u", attempt=1)],
        "write_progress_of_steps": [
            lambda: door.write_progress_of_steps(with_meta(a_task(), namespace=TASKS), {})
        ],
        "write_result": [lambda: door.write_result(with_meta(a_task(), namespace=TASKS), RESULT)],
        "write_outcome": [lambda: door.write_outcome(with_meta(a_task(), namespace=TASKS), REPORT)],
        "delete": [
            lambda: door.delete(kinds.TASKS, A, uid="u"),
            lambda: door.delete(kinds.SCHEDULES, A, uid="u"),
        ],
        "version": [lambda: door.version(kinds.TASKS, TASKS)],
        "get_pod": [lambda: door.get_pod(A)],
        "find_pods": [lambda: door.find_pods(TASKS, {})],
        "pod_log": [log],
        "is_released": [lambda: door.is_released(A, owner="u")],
        "has_ended": [lambda: door.has_ended(A, container="runner")],
        "review_token": [lambda: door.review_token("token", "audience")],
        "may": [lambda: door.may(SOMEBODY, Access("get", "longtasks", TASKS))],
        "ensure_in_secret": [lambda: door.ensure_in_secret(KEYS, "default", keep)],
        "drop_from_secret": [lambda: door.drop_from_secret(KEYS, ["default"])],
    }
    assert set(questions) == calls(longtask_api.cluster.Cluster)
    for several in questions.values():
        await server.ask(*several)
    # Of each kind a cache is kept.
    for kind in cached:
        await server.ask(*lists_and_watches(connection, kind.collection(TASKS)))
    # What a Secret's `ensure` writes, once it could be read.
    await server.ask(lambda: secrets.write(connection, a_secret(KEYS), {"a": "b"}))
    assert_the_same(granted("api"), server.rights)


def lists_and_watches(connection: Connection, path: str) -> list[Question]:
    return [lambda: anext(connection.pages(path)), lambda: anext(connection.watch(path, 1))]


def a_secret(key: ObjectKey) -> secrets.Secret:
    meta = {"name": key.name, "namespace": key.namespace, "resourceVersion": "1"}
    return secrets.Secret({"metadata": meta})


async def test_the_operators_rights() -> None:
    server, task, schedule = Refusing(), a_task(), a_schedule()
    connection = Connection(server, user_agent="test")
    door = longtask_operator.cluster.Cluster(connection)
    job, pod = testing.a_job(), testing.a_pod()
    changed = with_status(task, queue="default").status
    questions: dict[str, list[Question]] = {
        "get_task": [lambda: door.get_task(A)],
        "is_there": [lambda: door.is_there(A)],
        "get_type": [lambda: door.get_type(A)],
        "write_status": [lambda: door.write_status(task, changed)],
        "write_counts": [lambda: door.write_counts(a_queue(), Counts(running=1, waiting=2))],
        "write_conditions": [
            lambda: door.write_conditions(kinds.TYPES, a_type("a").metadata, []),
            lambda: door.write_conditions(kinds.QUEUES, a_queue().metadata, []),
        ],
        "create_job": [lambda: door.create_job({"metadata": {"namespace": TASKS}}, now=NOW)],
        "try_job": [lambda: door.try_job({"metadata": {"namespace": TASKS}})],
        "get_job": [lambda: door.get_job(A, now=NOW)],
        "why_no_pod": [lambda: door.why_no_pod(job)],
        "why_no_start": [lambda: door.why_no_start(pod)],
        "pods_of": [lambda: door.pods_of(A)],
        "delete_job": [lambda: door.delete_job(job)],
        "release_job": [lambda: door.release_job(job)],
        "stop_pod": [lambda: door.stop_pod(pod)],
        "adopt_job": [lambda: door.adopt_job(job, {}, now=NOW)],
        "change_pod": [lambda: door.change_pod(pod, [])],
        "limit_pod": [lambda: door.limit_pod(pod, 60)],
        "adopt_pod": [lambda: door.adopt_pod(pod, {})],
        "warn": [lambda: door.warn(task, "Stalled", "message", now=NOW)],
        "get_schedule": [lambda: door.get_schedule(A)],
        "write_schedule": [lambda: door.write_schedule(schedule, schedule.status)],
        "annotate_schedule": [lambda: door.annotate_schedule(schedule, "a", None)],
        "create_task": [lambda: door.create_task({"metadata": {"namespace": TASKS}})],
        "change_task": [lambda: door.change_task(A, "u", cancel=True)],
    }
    assert set(questions) == calls(longtask_operator.cluster.Cluster)
    for several in questions.values():
        await server.ask(*several)
    # Signing keys of `callback.secretRef`; the owners' keys, and the first one of an owner.
    await server.ask(
        lambda: secrets.read(connection, A),
        lambda: secrets.read(connection, KEYS),
        lambda: secrets.write(connection, a_secret(KEYS), {"a": "b"}),
    )
    lease = leases.Lease(ObjectKey(TASKS, names.ADMISSION_LEASE), "1", "", 15, 0)
    await server.ask(
        lambda: leases.read(connection, lease.key),
        *(
            lambda seen=seen: leases.take(
                connection, lease.key, seen, holder="a", seconds=15, now=NOW
            )
            for seen in (None, lease)
        ),
    )
    for kind in (kinds.TASKS, kinds.TYPES, kinds.QUEUES, kinds.SCHEDULES):
        await server.ask(lambda kind=kind: informer.relist(connection, kind, TASKS, Cache()))
    for place in (kinds.PODS, kinds.JOBS):
        await server.ask(lambda place=place: anext(connection.pages(place.collection(TASKS))))
    for place in (kinds.TASKS, kinds.SCHEDULES, kinds.PODS):
        await server.ask(lambda place=place: anext(connection.watch(place.collection(TASKS), 1)))
    await server.ask(*lists_and_watches(connection, kinds.NODES))
    # kopf lists and watches what a handler names, and has no public word for it.
    rights = server.rights
    for selector in handlers.registry._watching.get_all_selectors():
        resource = f"{selector.any_name}.{selector.group}".rstrip(".")
        rights |= {Right(TASKS, resource, verb) for verb in ("list", "watch")}
    assert_the_same(granted("operator"), rights)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            Request("GET", "/api/v1/namespaces/n/pods", {"limit": "5"}),
            Right("n", "pods", "list"),
            id="a-list",
        ),
        pytest.param(
            Request("GET", "/apis/longtask.dev/v1alpha1/namespaces/n/longtasks", {"watch": "true"}),
            Right("n", "longtasks.longtask.dev", "watch"),
            id="a-watch",
        ),
        pytest.param(
            Request("PATCH", "/apis/longtask.dev/v1alpha1/namespaces/n/longtasks/a/status"),
            Right("n", "longtasks.longtask.dev/status", "patch", "a"),
            id="a-subresource",
        ),
        pytest.param(
            Request("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
            Right("", "tokenreviews.authentication.k8s.io", "create"),
            id="outside-namespaces",
        ),
    ],
)
def test_a_request_needs_a_right(asked: Request, expected: Right) -> None:
    assert right_of(asked) == expected

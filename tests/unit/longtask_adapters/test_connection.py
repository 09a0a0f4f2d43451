"""The connection against the twin: what answers mean, lists in pages, watches, writes at once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from longtask_adapters import testing
from longtask_adapters.kube import connection, deep_json, errors, kinds, transport
from longtask_crds import names

TASKS = kinds.TASKS.collection("longtasks")
TASK = kinds.TASKS.path(names.ObjectKey("longtasks", "a"))
RBAC = 'longtasks.longtask.dev "a" is forbidden: User "system:serviceaccount:x:y" cannot patch '
QUOTA = 'jobs.batch "a" is forbidden: exceeded quota: small, requested: count/jobs.batch=1'
#: Whoever writes a task chooses words that a policy may repeat.
FORGED = 'longtasks.longtask.dev "a" is forbidden: policy: User "eve" cannot be named so'


@pytest.mark.parametrize(
    ("refusal", "error", "detail"),
    [
        pytest.param((404, "NotFound", "x"), errors.NotFound, {}, id="not-there"),
        pytest.param((409, "AlreadyExists", "x"), errors.AlreadyExists, {}, id="the-name-is-taken"),
        pytest.param((409, "Conflict", "x"), errors.Conflict, {}, id="somebody-wrote-first"),
        pytest.param(
            (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "small"'),
            errors.Conflict,
            {},
            id="a-quota-that-somebody-just-wrote-is-no-name-that-is-taken",
        ),
        pytest.param((400, "BadRequest", "x"), errors.Rejected, {"causes": ()}, id="bad"),
        pytest.param((413, "TooLarge", "x"), errors.Rejected, {"causes": ()}, id="too-large"),
        pytest.param((422, "Invalid", "x"), errors.Rejected, {"causes": ()}, id="invalid"),
        pytest.param((403, "Forbidden", QUOTA), errors.Forbidden, {}, id="a-quota"),
        pytest.param((403, "Forbidden", FORGED), errors.Forbidden, {}, id="words-of-somebodys"),
        pytest.param((403, "Forbidden", RBAC), errors.NoRight, {}, id="a-right-of-ours-is-missing"),
        pytest.param(
            (403, "Forbidden", 'jobs.batch is forbidden: User "a" cannot create resource'),
            errors.NoRight,
            {},
            id="the-right-to-make-something",
        ),
        pytest.param((410, "Expired", "x"), errors.Expired, {}, id="too-old"),
        pytest.param(
            (429, "TooManyRequests", "x", "7"),
            errors.TooManyRequests,
            {"retry_after": 7.0},
            id="busy",
        ),
        pytest.param(
            (429, "TooManyRequests", "x", "soon"),
            errors.TooManyRequests,
            {"retry_after": None},
            id="busy-without-a-number",
        ),
        pytest.param((500, "InternalError", "x"), errors.Unavailable, {}, id="internal-error"),
        pytest.param((504, "Timeout", "x"), errors.Unavailable, {}, id="timeout"),
    ],
)
async def test_what_a_refused_write_means(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    refusal: tuple[int, str, str],
    error: type[errors.ClusterError],
    detail: dict[str, Any],
) -> None:
    code, reason, message, *after = refusal
    headers = {"Retry-After": after[0]} if after else {}
    kubernetes.go_away(testing.Refusal(code, reason, message, headers=headers))
    with pytest.raises(errors.ClusterError) as caught:
        await connected.patch(TASK, {"spec": {"cancel": True}})
    assert type(caught.value) is error
    assert str(caught.value) == message
    assert {name: getattr(caught.value, name) for name in detail} == detail


async def test_admission_refuses_no_reads(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.go_away(testing.Refusal(403, "Forbidden", "in words of another authorizer"))
    with pytest.raises(errors.NoRight):
        await connected.get(TASK)


async def test_the_fields_that_are_refused_are_named(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.go_away(testing.Refusal(422, "Invalid", "too large", field="spec.priority"))
    with pytest.raises(errors.Rejected) as caught:
        await connected.post(TASKS, {"metadata": {"name": "a"}})
    assert caught.value.causes == (errors.Cause("spec.priority", "too large"),)


async def test_what_is_only_tried_is_judged_and_not_stored(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    await connected.post(TASKS, {"metadata": {"name": "b"}})
    writes = kubernetes.writes
    await connected.post(TASKS, {"metadata": {"name": "a"}}, dry_run=True)
    with pytest.raises(errors.AlreadyExists):
        await connected.post(TASKS, {"metadata": {"name": "b"}}, dry_run=True)
    assert dict(kubernetes.requests[-1].query)["dryRun"] == "All"
    assert [key.name for key in kubernetes.objects("longtasks")] == ["b"]
    assert kubernetes.writes == writes
    assert kubernetes.calls[-1] == "try longtasks"


async def test_no_answer_is_unavailable(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.go_away()
    with pytest.raises(errors.Unavailable):
        await connected.get(TASK)
    kubernetes.come_back()
    with pytest.raises(errors.NotFound):
        await connected.get(TASK)


# --- which object is meant ---


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda c, uid: c.patch(TASK, {"spec": {"cancel": True}}, uid=uid), id="patch"),
        pytest.param(lambda c, uid: c.delete(TASK, uid=uid), id="delete"),
    ],
)
async def test_only_the_object_that_is_meant_is_written(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection, write: Any
) -> None:
    uid = kubernetes.put("longtasks", "a")["metadata"]["uid"]
    with pytest.raises(errors.Conflict):
        await write(connected, "another")
    assert kubernetes.writes == 0
    await write(connected, uid)
    assert kubernetes.writes == 1


async def test_a_merge_patch_with_a_uid_keeps_its_other_guards(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    meta = kubernetes.put("longtasks", "a")["metadata"]
    kubernetes.put("longtasks", "a", spec={"priority": 1})
    stale = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": {"cancel": True}}
    with pytest.raises(errors.Conflict):
        await connected.patch(TASK, stale, uid=meta["uid"])


async def test_another_flaw_of_a_patch_is_no_conflict(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.go_away(testing.Refusal(422, "Invalid", "spec.priority: too large"))
    with pytest.raises(errors.Rejected):
        await connected.patch(TASK, {"spec": {"priority": 101}}, uid="u")


# --- lists ---


async def listed(connected: connection.Connection, **arguments: Any) -> list[connection.Page]:
    return [page async for page in connected.pages(TASKS, **arguments)]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        pytest.param(0, [0], id="an-empty-list-is-a-page-with-a-version"),
        pytest.param(2, [2], id="a-full-page"),
        pytest.param(5, [2, 2, 1], id="several-pages"),
    ],
)
async def test_pages(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    count: int,
    sizes: list[int],
) -> None:
    for number in range(count):
        kubernetes.put("longtasks", f"t{number}")
    pages = await listed(connected, limit=2)
    assert [len(page.items) for page in pages] == sizes
    assert [page.is_first for page in pages] == [True] + [False] * (len(sizes) - 1)
    assert {page.version for page in pages} == {kubernetes.version}
    found = [raw["metadata"]["name"] for page in pages for raw in page.items]
    assert found == [f"t{number}" for number in range(count)]


async def test_a_list_is_as_it_was_when_it_was_begun(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    for name in ("a", "b"):
        kubernetes.put("longtasks", name, spec={"priority": 1})
    seen = []
    async for page in connected.pages(TASKS, limit=1):
        seen += page.items
        kubernetes.put("longtasks", "b", spec={"priority": 2})
        kubernetes.put("longtasks", "c")
    assert [(raw["metadata"]["name"], raw["spec"]["priority"]) for raw in seen] == [
        ("a", 1),
        ("b", 1),
    ]


async def test_a_list_that_is_forgotten_meanwhile_is_begun_anew(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    for name in ("a", "b", "c"):
        kubernetes.put("longtasks", name)
    firsts = []
    async for page in connected.pages(TASKS, limit=2):
        firsts.append(page.is_first)
        if len(firsts) == 1:
            kubernetes.compact()
    assert firsts == [True, True, False]


async def test_a_list_that_is_forgotten_each_time_is_given_up(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    for name in ("a", "b", "c"):
        kubernetes.put("longtasks", name)

    async def list_while_all_is_forgotten() -> None:
        async for page in connected.pages(TASKS, limit=2):
            firsts.append(page.is_first)
            kubernetes.compact()

    firsts: list[bool] = []
    with pytest.raises(errors.Expired):
        await list_while_all_is_forgotten()
    assert firsts == [True, True, True]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"labelSelector": "team"}, ["a", "b"], id="a-label-that-is-there"),
        pytest.param({"labelSelector": "!team"}, ["c"], id="a-label-that-is-not"),
        pytest.param({"labelSelector": "team=x"}, ["a"], id="its-value"),
        pytest.param({"labelSelector": "team,team!=x"}, ["b"], id="another-value"),
        pytest.param({"fieldSelector": "spec.queue=q"}, ["b"], id="a-field"),
        pytest.param({"fieldSelector": "metadata.name!=a"}, ["b", "c"], id="not-a-field"),
        pytest.param(
            {"labelSelector": "team", "fieldSelector": "spec.queue=q"}, ["b"], id="both-kinds"
        ),
    ],
)
async def test_selectors(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    query: dict[str, str],
    found: list[str],
) -> None:
    kubernetes.put("longtasks", "a", metadata={"labels": {"team": "x"}})
    kubernetes.put("longtasks", "b", metadata={"labels": {"team": "y"}}, spec={"queue": "q"})
    kubernetes.put("longtasks", "c")
    kubernetes.put(
        "longtasks", names.ObjectKey("elsewhere", "d"), metadata={"labels": {"team": "x"}}
    )
    (page,) = await listed(connected, query=query)
    assert [raw["metadata"]["name"] for raw in page.items] == found


# --- watches ---


@contextlib.asynccontextmanager
async def watching(
    connected: connection.Connection, version: int, query: dict[str, str] | None = None
) -> AsyncIterator[Callable[[], Any]]:
    """Watch tasks; what is given returns the next event as its type and a name."""

    async with contextlib.aclosing(connected.watch(TASKS, version, query)) as events:

        async def following() -> tuple[str, str]:
            async with asyncio.timeout(60):
                event = await anext(events)
            return event.type.value, event.object.get("metadata", {}).get("name", "")

        assert await following() == ("CONNECTED", "")
        yield following


async def test_a_watch_tells_what_happened_since(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("longtasks", "before")
    version = kubernetes.version
    kubernetes.put("longtasks", "a")
    async with watching(connected, version) as following:
        assert await following() == ("ADDED", "a")
        kubernetes.put("longtasks", "a", spec={"priority": 1})
        kubernetes.put("longtaskqueues", "q")
        kubernetes.remove("longtasks", "a")
        kubernetes.bookmark()
        assert await following() == ("MODIFIED", "a")
        assert await following() == ("DELETED", "a")
        assert await following() == ("BOOKMARK", "")
        kubernetes.end_watches()
        with pytest.raises(StopAsyncIteration):
            await following()


async def test_what_a_watch_no_longer_selects_is_deleted_to_it(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    async with watching(connected, kubernetes.version, {"labelSelector": "team=x"}) as following:
        kubernetes.put("longtasks", "a", metadata={"labels": {"team": "x"}})
        kubernetes.put("longtasks", "a", metadata={"labels": {"team": "y"}})
        assert await following() == ("ADDED", "a")
        assert await following() == ("DELETED", "a")


async def test_a_place_that_is_too_old_is_expired(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    version = kubernetes.version
    kubernetes.put("longtasks", "a")
    kubernetes.compact()
    async with watching(connected, version) as following:
        with pytest.raises(errors.Expired):
            await following()


async def test_a_watch_breaks_off_with_its_server(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    async with watching(connected, kubernetes.version) as following:
        kubernetes.go_away()
        with pytest.raises(errors.Unavailable):
            await following()


class Told:
    """A server that says one thing."""

    def __init__(self, status: int, *lines: Any) -> None:
        self.status = status
        self.size = 0
        self.headers: dict[str, str] = {}
        self._lines = [
            line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
        ]

    @contextlib.asynccontextmanager
    async def open(self, request: transport.Request) -> AsyncIterator[transport.Response]:
        yield self

    async def read(self) -> bytes:
        return b"".join(self._lines)

    async def json(self) -> Any:
        return deep_json.loads(await self.read())

    async def lines(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield line

    async def chunks(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield line


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"type": "ADD', id="a-cut-line"),
        pytest.param({"type": "RENAMED", "object": {}}, id="an-event-that-we-do-not-know"),
        pytest.param({"type": "ADDED"}, id="nothing-about-what"),
        pytest.param([1], id="no-event-at-all"),
    ],
)
async def test_what_no_watch_would_say_is_unavailable(line: Any) -> None:
    connected = connection.Connection(Told(200, line), user_agent="t")
    with pytest.raises(errors.Unavailable):
        [event async for event in connected.watch(TASKS, 1)]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"items": []}, id="no-version"),
        pytest.param({"metadata": {"resourceVersion": "new"}, "items": []}, id="no-number"),
        pytest.param({"metadata": {"resourceVersion": "1"}}, id="no-items"),
    ],
)
async def test_what_no_list_would_say_is_unavailable(answer: Any) -> None:
    connected = connection.Connection(Told(200, answer), user_agent="t")
    with pytest.raises(errors.Unavailable):
        [page async for page in connected.pages(TASKS)]


async def test_one_deep_object_breaks_no_list() -> None:
    text = '{"metadata": {"resourceVersion": "1"}, "items": [{"a": %s}, {"b": 2}]}'
    deep = ("[" * 9_990 + "]" * 9_990).encode()
    connected = connection.Connection(Told(200, text.encode() % deep), user_agent="t")
    (page,) = [page async for page in connected.pages(TASKS)]
    assert page.items[1] == {"b": 2}


# --- how much at once ---


class Slow(testing.MemoryKubernetes):
    """Answers when it is told to."""

    def hold(self) -> None:
        self.at_once, self.most, self.going = 0, 0, asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self, request: transport.Request) -> AsyncIterator[transport.Response]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.going.wait()
        async with super().open(request) as response:
            yield response
        self.at_once -= 1


@pytest.mark.parametrize(
    ("ask", "most"),
    [
        pytest.param(lambda c, n: c.post(TASKS, {"metadata": {"name": f"t{n}"}}), 2, id="writes"),
        pytest.param(lambda c, n: c.get(TASKS), 5, id="reads-are-free"),
    ],
)
async def test_how_much_is_under_way(ask: Any, most: int) -> None:
    slow = Slow()
    slow.hold()
    connected = connection.Connection(slow, user_agent="t", writes_at_once=2)
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(ask(connected, number))
        group.create_task(asyncio.sleep(0)).add_done_callback(lambda _: slow.going.set())
    assert slow.most == most


async def test_a_write_that_fails_gives_its_place_back(
    kubernetes: testing.MemoryKubernetes,
) -> None:
    connected = connection.Connection(kubernetes, user_agent="t", writes_at_once=1)
    for _ in range(2):
        with pytest.raises(errors.NotFound):
            await connected.delete(TASK)


async def test_a_log_is_streamed(
    kubernetes: testing.MemoryKubernetes, connected: connection.Connection
) -> None:
    kubernetes.put("pods", "p")
    path = kinds.PODS.path(names.ObjectKey("longtasks", "p"), "log")
    with pytest.raises(errors.Rejected, match="waiting to start"):
        async with connected.stream(path, {"container": "runner"}):
            pass
    kubernetes.logs["p"] = [b"one\n", b"two\n"]
    async with connected.stream(path, {"container": "runner"}) as chunks:
        assert [chunk async for chunk in chunks] == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("times", "stored"),
    [pytest.param(2, True, id="and-the-next-is-lucky"), pytest.param(9, False, id="but-not-ever")],
)
async def test_who_is_forestalled_at_a_quota_tries_again(
    kubernetes: testing.MemoryKubernetes,
    connected: connection.Connection,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    stored: bool,
) -> None:
    monkeypatch.setattr(connection, "_QUOTA_PAUSES", (0.0,) * 5)
    left = [testing.Refusal(409, "Conflict", 'resourcequotas "q": modified') for _ in range(times)]

    def refuse(_: str, moment: str) -> None:
        if moment == "before" and left:
            raise left.pop()

    kubernetes.interrupt = refuse
    body = {"metadata": {"name": "a"}, "spec": {"type": "x"}}
    if stored:
        assert (await connected.post(TASKS, body))["metadata"]["name"] == "a"
    else:
        with pytest.raises(errors.Unavailable, match="quota"):
            await connected.post(TASKS, body)
    assert len(left) == max(0, times - 5 if not stored else 0)

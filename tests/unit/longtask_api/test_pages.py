"""Every page, as those see it who may see it: what stands there, and what never does."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api_support import TOKEN, a_token, bearing, eventually, put_ended_task, put_task
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import app, settings, wiring
from longtask_api.stores.users import Users
from longtask_crds import names, signing_keys, v1alpha1
from longtask_crds.testing import NOW
from page_support import HOSTILE, Shape, check

STAMP = "2026-01-02T03:04:00Z"
OWNED = {names.OWNER_LABEL: "ada"}


@pytest.fixture
def kubernetes(kubernetes: MemoryKubernetes) -> MemoryKubernetes:
    kubernetes.add_secret(signing_keys.KEYS_SECRET, {}, namespace="longtask")
    return kubernetes


async def put(
    kubernetes: MemoryKubernetes, client: httpx.AsyncClient, *put_each: Callable[[], None]
) -> None:
    """Let there be tasks, and wait until they are seen."""
    for one in put_each:
        one()
    wanted = len(kubernetes.objects(names.LONGTASKS))

    async def are_seen() -> bool:
        return len((await client.get("/api/v1/tasks?limit=500")).json()["items"]) == wanted

    await eventually(are_seen)


@pytest.fixture
async def as_(services: wiring.Services) -> AsyncIterator[Callable[..., Any]]:
    """Return what makes a client of somebody who is logged in."""
    clients = []

    async def made(username: str, role: str = "user") -> httpx.AsyncClient:
        token = await a_token(Users(services.database), username, role=role)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app.for_users(services)),
            base_url="http://api.test",
            headers={"Cookie": f"__Host-longtask={token}"},
        )
        clients.append(client)
        return client

    yield made
    for client in clients:
        await client.aclose()


def a_busy_task(name: str = "a", **more: Any) -> dict[str, Any]:
    """Return what a task is that has everything that may be shown."""
    attempt = {"number": 1, "jobName": f"{name}-job", "startedAt": STAMP, "podName": "a-pod"}
    return {
        "metadata": {"labels": OWNED, "creationTimestamp": STAMP},
        "spec": {"type": "fibonacci", "input": {"n": 1}},
        "status": {
            "phase": "Running",
            "queue": "default",
            "attempt": 1,
            "attempts": [attempt],
            "startedAt": STAMP,
            "progress": {"percent": 40, "message": "frame 4 of 10", "updatedAt": STAMP},
        },
    } | more


PATHS = (
    "/",
    "/?search=a",
    "/tasks/a",
    "/tasks/b",
    "/tasks/b?live=true",
    "/tasks/nobody",
    "/new",
    "/new?type=fibonacci",
    "/new?of=b",
    "/new?type=none",
    "/queues",
    "/queues/default",
    "/queues/none",
    "/types",
    "/types/fibonacci",
    "/health",
    "/account",
    "/admin",
    "/login",
    "/register",
    "/?since=never",
    "/?label=%3D%3D",
    "/?phase=Nonsense",
    "/?cursor=nonsense",
)
#: Whom a page is refused, and how.
REFUSED = {
    ("viewer", "/new"): 403,
    ("viewer", "/new?type=fibonacci"): 403,
    ("viewer", "/new?of=b"): 403,
    ("viewer", "/new?type=none"): 403,
    ("viewer", "/admin"): 403,
    ("user", "/admin"): 403,
}
WRONG = {
    "/tasks/nobody": 404,
    "/new?type=none": 404,
    "/queues/none": 404,
    "/?since=never": 422,
    "/?label=%3D%3D": 422,
    "/?phase=Nonsense": 422,
    "/?cursor=nonsense": 400,
}


@pytest.mark.parametrize("role", ["viewer", "user", "admin"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_page_keeps_to_the_policy(
    client: httpx.AsyncClient,
    kubernetes: MemoryKubernetes,
    as_: Callable[..., Any],
    role: str,
    path: str,
) -> None:
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", **a_busy_task()),
        lambda: put_ended_task(kubernetes, "b", labels=OWNED, result={"value": {"x": [1]}}),
    )
    answer = await (await as_("ada", role)).get(path)
    assert answer.status_code == REFUSED.get((role, path), WRONG.get(path, 200))
    shape = check(answer)
    assert len(shape.all("main")) == len(shape.all("h1")) == 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_what_others_wrote_is_text_and_nothing_else(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, as_: Callable[..., Any], text: str
) -> None:
    brief = text[:1000]
    kubernetes.put(
        names.LONGTASKTYPES,
        "hostile",
        spec={
            "description": brief,
            "inputSchema": {
                "type": "object",
                "description": brief,
                "properties": {
                    brief: {"type": "string", "title": brief, "description": brief},
                    "choice": {"enum": [brief], "default": brief},
                    "group": {"type": "object", "properties": {brief: {"type": "boolean"}}},
                },
            },
        },
    )
    running = a_busy_task(spec={"type": "hostile", "input": {brief: [brief, {brief: brief}]}})
    running["status"]["progress"]["message"] = brief
    running["status"]["attempts"][0] |= {
        "node": brief[:200],
        "message": brief,
        "reason": brief[:60],
    }
    running["metadata"]["annotations"] = {names.OWNER_NAME_ANNOTATION: brief}
    told = {
        "id": "msg_a",
        "event": "succeeded",
        "state": "Exhausted",
        "deliveries": [{"at": STAMP, "event": "succeeded", "error": brief[:200]}],
    }
    spec = {
        "type": "hostile",
        "input": brief,
        "callback": {"url": f"https://a.test/{quote(brief[:50])}"},
    }
    step = {"name": "one", "phase": "Failed", "message": brief[:200], "reason": brief[:60]}
    pipeline = a_busy_task(spec={"steps": [{"name": "one", "type": "hostile"}], "output": brief})
    pipeline["status"] |= {"steps": [step], "step": brief[:80]}
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", **running),
        lambda: put_task(kubernetes, "c", **pipeline),
        lambda: put_ended_task(
            kubernetes,
            "b",
            labels=OWNED,
            message=brief,
            phase="Failed",
            spec=spec,
            result={"value": {brief: brief}},
            callback=told,
        ),
    )
    admin = await as_("root", "admin")
    shown = []
    for path in (
        "/",
        "/tasks/a",
        "/tasks/b",
        "/tasks/c",
        "/types",
        "/types/hostile",
        "/new?type=hostile",
        "/new?of=b",
    ):
        answer = await admin.get(path)
        assert answer.status_code == 200, (path, Shape(answer.text).text)
        shown.append(check(answer).text)
        assert brief not in answer.text or not set(brief) & set("<>\"'&")
        assert "49" not in shown[-1] or "{{" not in brief
    wanted = " ".join(brief[:200].split()).casefold()
    assert all(wanted in page.casefold() for page in shown[:6])


async def test_a_search_is_shown_as_it_was_typed(client: httpx.AsyncClient) -> None:
    for text in HOSTILE.values():
        answer = await client.get("/", params={"search": text[:200]})
        shape = check(answer)
        assert text[:200] in [one.get("value") for one in shape.all("input")]


# --- the list


async def test_the_list_says_in_words_what_goes_on(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "runs", **a_busy_task("runs")),
        *(lambda n=n: put_task(kubernetes, f"waits-{n}") for n in range(3)),
        lambda: put_ended_task(kubernetes, "failed", phase="Failed", message="no such page"),
    )
    text = check(await client.get("/")).text
    assert "1 runs, 3 wait. Most wait in default ." in text
    assert "40 % frame 4 of 10" in text
    assert "1st in line" in text
    assert "no such page" in text


async def test_counts_are_of_what_one_sees(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, as_: Callable[..., Any]
) -> None:
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", **a_busy_task()),
        lambda: put_task(kubernetes, "theirs", metadata={"labels": {names.OWNER_LABEL: "eve"}}),
    )
    assert "Nothing runs, 1 waits." in check(await (await as_("eve")).get("/")).text
    assert "1 runs." in check(await (await as_("ada")).get("/")).text
    assert "1 runs, 1 waits." in check(await (await as_("root", "admin")).get("/")).text


async def test_filters_stand_in_the_address(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", **a_busy_task()),
        lambda: put_ended_task(kubernetes, "b", phase="Failed"),
    )
    shape = check(await client.get("/?phase=Failed&type=fibonacci"))
    assert [one.get("id") for one in shape.all("tr") if "id" in one] == ["t-b"]
    chosen = [one for one in shape.all("a") if one.get("aria-current") == "true"]
    # To choose it again is to choose it no longer.
    assert [one["href"] for one in chosen] == ["/?type=fibonacci"]
    (everything,) = [
        one for one in shape.all("button") if "api/v1/tasks:cancel" in (one.get("data-call") or "")
    ]
    assert (
        everything["data-body"] == '{\n  "type": "fibonacci",\n  "phases": [\n    "Failed"\n  ]\n}'
    )


async def test_the_first_task_is_one_command_away(client: httpx.AsyncClient) -> None:
    assert "longtask submit fibonacci KEY=VALUE --wait" in check(await client.get("/")).text
    assert "No task fits." in check(await client.get("/?queue=none")).text


async def test_pages_follow_each_other(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await put(
        kubernetes, client, *(lambda n=n: put_task(kubernetes, f"t{n:02}") for n in range(60))
    )
    first = check(await client.get("/?queue=default"))
    (following,) = [one["href"] for one in first.all("a") if one.get("rel") == "next"]
    assert following is not None
    second = check(await client.get(following))
    shown = [
        [row["data-task"] for row in one.all("tr") if "data-task" in row] for one in (first, second)
    ]
    assert (len(shown[0]), len(shown[1])) == (50, 10)
    assert not set(shown[0]) & set(shown[1])


# --- a task, and what may be done with it


def calls(shape: Shape) -> list[str]:
    """Return what the page offers to have done."""
    return sorted({one["data-call"] or "" for _, one in shape.tags if "data-call" in one})


async def test_nothing_is_offered_that_would_be_refused(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, as_: Callable[..., Any]
) -> None:
    pipeline = [{"name": "one", "type": "fibonacci"}, {"name": "two", "type": "fibonacci"}]
    done = [{"name": "one", "phase": "Succeeded"}, {"name": "two", "phase": "Failed"}]
    # What is marked `finally` runs again whatever it brought.
    cleaned = [pipeline[0], pipeline[1] | {"finally": True}]
    undone = [{"name": "one", "phase": "Failed"}, {"name": "two", "phase": "Succeeded"}]
    told = {"id": "msg_a", "event": "succeeded", "state": "Delivered"}
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "runs", **a_busy_task("runs")),
        lambda: put_task(kubernetes, "waits", metadata={"labels": OWNED}),
        lambda: put_task(
            kubernetes, "ends", **a_busy_task("ends", spec={"type": "fibonacci", "cancel": True})
        ),
        lambda: put_ended_task(kubernetes, "over", labels=OWNED, callback=told),
        lambda: put_ended_task(
            kubernetes, "part", labels=OWNED, phase="Failed", spec={"steps": pipeline}, steps=done
        ),
        lambda: put_ended_task(
            kubernetes, "none", labels=OWNED, phase="Failed", spec={"steps": cleaned}, steps=undone
        ),
    )
    own = "api/v1/tasks/"
    expected = {
        "runs": [f"DELETE {own}runs", f"POST {own}runs:cancel"],
        "waits": [f"DELETE {own}waits", f"PATCH {own}waits", f"POST {own}waits:cancel"],
        "ends": [f"DELETE {own}ends"],
        "over": [
            f"DELETE {own}over",
            f"POST {own}over/callbacks:redeliver",
            f"POST {own}over:retry",
        ],
        "part": [
            f"DELETE {own}part",
            f"POST {own}part:retry",
            f"POST {own}part:retry?fromFailed=true",
        ],
        "none": [f"DELETE {own}none", f"POST {own}none:retry"],
    }
    user = await as_("ada")
    for name, offered in expected.items():
        assert calls(check(await user.get(f"/tasks/{name}"))) == offered


async def test_a_viewer_is_offered_nothing(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, as_: Callable[..., Any]
) -> None:
    labels = {names.OWNER_LABEL: "vera"}
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", metadata={"labels": labels}),
        lambda: put_ended_task(kubernetes, "b", labels=labels),
    )
    viewer = await as_("vera", "viewer")
    for path in ("/", "/tasks/a", "/tasks/b", "/queues", "/queues/default", "/types", "/health"):
        shape = check(await viewer.get(path))
        assert calls(shape) == []
        assert not [one for one in shape.all("input") if "data-mark" in one]
        assert not [one for one in shape.all("a") if "/new" in (one.get("href") or "")]


async def test_who_manages_queues_pauses_them(
    client: httpx.AsyncClient, as_: Callable[..., Any]
) -> None:
    for path in ("/queues", "/queues/default"):
        assert calls(check(await (await as_("ada")).get(path))) == []
        paused = calls(check(await client.get(path)))
        assert paused == ["POST api/v1/queues/default:pause"]


async def test_an_archived_task_is_shown_as_any_other(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes, services: wiring.Services
) -> None:
    put_ended_task(kubernetes, "b", labels=OWNED, result={"value": 55})
    stored = kubernetes.stored(names.LONGTASKS, "b")
    await services.resources.archive.put(
        v1alpha1.LongTask.model_validate(stored), queue="default", at=NOW
    )
    kubernetes.remove(names.LONGTASKS, "b")
    shape = check(await client.get("/tasks/b"))
    assert "55" in shape.text


async def test_only_the_whole_page_asks_kubernetes(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await put(kubernetes, client, lambda: put_task(kubernetes, "a", **a_busy_task()))
    kubernetes.requests.clear()
    await client.get("/tasks/a?live=true")
    assert kubernetes.calls == []
    await client.get("/tasks/a")
    assert kubernetes.calls == ["get longtasks a"]


async def test_files_are_no_pages(client: httpx.AsyncClient, kubernetes: MemoryKubernetes) -> None:
    hostile = a_busy_task(spec={"type": "fibonacci", "input": HOSTILE["script"]})
    await put(kubernetes, client, lambda: put_task(kubernetes, "a", **hostile))
    for name in ("input.json", "task.yaml"):
        answer = await client.get(f"/tasks/a/{name}")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert HOSTILE["script"] in answer.text


# --- a new task


async def test_a_text_becomes_an_order(client: httpx.AsyncClient) -> None:
    whole = (
        "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {name: a}\nspec: {type: t}"
    )
    for text, order in (
        ("type: t\ninput: {n: 1}", {"type": "t", "input": {"n": 1}}),
        ('{"type": "t"}', {"type": "t"}),
        (whole, {"type": "t", "name": "a"}),
    ):
        assert (await client.post("/new/order", json={"text": text})).json() == order


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2",
        "- a\n- b",
        "a: 1\n---\nb: 2",
        "a: &x [1]\nb: *x",
        "a: !!python/object/apply:os.system [ls]",
        "kind: Pod\napiVersion: v1",
        "a: .nan",
        "x" * 100_000,
    ],
)
async def test_what_is_no_order_is_refused_as_the_api_refuses(
    client: httpx.AsyncClient, text: str
) -> None:
    answer = await client.post("/new/order", json={"text": text})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["detail"]


async def test_the_same_call_is_shown_for_each_door(client: httpx.AsyncClient) -> None:
    answer = await client.post("/new/calls", json={"type": "fibonacci", "input": {"n": 3}})
    text = Shape(answer.text).text
    assert "http://api.test/api/v1/tasks" in text
    assert "longtask submit fibonacci n=3" in text
    assert "kubectl create -n longtasks" in text
    assert "client.submit(order)" in text
    assert (await client.post("/new/calls", json=[1])).status_code == 422


async def test_another_try_begins_with_what_was_ordered(
    client: httpx.AsyncClient, kubernetes: MemoryKubernetes
) -> None:
    await put(
        kubernetes,
        client,
        lambda: put_task(kubernetes, "a", **a_busy_task()),
        lambda: put_ended_task(
            kubernetes, "b", phase="Failed", spec={"type": "fibonacci", "input": {"n": 7}}
        ),
    )
    shape = check(await client.get("/new?of=b"))
    assert "7" in [one.get("value") for one in shape.all("input")]
    assert [one["data-order"] for one in shape.all("form") if "data-order" in one] == [
        "POST api/v1/tasks/b:retry"
    ]
    assert (await client.get("/new?of=a")).status_code == 409


# --- under a prefix, behind a proxy


@pytest.mark.parametrize("prefix", ["", "/longtask"])
@pytest.mark.parametrize("is_stripped", [True, False])
async def test_all_links_stay_under_the_prefix(
    kubernetes: MemoryKubernetes, configured: settings.Settings, prefix: str, is_stripped: bool
) -> None:
    put_task(kubernetes, "a", **a_busy_task())
    published = configured.model_copy(update={"public_url": f"https://out.test{prefix}"})
    async with wiring.running(kubernetes, published, clock=lambda: NOW) as services:
        await services.health.synced()
        transport = httpx.ASGITransport(app.for_users(services, path_prefix=prefix))
        base = "http://api.test" + ("" if is_stripped else prefix)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            for path in ("/", "/tasks/a", "/new", "/queues/default", "/account", "/login"):
                shape = check(await client.get(path, headers=bearing(TOKEN)))
                links = [
                    value
                    for _, attrs in shape.tags
                    for name in ("href", "src", "action")
                    if (value := attrs.get(name)) and not value.startswith("#")
                ]
                assert all(link.startswith(f"{prefix}/") for link in links)
                for link in [one for one in links if "assets" in one]:
                    asked = link if is_stripped is False else link.removeprefix(prefix)
                    answer = await client.get(f"http://api.test{asked}")
                    assert answer.status_code == 200
                    assert "immutable" in answer.headers["Cache-Control"]
            led = await client.get("/tasks/a")
            assert (
                led.headers["Location"]
                == f"{prefix}/login?next={prefix.replace('/', '%2F')}%2Ftasks%2Fa"
            )


async def test_a_stream_for_nobody_is_refused_and_not_led_to_the_login(
    client: httpx.AsyncClient,
) -> None:
    nobody = {"Authorization": ""}
    led = await client.get("/live", headers=nobody)
    assert (led.status_code, led.headers["Location"]) == (303, "/login?next=%2Flive")
    refused = await client.get("/live", headers=nobody | {"Accept": "text/event-stream"})
    assert refused.status_code == 401


async def test_a_file_that_is_none_is_not_there(client: httpx.AsyncClient) -> None:
    for name in ("nothing.js", "..%2Fshell.py", "tokens.css%00"):
        assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_what_nobody_foresaw_is_a_page_that_tells_nothing(
    client: httpx.AsyncClient, services: wiring.Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(services.types, "all", broken)
    answer = await client.get("/types")
    assert answer.status_code == 500
    assert "a secret" not in answer.text
    check(answer)

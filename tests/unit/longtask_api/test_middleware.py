"""What stands before every endpoint, spoken to in ASGI's own words."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response

from longtask_api import errors
from longtask_api.http import document, middleware, openapi


async def answer_to(*pieces: bytes, headers: dict[bytes, bytes]) -> tuple[int, int]:
    """Return the status of the answer, and how many pieces were not read."""
    left = list(pieces)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def endpoint(*_: Any) -> None:
        raise AssertionError("it was let in")

    scope = {"type": "http", "path": "/x", "headers": list(headers.items())}
    await middleware.BodyLimit(endpoint, limits={"/x": 10})(scope, receive, send)
    return sent[0]["status"], len(left)


@pytest.mark.parametrize(
    ("announced", "headers", "unread"),
    [
        pytest.param(11, {}, 0, id="a-client-may-finish-and-hears-why"),
        pytest.param(11, {b"expect": b"100-continue"}, 3, id="who-asks-first-sends-nothing"),
    ],
)
async def test_what_is_too_large_is_refused_so_that_it_is_heard(
    announced: int, headers: dict[bytes, bytes], unread: int
) -> None:
    given = {b"content-length": b"%d" % announced} | headers
    assert await answer_to(b"12345", b"12345", b"1", headers=given) == (413, unread)


async def test_it_is_not_listened_to_for_ever() -> None:
    most = middleware.BODY_LIMIT * 16
    pieces = [b"1" * (most // 2)] * 5
    status, unread = await answer_to(*pieces, headers={b"content-length": b"%d" % (3 * most)})
    assert (status, unread) == (413, 2)


RETIRED = openapi.retired(
    since=datetime(2027, 1, 1, tzinfo=UTC), until=datetime(2028, 2, 29, 12, tzinfo=UTC)
)
WARNED = {"deprecation": "@1798761600", "sunset": "Tue, 29 Feb 2028 12:00:00 GMT"}


def an_app_with_something_old() -> FastAPI:
    app = document.Described()
    middleware.harden(app)

    @app.get("/old", **RETIRED)
    async def old(wanted: int = 0) -> Response:
        if wanted == 404:
            raise errors.Missing("It is not there.")
        if wanted == 500:
            raise RuntimeError("nobody foresaw it")
        return Response(str(wanted), media_type="application/json")

    @app.get("/new")
    async def new() -> Response:
        return Response("{}")

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        pytest.param("GET", "/old", 200, WARNED, id="what-is-deprecated-says-so"),
        pytest.param("HEAD", "/old", 200, WARNED, id="in-the-head-alone"),
        pytest.param("GET", "/old?wanted=x", 422, WARNED, id="where-it-refuses"),
        pytest.param("GET", "/old?wanted=404", 404, WARNED, id="where-it-finds-nothing"),
        pytest.param("GET", "/old?wanted=500", 500, WARNED, id="where-it-fails"),
        pytest.param("GET", "/new", 200, {}, id="what-stays-says-nothing"),
        pytest.param("GET", "/nowhere", 404, {}, id="nor-does-what-is-not-there"),
    ],
)
async def test_who_uses_what_goes_is_warned(
    method: str, path: str, status: int, told: dict[str, str]
) -> None:
    transport = httpx.ASGITransport(an_app_with_something_old())
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in WARNED if name in answer.headers} == told


def test_the_description_says_what_goes() -> None:
    paths = an_app_with_something_old().openapi()["paths"]
    old, new = (paths[path]["get"] for path in ("/old", "/new"))
    assert (old["deprecated"], old["x-sunset"]) == (True, "2028-02-29T12:00:00+00:00")
    assert all({"Deprecation", "Sunset"} <= answer["headers"].keys() for answer in _answers(old))
    assert "deprecated" not in new
    assert not any("Sunset" in answer.get("headers", {}) for answer in _answers(new))


def _answers(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return list(operation["responses"].values())

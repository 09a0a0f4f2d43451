"""What stands before every endpoint, spoken to in ASGI's own words."""

from typing import Any

import pytest

from longtask_api.http import middleware


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

"""The operator's door to what the API keeps, against a real HTTP server."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from longtask_adapters.kube import errors
from longtask_crds import v1alpha1
from longtask_operator.results import ApiResults

CONTENT = b'{"n": 1}'
REF = v1alpha1.ResultRef(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


class Api:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.content = 200, CONTENT
        self.asked: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, request.headers["Authorization"]))
        return web.Response(status=self.status, body=self.content)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def results(api: Api, tmp_path: Path) -> AsyncIterator[ApiResults]:
    app = web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    token = tmp_path / "token"
    token.write_text("first\n")
    try:
        host, port = runner.addresses[0][:2]
        async with contextlib.aclosing(ApiResults(f"http://{host}:{port}/", token)) as made:
            yield made
    finally:
        await runner.cleanup()


async def test_a_result_is_asked_for_with_the_token_of_that_moment(
    api: Api, results: ApiResults, tmp_path: Path
) -> None:
    assert await results.fetch("a-uid", REF) == CONTENT
    (tmp_path / "token").write_text("second\n")
    await results.fetch("a-uid", REF)
    path = f"/runner/v1/tasks/a-uid/result?sha256={REF.sha256}"
    assert api.asked == [(path, "Bearer first"), (path, "Bearer second")]


async def test_what_is_not_kept_any_more_is_nothing(api: Api, results: ApiResults) -> None:
    api.status = 404
    assert await results.fetch("a-uid", REF) is None


@pytest.mark.parametrize("status", [401, 500, 503, 302])
async def test_an_api_that_cannot_answer_is_away(
    api: Api, results: ApiResults, status: int
) -> None:
    api.status = status
    with pytest.raises(errors.Unavailable, match=str(status)):
        await results.fetch("a-uid", REF)


async def test_other_bytes_are_never_taken_for_the_result(api: Api, results: ApiResults) -> None:
    api.content = CONTENT + b" "
    with pytest.raises(errors.Unavailable):
        await results.fetch("a-uid", REF)


@pytest.mark.parametrize("token", [None, "t"], ids=["no-token", "no-api"])
async def test_an_api_that_is_not_there_is_left_alone_for_a_while(
    tmp_path: Path, token: str | None
) -> None:
    file, now = tmp_path / "token", [0.0]
    if token is not None:
        file.write_text(token)
    made = ApiResults("http://127.0.0.1:9", file, clock=lambda: now[0])
    async with contextlib.aclosing(made) as results:
        for now[0], cause in (
            (0.0, "does not hand over"),
            (9.9, "just now"),
            (10.0, "does not hand over"),
        ):
            with pytest.raises(errors.Unavailable, match=cause):
                await results.fetch("a-uid", REF)

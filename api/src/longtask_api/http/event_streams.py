"""The answer that is a stream of events: begun at once, held up by nobody, and closed with care."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE: Final = "text/event-stream"
#: What is entered for a stream, and gives it; None where there is nothing to come.
Opening = contextlib.AbstractAsyncContextManager[AsyncIterator[bytes] | None]
#: Who does not read for so long is taken for gone.
_PATIENCE_SECONDS = 60.0


class EventStream(Response):
    """Sends what comes, as it comes, until it ends or the client goes.

    Args:
        chunks: What comes.
        opening: What they come of: it is left with the answer, even if nothing was sent of it.
    """

    media_type = MEDIA_TYPE
    charset = "utf-8"

    def __init__(self, chunks: AsyncIterator[bytes], opening: Opening) -> None:
        # nginx keeps back what it is not told to pass on.
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        del self.headers["Content-Length"]
        self._chunks = chunks
        self._opening = opening

    @classmethod
    async def of(cls, opening: Opening) -> Response:
        """Return the answer that is what one opens; or that nothing will ever come."""
        chunks = await opening.__aenter__()
        if chunks is not None:
            return cls(chunks, opening)
        await opening.__aexit__(None, None, None)
        # A browser comes back after each end of a stream, until it is told that there is no more.
        return Response(status_code=204)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        async with contextlib.aclosing(self):
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                sending.cancel()
                await asyncio.gather(leaving, sending, return_exceptions=True)
            if not sending.cancelled() and (error := sending.exception()) is not None:
                raise error

    async def aclose(self) -> None:
        """Leave what it came of."""
        await self._opening.__aexit__(None, None, None)

    async def _send(self, send: Send) -> None:
        async for chunk in self._chunks:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            del chunk  # the next one may be long in coming
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass

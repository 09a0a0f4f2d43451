"""Results that are made of others: for the operator, which has no database to keep them in."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

from pydantic import ConfigDict, Field, StringConstraints

from longtask_api import errors
from longtask_api.services import bodies, results
from longtask_api.services.results import Content, ResultService
from longtask_api.stores.blobs import Blob, Blobs, Kind
from longtask_crds import v1alpha1
from longtask_crds.v1alpha1 import MediaType

_POINTER: Final = "/parts"


class Part(v1alpha1.Model):
    """A result to make it of: the value itself, or where it is kept."""

    model_config = ConfigDict(extra="forbid")

    value: v1alpha1.Json = None
    media_type: MediaType | None = None
    """`text/plain` if the value is text that was no JSON."""

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    task_uid: str | None = None
    """The task that brought it, where that is another one."""


class Order(v1alpha1.Model):
    """What to make."""

    model_config = ConfigDict(extra="forbid")

    run: Annotated[str, StringConstraints(max_length=80)] = ""
    attempt: Annotated[int, Field(ge=1)]
    is_list: bool = False
    """The parts are the items of a list; else there is one."""

    parts: Annotated[list[Part], Field(max_length=100)]


class Composer:
    """Makes results of others, and keeps them."""

    def __init__(self, served: ResultService, blobs: Blobs) -> None:
        self._results = served
        self._blobs = blobs

    async def make(self, task_uid: str, document: object) -> v1alpha1.ResultRef:
        """Keep what the document says; none of it is in memory that is kept already.

        Args:
            task_uid: The task to keep it for.
            document: An `Order` as JSON.

        Raises:
            Invalid: It is none, or a part cannot stand in a list.
            Missing: A part is not kept.
            TooLarge: It is larger than what is kept.
            DatabaseAway: It cannot be kept for now.
        """
        order = bodies.read(Order, document)
        if not order.is_list and len(order.parts) != 1:
            raise errors.Invalid(errors=[errors.finding(_POINTER, "it is made of one part")])
        parts = [await self._content(task_uid, part) for part in order.parts]
        media_type = MediaType.JSON if order.is_list else parts[0].media_type
        pieces = self._list(parts) if order.is_list else self._results.whole(parts[0])
        blob = await self._store(task_uid, order, media_type, pieces)
        return results.ref_of(blob)

    async def _content(self, task_uid: str, part: Part) -> Content:
        if part.sha256 is not None:
            return await self._results.kept(part.task_uid or task_uid, part.sha256)
        return results.inline(v1alpha1.Result(value=part.value, media_type=part.media_type))

    async def _list(self, parts: Sequence[Content]) -> AsyncIterator[bytes]:
        yield b"["
        for number, content in enumerate(parts):
            if number:
                yield b","
            async for piece in results.as_json(content, self._results.whole(content)):
                yield piece
        yield b"]"

    async def _store(
        self, task_uid: str, order: Order, media_type: MediaType, pieces: AsyncIterator[bytes]
    ) -> Blob:
        upload = await self._blobs.begin(task_uid, Kind.RESULT, order.attempt, run=order.run)
        size = 0
        try:
            async for piece in pieces:
                size += len(piece)
                if size > self._results.limit:
                    raise errors.TooLarge(f"A result may have {self._results.limit} bytes.")
                await upload.add(piece)
            return await upload.finish(media_type)
        except BaseException:
            await results.clear_up(upload)
            raise

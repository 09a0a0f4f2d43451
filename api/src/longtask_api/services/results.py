"""What tasks brought: taken from their pods, kept in the database if large, and handed out."""

import asyncio
import codecs
import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from longtask_adapters import logs
from longtask_adapters.kube import errors as kube
from longtask_api import errors, json_parts
from longtask_api.json_stream import Watcher
from longtask_api.services.pods.reporters import Program, Reporters
from longtask_api.stores.blobs import Blob, Blobs, Kind, Upload
from longtask_api.stores.resources import Resources, program
from longtask_crds import json_values, runner_contract, v1alpha1
from longtask_crds.v1alpha1 import MediaType, StepPhase

_logger = logging.getLogger(__name__)

#: How long all of a result may take to arrive: less than until it counts as given up.
_UPLOAD_SECONDS: Final = 1800.0
#: How often a task is looked at that is written to by others meanwhile.
_LOOKS: Final = 5
#: So much is looked at in a thread, where the event loop would stand still for long.
_LOOKED_AT_HERE: Final = 16 * 1024
#: How many parts are looked for at once.
_EXTRACTIONS: Final = 2


@dataclasses.dataclass(frozen=True)
class Content:
    """A result that can be read: from memory, or from the database."""

    media_type: MediaType
    size: int
    sha256: str
    source: bytes | Blob


class ResultService:
    """Takes results that are too large for the resource, and hands out all of them."""

    def __init__(
        self, resources: Resources, reporters: Reporters, blobs: Blobs, *, limit: int
    ) -> None:
        """Serve the results of tasks; `limit` is how many bytes a taken one may have."""
        self._resources = resources
        self._reporters = reporters
        self._blobs = blobs
        self._extracting = asyncio.Semaphore(_EXTRACTIONS)
        self.limit: Final = limit

    async def take(
        self, token: str, pieces: AsyncIterator[bytes], *, is_text: bool
    ) -> v1alpha1.ResultRef:
        """Keep what the current pod of a task brings, and record it in the task's status.

        Args:
            token: The pod's.
            pieces: The bytes as they come.
            is_text: It is text, even if it could be JSON.

        Raises:
            Unauthenticated: The token is no report token of a pod of a task.
            Clash: The pod is not that of the task's running attempt, or no longer.
            SlowBody: It does not arrive in time.
            DatabaseAway: It cannot be kept for now.
        """
        sender = await self._reporters.program_of(token)
        blob = await self._store(sender, pieces, is_text=is_text)
        ref = ref_of(blob)
        await self._record(token, blob, ref)
        await self._blobs.keep_only(blob)
        told = {
            **logs.of_task(sender.task),
            "step": blob.run,
            "attempt": blob.attempt,
            "bytes": blob.size,
        }
        _logger.info("Kept result", extra=told)
        return ref

    async def of(self, task: v1alpha1.LongTask) -> Content:
        """Return the result of a task that was looked at.

        Raises:
            Clash: It is not finished.
            Missing: It is not kept any more.
            DatabaseAway: It cannot be read for now.
        """
        if not task.is_finished:
            raise errors.Clash("The task is not finished yet.")
        return await self._content(task, task.status.result)

    async def of_step(self, task: v1alpha1.LongTask, name: str) -> Content:
        """Return the result of a step of a task that was looked at.

        Raises:
            Clash: The step is not over.
            Missing: There is no such step, it did not succeed, or its result is not kept any more.
            DatabaseAway: It cannot be read for now.
        """
        if all(step.name != name for step in task.spec.steps or ()):
            raise errors.Missing(f"The task has no step {name}.")
        step = next((one for one in task.status.steps or () if one.name == name), None)
        is_over = step is not None and step.phase is not None and step.phase.is_terminal
        if step is not None and step.phase is StepPhase.SUCCEEDED:
            return await self._content(task, step.result)
        if is_over or task.is_finished:
            raise errors.Missing(f"The step {name} did not succeed: it has no result.")
        raise errors.Clash(f"The step {name} is not over yet.")

    async def before(self, token: str, name: str) -> Content:
        """Return the result of a step to a pod of the same task.

        Raises:
            Unauthenticated: The token is no report token of a pod of a task.
            Clash: The pod is not that of a running attempt, or the step is not over.
            Missing, DatabaseAway: As for `of_step`.
        """
        asker = await self._reporters.program_of(token)
        with contextlib.suppress(errors.Clash):
            return await self.of_step(asker.task, name)
        # The news that it is over may not have come here yet.
        return await self.of_step((await self._reporters.current_program_of(token)).task, name)

    async def kept(self, task_uid: str, sha256: str) -> Content:
        """Return the result of a task that has this sum.

        Raises:
            Missing: It is not kept.
            DatabaseAway: It cannot be read for now.
        """
        blob = await self._blobs.find(task_uid, Kind.RESULT, sha256=sha256)
        if blob is None:
            raise errors.Missing("The result is not kept any more.")
        return Content(MediaType(blob.media_type), blob.size, blob.sha256, blob)

    async def part(self, content: Content, pointer: str) -> bytes:
        """Return a part of a result, as JSON.

        Args:
            content: The result.
            pointer: Where the part is, as a JSON Pointer; empty for all of it.

        Raises:
            Invalid: There is no such part.
            TooLarge: It is larger than what a step may take.
            Missing: The result is not kept any more.
            DatabaseAway: It cannot be read for now.
        """
        if pointer and not pointer.startswith("/"):
            raise errors.Invalid("A JSON Pointer is empty, or begins with a slash.")
        path = [p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:]]
        if content.media_type is not MediaType.JSON and path:
            raise errors.Invalid("The result is no JSON: it has no parts.")
        extractor = json_parts.Extractor(path, limit=runner_contract.PART_LIMIT)
        # Each keeps the processor busy for seconds if the result is large.
        async with self._extracting:
            try:
                async for piece in as_json(content, self.whole(content)):
                    await _in_a_thread(extractor.see, piece)
                    if extractor.is_done:
                        break
                extractor.close()
            except json_parts.NoPart as error:
                raise errors.Invalid(f"The result has no such part: {error}.") from error
            except json_parts.TooLarge as error:
                limit = runner_contract.PART_LIMIT
                raise errors.TooLarge(f"The part has more than {limit} bytes.") from error
        return extractor.part

    async def read(self, content: Content, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `end`."""
        if isinstance(content.source, bytes):
            yield content.source[start:end]
            return
        async for piece in self._blobs.read(content.source, start, end):
            yield piece

    async def whole(self, content: Content) -> AsyncIterator[bytes]:
        """Yield all bytes of a result.

        Raises:
            Missing: It is not kept any more.
        """
        try:
            async for piece in self.read(content, 0, content.size):
                yield piece
        except LookupError as error:
            raise errors.Missing("The result is not kept any more.") from error

    async def _content(self, task: v1alpha1.LongTask, result: v1alpha1.Result | None) -> Content:
        """Return what a result of a task holds, which another one may have brought."""
        result = result or v1alpha1.Result()
        if result.ref is None:
            return inline(result)
        return await self.kept(result.ref.task_uid or task.metadata.uid, result.ref.sha256)

    async def _store(self, sender: Program, pieces: AsyncIterator[bytes], *, is_text: bool) -> Blob:
        upload = await self._blobs.begin(
            sender.task.metadata.uid, Kind.RESULT, sender.attempt, run=sender.run
        )
        try:
            return await _fill(upload, pieces, is_text=is_text)
        except BaseException:
            await clear_up(upload)
            raise

    async def _record(self, token: str, blob: Blob, ref: v1alpha1.ResultRef) -> None:
        """Write the reference into the status, if the pod is still that of the same attempt."""
        for _ in range(_LOOKS):
            found = await self._reporters.current_program_of(token)
            known = (found.task.metadata.uid, found.run, found.attempt)
            if known != (blob.task_uid, blob.run, blob.attempt):
                break
            result = v1alpha1.Result(ref=ref)
            if program(found.task, found.run).status.result == result:
                return
            try:
                await self._resources.write_result(found.task, result, run=found.run)
            except kube.Conflict:
                continue  # a report of progress was written, mostly
            except kube.NotFound:
                break
            return
        else:
            raise errors.Unavailable("The task is being changed too often.")
        raise errors.Clash("The pod is not that of the task's running attempt.")


async def _fill(upload: Upload, pieces: AsyncIterator[bytes], *, is_text: bool) -> Blob:
    watcher = Watcher()
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for piece in pieces:
                await _in_a_thread(watcher.see, piece)
                await upload.add(piece)
    except TimeoutError as error:
        raise errors.SlowBody from error
    if not is_text and watcher.is_json():
        return await upload.finish(MediaType.JSON)
    return await upload.finish(MediaType.TEXT if watcher.is_text() else MediaType.BYTES)


async def _in_a_thread(look: Callable[[bytes], None], piece: bytes) -> None:
    """Look at a piece; at a large one beside the event loop, which would stand still."""
    if len(piece) <= _LOOKED_AT_HERE:
        look(piece)
    else:
        await asyncio.to_thread(look, piece)


async def as_json(content: Content, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a result as one JSON value: text becomes a string.

    Raises:
        Invalid: It is bytes.
    """
    if content.media_type is MediaType.BYTES:
        raise errors.Invalid("The result is neither JSON nor text.")
    is_text = content.media_type is MediaType.TEXT
    decoder = codecs.getincrementaldecoder("utf-8")()
    if is_text:
        yield b'"'
    async for piece in pieces:
        if is_text:
            piece = json.dumps(decoder.decode(piece), ensure_ascii=False)[1:-1].encode()
        yield piece
    if is_text:
        yield b'"'


async def clear_up(upload: Upload) -> None:
    """Remove half a result, also when the request is over; what stays is removed later."""
    removal = asyncio.ensure_future(upload.give_up())
    try:
        await asyncio.shield(removal)
    except errors.DatabaseAway:
        _logger.info("Left half a result behind")


def ref_of(blob: Blob) -> v1alpha1.ResultRef:
    """Return what a status says of a result that is kept."""
    media_type = MediaType(blob.media_type)
    return v1alpha1.ResultRef(
        size=blob.size,
        sha256=blob.sha256,
        media_type=None if media_type is MediaType.JSON else media_type,
    )


def inline(result: v1alpha1.Result) -> Content:
    """Return a result that stands where it is told of."""
    is_text = result.media_type is MediaType.TEXT and isinstance(result.value, str)
    text = result.value if is_text else json_values.compact(result.value)
    data = str(text).encode()
    media_type = MediaType.TEXT if is_text else MediaType.JSON
    return Content(media_type, len(data), hashlib.sha256(data).hexdigest(), data)

"""What tasks brought: taken from their pods, kept in the database if large, and handed out."""

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from longtask_adapters.kube import errors as kube
from longtask_adapters.kube.cache import key_of
from longtask_api import errors
from longtask_api.json_stream import Watcher
from longtask_api.services.reporters import Reporters
from longtask_api.stores.blobs import Blob, Blobs, Kind, Upload
from longtask_api.stores.resources import Resources, last_attempt
from longtask_crds import json_values, v1alpha1
from longtask_crds.v1alpha1 import MediaType

_logger = logging.getLogger(__name__)

#: How long all of a result may take to arrive: less than until it counts as given up.
_UPLOAD_SECONDS: Final = 1800.0
#: How often a task is looked at that is written to by others meanwhile.
_LOOKS: Final = 5
#: So much is looked at in a thread, where the event loop would stand still for long.
_LOOKED_AT_HERE: Final = 16 * 1024


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
        task = await self._reporters.task_of(token)
        blob = await self._store(task, pieces, is_text=is_text)
        media_type = MediaType(blob.media_type)
        ref = v1alpha1.ResultRef(
            size=blob.size,
            sha256=blob.sha256,
            media_type=None if media_type is MediaType.JSON else media_type,
        )
        await self._record(token, blob, ref)
        await self._blobs.keep_only(blob)
        told = {"task": str(key_of(task)), "attempt": blob.attempt, "bytes": blob.size}
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
        result = task.status.result or v1alpha1.Result()
        if result.ref is None:
            return _inline(result)
        return await self.kept(task.metadata.uid, result.ref.sha256)

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

    async def read(self, content: Content, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `end`."""
        if isinstance(content.source, bytes):
            yield content.source[start:end]
            return
        async for piece in self._blobs.read(content.source, start, end):
            yield piece

    async def _store(
        self, task: v1alpha1.LongTask, pieces: AsyncIterator[bytes], *, is_text: bool
    ) -> Blob:
        last = last_attempt(task)
        assert last is not None, "only a pod of an attempt may report"
        upload = await self._blobs.begin(task.metadata.uid, Kind.RESULT, last.number)
        try:
            return await _fill(upload, pieces, is_text=is_text)
        except BaseException:
            await _clear_up(upload)
            raise

    async def _record(self, token: str, blob: Blob, ref: v1alpha1.ResultRef) -> None:
        """Write the reference into the status, if the pod is still that of the same attempt."""
        for _ in range(_LOOKS):
            task = await self._reporters.current_task_of(token)
            last = last_attempt(task)
            if last is None or (task.metadata.uid, last.number) != (blob.task_uid, blob.attempt):
                break
            result = v1alpha1.Result(ref=ref)
            if task.status.result == result:
                return
            try:
                await self._resources.write_result(task, result)
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
                if len(piece) <= _LOOKED_AT_HERE:
                    watcher.see(piece)
                else:
                    await asyncio.to_thread(watcher.see, piece)
                await upload.add(piece)
    except TimeoutError as error:
        raise errors.SlowBody from error
    if not is_text and watcher.is_json():
        return await upload.finish(MediaType.JSON)
    return await upload.finish(MediaType.TEXT if watcher.is_text() else MediaType.BYTES)


async def _clear_up(upload: Upload) -> None:
    """Remove half a result, also when the request is over; what stays is removed later."""
    removal = asyncio.ensure_future(upload.give_up())
    try:
        await asyncio.shield(removal)
    except errors.DatabaseAway:
        _logger.info("Left half a result behind")


def _inline(result: v1alpha1.Result) -> Content:
    is_text = result.media_type is MediaType.TEXT and isinstance(result.value, str)
    text = result.value if is_text else json_values.compact(result.value)
    data = str(text).encode()
    media_type = MediaType.TEXT if is_text else MediaType.JSON
    return Content(media_type, len(data), hashlib.sha256(data).hexdigest(), data)

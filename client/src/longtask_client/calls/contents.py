"""What tasks bring and write: results and logs."""

import codecs
import json
from datetime import datetime
from typing import Any

from longtask_client import errors, exchange
from longtask_client.calls import following, words
from longtask_crds import v1alpha1

#: Whatever a result is; compressed, its bytes would have other places.
_AS_IT_IS = {"Accept": f"*/*, {exchange.PROBLEM}", "Accept-Encoding": "identity"}
_PARTIAL_CONTENT = 206


def result(task_id: str, *, step: str | None = None) -> exchange.Call[Any]:
    """Return what a finished task brought; None if nothing, or if it failed.

    With `step` it is what that step of a pipeline brought, as soon as it has succeeded.

    It is the value of its JSON; of what is no JSON it is the text, or else the bytes. All of it
    is in memory: `result_content` is for what is larger.

    Raises:
        Conflict: The task is not finished, or the step has not succeeded.
        NotFound: There is no such task or step, or its result is not kept any more.
    """
    return exchange.Call(_result(task_id, step), _value)


def result_content(task_id: str, *, step: str | None = None) -> exchange.Stream[bytes]:
    """Yield the same as the API has it, byte by byte, in pieces.

    Where the connection breaks, another one goes on.

    Raises:
        Conflict: The task is not finished, or the step has not succeeded.
        NotFound: There is no such task or step, or its result is not kept any more.
    """
    had, etag = 0, ""
    while True:
        rest = {"Range": f"bytes={had}-", "If-Range": etag} if had else {}
        answer = yield from exchange.sent(_result(task_id, step, rest, is_stream=True))
        if had and answer.status != _PARTIAL_CONTENT:
            raise errors.UnexpectedAnswer("The result is another one by now: begin again.")
        etag = answer.headers.get("ETag", "")
        before = had
        try:
            while (piece := (yield exchange.Read())) is not None:
                had += len(piece)
                yield exchange.Give(piece)
            return
        except errors.ConnectionFailed:
            if had == before or not etag:
                raise


def logs(
    task_id: str,
    *,
    step: str | None = None,
    follow: bool = False,
    attempt: int | None = None,
    tail: int | None = None,
    since: datetime | None = None,
    timestamps: bool = False,
) -> exchange.Stream[str]:
    """Yield the log of an attempt in pieces as they come: when its pod is gone, the end of it.

    Args:
        task_id: The task's id.
        step: Of a pipeline: the step's name, or `STEP.INDEX` for one of its items.
        follow: Wait for the program to start, and go on until it ends.
        attempt: The attempt's number; the last when absent.
        tail: The last lines, so many.
        since: What was written at this time or later.
        timestamps: Begin each line with the time when it was written.

    Raises:
        NotStarted: There is no log yet; never with `follow`.
        NotFound: There is no such task, step or attempt, or its log is gone.
    """
    request = exchange.Request(
        "GET",
        words.task(task_id, "/logs"),
        parameters={
            "step": step,
            "follow": words.flag(follow),
            "attempt": attempt,
            "tail": tail,
            "since": words.stamp(since),
            "timestamps": words.flag(timestamps or None),
        },
        headers={"Accept": f"text/plain, {exchange.PROBLEM}"},
        timeout=None,  # a program may be silent for hours
        is_stream=True,
    )
    while True:
        try:
            yield from exchange.sent(request)
        except errors.NotStarted:
            if not follow:
                raise
            # One that is about to start is waited for there, and asked for again.
            yield exchange.Sleep(1.0)
            yield from following.begun(task_id, step=step)
        else:
            break
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while (piece := (yield exchange.Read())) is not None:
        if text := decoder.decode(piece):
            yield exchange.Give(text)
    if text := decoder.decode(b"", final=True):
        yield exchange.Give(text)


def _result(
    task_id: str,
    step: str | None,
    headers: dict[str, str] | None = None,
    *,
    is_stream: bool = False,
) -> exchange.Request:
    return exchange.Request(
        "GET",
        words.task(task_id, "/result"),
        parameters={"step": step},
        headers=_AS_IT_IS | (headers or {}),
        is_stream=is_stream,
    )


def _value(answer: exchange.Answer) -> Any:
    match answer.media_type:
        case v1alpha1.MediaType.TEXT:
            return answer.content.decode()
        case v1alpha1.MediaType.BYTES:
            return answer.content
    return json.loads(answer.content)

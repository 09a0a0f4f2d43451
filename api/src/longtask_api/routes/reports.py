"""Endpoints that running tasks report to, on a port of their own."""

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect

from longtask_api import errors
from longtask_api.dependencies import (
    ComposerDep,
    DeepJsonBodyDep,
    HandoversDep,
    JsonBodyDep,
    OutcomesDep,
    ProgressDep,
    ReportingProgramDep,
    ResultsDep,
    RunnerTokenDep,
    limit_place,
    require_operator,
)
from longtask_api.http import answers
from longtask_api.services.pods.outcomes import Said
from longtask_api.services.results import Content, ResultService
from longtask_crds import json_values, names, runner_contract, v1alpha1

router = APIRouter(dependencies=[Depends(limit_place)])

#: How long nothing may come of a body that is on its way.
_PIECE_SECONDS = 60.0


class Report(BaseModel):
    """What a program says of itself; each part is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: v1alpha1.Percent | None = None
    message: Annotated[str, StringConstraints(max_length=names.MESSAGE_MAX)] | None = None
    checkpoint: Any = None
    final: bool = False

    def said(self) -> dict[str, Any]:
        """Return what it says of the task; a checkpoint that is null forgets the one there was."""
        said = self.model_dump(include={"percent", "message"}, exclude_none=True)
        if "checkpoint" in self.model_fields_set:
            said["checkpoint"] = self.checkpoint
        return said


class Answer(BaseModel):
    """What the program is told."""

    cancel_requested: bool = Field(
        serialization_alias=str(runner_contract.ProgressField.CANCEL_REQUESTED)
    )


@router.post(runner_contract.PROGRESS_PATH)
async def take_progress(
    program: ReportingProgramDep, document: JsonBodyDep, progress: ProgressDep
) -> Answer:
    """Take a report, which is the heartbeat too; the final one is answered when it is stored."""
    report = parse_report(document)
    progress.report(program.task, report.said(), run=program.run)
    if report.final:
        await progress.settle(program.task, run=program.run)
    return Answer(cancel_requested=program.is_to_end)


@router.get(runner_contract.TASK_PATH, response_class=Response)
async def get_task(
    token: RunnerTokenDep,
    handed_over: HandoversDep,
    wait: Annotated[int, Query(ge=0, le=runner_contract.TASK_WAIT_LIMIT)] = 0,
) -> Response:
    """Hand a pod that was started ahead its task; 204 if none has come for it meanwhile."""
    work = await handed_over.next_task(token, within=wait)
    if work is None:
        return Response(status_code=204)
    return Response(json_values.compact(work), media_type=v1alpha1.MediaType.JSON)


class LastReport(BaseModel):
    """How a program says that it ends, just before it does."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    exit_code: Annotated[int, Field(ge=0, le=255, strict=True)]
    result: Any = None
    message: Annotated[str, StringConstraints(max_length=names.MESSAGE_MAX)] | None = None


class Taken(BaseModel):
    """That it is recorded, and since when."""

    reported_at: v1alpha1.Time = Field(serialization_alias=runner_contract.OutcomeField.REPORTED_AT)


@router.post(runner_contract.OUTCOME_PATH)
async def take_outcome(
    token: RunnerTokenDep, document: DeepJsonBodyDep, outcomes: OutcomesDep
) -> Taken:
    """Take how a program says that it ends; the answer comes when that is stored."""
    return Taken(reported_at=await outcomes.take(token, parse_outcome(document)))


class Kept(BaseModel):
    """What was kept of a result."""

    size: int
    sha256: str
    media_type: v1alpha1.MediaType = Field(serialization_alias="mediaType")

    @classmethod
    def of(cls, ref: v1alpha1.ResultRef) -> Self:
        """Return it in full."""
        return cls(
            size=ref.size,
            sha256=ref.sha256,
            media_type=ref.media_type or v1alpha1.MediaType.JSON,
        )


@router.put(runner_contract.RESULT_PATH)
async def take_result(
    token: RunnerTokenDep,
    results: ResultsDep,
    request: Request,
    content_type: Annotated[str, Header()] = "",
) -> Kept:
    """Keep a result that does not fit into the resource; the last one of an attempt counts."""
    is_text = content_type.partition(";")[0].strip().lower() == v1alpha1.MediaType.TEXT
    return Kept.of(await results.take(token, pieces_of(request), is_text=is_text))


@router.get(runner_contract.STEP_RESULT_PATH, response_class=Response)
async def get_step_result(token: RunnerTokenDep, results: ResultsDep, name: str) -> Response:
    """Hand the result of a step that has succeeded to a program of the same task."""
    return _of_content(results, await results.before(token, name))


@router.get(
    runner_contract.KEPT_RESULT_PATH,
    dependencies=[Depends(require_operator)],
    response_class=Response,
)
async def get_kept_result(
    results: ResultsDep, uid: str, sha256: str, pointer: str | None = None
) -> Response:
    """Hand a kept result to the operator, or a part of it as JSON."""
    content = await results.kept(uid, sha256)
    if pointer is None:
        return _of_content(results, content)
    return Response(await results.part(content, pointer), media_type=v1alpha1.MediaType.JSON)


@router.put(runner_contract.KEPT_RESULT_PATH, dependencies=[Depends(require_operator)])
async def compose_result(composer: ComposerDep, uid: str, document: DeepJsonBodyDep) -> Kept:
    """Keep a result that the operator makes of others."""
    return Kept.of(await composer.make(uid, document))


def _of_content(served: ResultService, content: Content) -> Response:
    return answers.of_bytes(
        functools.partial(served.read, content),
        size=content.size,
        media_type=content.media_type,
        sha256=content.sha256,
    )


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Raises:
        SlowBody: Nothing comes for a while.
        Malformed: It ends before its end.
    """
    pieces = aiter(request.stream())
    try:
        while True:
            async with asyncio.timeout(_PIECE_SECONDS):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece
    except TimeoutError as error:
        raise errors.SlowBody from error
    except ClientDisconnect as error:
        raise errors.Malformed("The body ended too early.") from error


def parse_report(document: Any) -> Report:
    """Return the report.

    Raises:
        Invalid: A field is wrong, or the checkpoint is nested too deeply.
        TooLarge: The checkpoint is above what is kept.
    """
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        raise errors.Invalid(errors=errors.findings(error)) from error
    depth = runner_contract.CHECKPOINT_DEPTH + 1  # the report is around it
    for path, flaw in json_values.flaws(report.checkpoint, depth=depth, path=("checkpoint",)):
        raise errors.Invalid(errors=[errors.finding(json_values.pointer(*path), flaw)])
    if (size := json_values.size(report.checkpoint)) > runner_contract.CHECKPOINT_LIMIT:
        limit = runner_contract.CHECKPOINT_LIMIT
        raise errors.TooLarge(f"The checkpoint has {size} bytes of JSON; it may have {limit}.")
    return report


def parse_outcome(document: Any) -> Said:
    """Return how a program says that it ends.

    Raises:
        Invalid: A field is wrong, or Kubernetes would change the result.
        TooLarge: The result is above what a resource keeps.
    """
    try:
        said = LastReport.model_validate(document)
    except ValidationError as error:
        raise errors.Invalid(errors=errors.findings(error)) from error
    unfit = "message" if said.exit_code == 0 else "result"
    if getattr(said, unfit) is not None:
        wrong = f"a program with exit code {said.exit_code} has no {unfit}"
        raise errors.Invalid(errors=[errors.finding(f"/{unfit}", wrong)])
    depth = runner_contract.VALUE_DEPTH + 1  # the report is around it
    for path, flaw in json_values.flaws(said.result, depth=depth, path=("result",)):
        raise errors.Invalid(errors=[errors.finding(json_values.pointer(*path), flaw)])
    if (size := json_values.size(said.result)) > runner_contract.INLINE_RESULT_LIMIT:
        limit = runner_contract.INLINE_RESULT_LIMIT
        raise errors.TooLarge(f"The result has {size} bytes of JSON; it may have {limit} here.")
    return Said(said.exit_code, said.result, said.message)

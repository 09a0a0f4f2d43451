"""Endpoints that running tasks report to, on a port of their own."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from longtask_api import errors
from longtask_api.dependencies import JsonBodyDep, ProgressDep, ReportingTaskDep
from longtask_crds import json_values, names, runner_contract, v1alpha1

router = APIRouter()


class Report(BaseModel):
    """What a program says of itself; each part is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: v1alpha1.Percent | None = None
    message: Annotated[str, StringConstraints(max_length=names.MESSAGE_MAX)] | None = None
    checkpoint: Any = None


class Answer(BaseModel):
    """What the program is told."""

    cancel_requested: bool = Field(
        serialization_alias=str(runner_contract.ProgressField.CANCEL_REQUESTED)
    )


@router.post(runner_contract.PROGRESS_PATH)
async def take_progress(
    task: ReportingTaskDep, document: JsonBodyDep, progress: ProgressDep
) -> Answer:
    """Take a report, which is the heartbeat too."""
    progress.report(task, parse_report(document))
    return Answer(cancel_requested=bool(task.spec.cancel))


@router.put(runner_contract.RESULT_PATH)
async def take_result(_: ReportingTaskDep) -> None:
    """Refuse a result that does not fit into the resource: nothing keeps it yet."""
    raise errors.TooLarge(
        f"Results above {runner_contract.INLINE_RESULT_LIMIT} bytes are not kept yet."
    )


def parse_report(document: Any) -> dict[str, Any]:
    """Return the given ones of percent and message.

    Raises:
        Invalid: A field is wrong, or a checkpoint is given: it would be lost.
        TooLarge: The checkpoint is above what will ever be kept.
    """
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        raise errors.Invalid(errors=errors.findings(error)) from error
    if report.checkpoint is not None:
        if json_values.size(report.checkpoint) > runner_contract.CHECKPOINT_LIMIT:
            raise errors.TooLarge(
                f"A checkpoint may have {runner_contract.CHECKPOINT_LIMIT} bytes."
            )
        wrong = errors.finding("/checkpoint", "checkpoints are not kept yet")
        raise errors.Invalid(errors=[wrong])
    return report.model_dump(exclude={"checkpoint"}, exclude_none=True)

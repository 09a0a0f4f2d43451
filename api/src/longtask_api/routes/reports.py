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
    task: ReportingTaskDep, document: JsonBodyDep, progress: ProgressDep
) -> Answer:
    """Take a report, which is the heartbeat too; the final one is answered when it is stored."""
    report = parse_report(document)
    progress.report(task, report.said())
    if report.final:
        await progress.settle(task)
    return Answer(cancel_requested=bool(task.spec.cancel))


@router.put(runner_contract.RESULT_PATH)
async def take_result(_: ReportingTaskDep) -> None:
    """Refuse a result that does not fit into the resource: nothing keeps it yet."""
    raise errors.TooLarge(
        f"Results above {runner_contract.INLINE_RESULT_LIMIT} bytes are not kept yet."
    )


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

"""The application that running tasks report to, on a port of its own."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from longtask_api import app as public
from longtask_api import auth, backend, dependencies, errors
from longtask_api.dependencies import BackendDep
from longtask_api.services import orders
from longtask_crds import json_values, names, runner_contract, v1alpha1


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


async def reporting_task(found: BackendDep, given: auth.Credentials) -> v1alpha1.LongTask:
    """Return the task whose pod reports.

    Raises:
        Unauthenticated: There is no token, or not one of a task's pod.
    """
    if given is None:
        raise errors.Unauthenticated
    found.check_synced()
    return await found.reporters.task_of(given.credentials)


ReportingTask = Annotated[v1alpha1.LongTask, Depends(reporting_task)]


def create_app(behind: backend.Backend) -> FastAPI:
    """Build the application on the backend, which something else runs."""
    app = FastAPI(title="LongTask runner port", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.backend = behind

    @app.post(runner_contract.PROGRESS_PATH)
    async def take_progress(
        task: ReportingTask, document: dependencies.JsonBody, found: BackendDep
    ) -> Answer:
        """Take a report, which is the heartbeat too."""
        said = parse_report(document)
        found.progress.report(task, said)
        return Answer(cancel_requested=bool(task.spec.cancel))

    @app.put(runner_contract.RESULT_PATH)
    async def take_result(_: ReportingTask) -> None:
        """Refuse a result that does not fit into the resource: nothing keeps it yet."""
        raise errors.TooLarge(
            f"Results above {runner_contract.INLINE_RESULT_LIMIT} bytes are not kept yet."
        )

    public.harden(app)
    return app


def parse_report(document: Any) -> dict[str, Any]:
    """Return the given ones of percent and message.

    Raises:
        Invalid: A field is wrong, or a checkpoint is given: it would be lost.
        TooLarge: The checkpoint is above what will ever be kept.
    """
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        raise errors.Invalid(errors=orders.validation_errors(error)) from error
    if report.checkpoint is not None:
        if json_values.size(report.checkpoint) > runner_contract.CHECKPOINT_LIMIT:
            raise errors.TooLarge(
                f"A checkpoint may have {runner_contract.CHECKPOINT_LIMIT} bytes."
            )
        wrong = orders.problem("/checkpoint", "checkpoints are not kept yet")
        raise errors.Invalid(errors=[wrong])
    return report.model_dump(exclude={"checkpoint"}, exclude_none=True)

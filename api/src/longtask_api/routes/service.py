"""Endpoints about the service itself. They are public."""

from fastapi import APIRouter, Request, Response

from longtask_api import errors, openapi
from longtask_api.dependencies import BackendDep
from longtask_client import models

router = APIRouter(tags=["service"])


@router.get("/healthz", operation_id="isAlive", response_class=Response)
async def is_alive() -> Response:
    """Tell that the process answers."""
    return Response("ok\n", media_type="text/plain")


@router.get(
    "/readyz", operation_id="isReady", response_class=Response, responses=openapi.problems(503)
)
async def is_ready(backend: BackendDep) -> Response:
    """Tell whether the resources are read and Kubernetes is there."""
    if reasons := backend.unready():
        raise errors.Unavailable("; ".join(reasons))
    return Response("ok\n", media_type="text/plain")


@router.get("/version", operation_id="getVersion")
async def get_version(request: Request) -> models.Version:
    """Tell what runs here."""
    return models.Version(version=request.app.version)

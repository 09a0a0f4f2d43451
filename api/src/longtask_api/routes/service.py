"""Endpoints about the service itself. They are public."""

from typing import Final

from fastapi import APIRouter, Request, Response

from longtask_api import errors
from longtask_api.dependencies import HealthDep
from longtask_api.http import openapi
from longtask_client import models

router = APIRouter(tags=["service"])
#: What the kubelet asks, by the address of the pod.
PROBES: Final = frozenset({"/healthz", "/readyz"})


@router.get(
    "/healthz", operation_id="isAlive", response_class=Response, responses=openapi.problems(503)
)
async def is_alive(health: HealthDep) -> Response:
    """Tell whether the process answers and all of it runs; if not, only a new start helps."""
    if reasons := health.illnesses():
        raise errors.Unavailable("; ".join(reasons))
    return Response("ok\n", media_type="text/plain")


@router.get(
    "/readyz", operation_id="isReady", response_class=Response, responses=openapi.problems(503)
)
async def is_ready(health: HealthDep) -> Response:
    """Tell whether the resources are read and Kubernetes is there, and what goes wrong besides."""
    if reasons := health.obstacles():
        raise errors.Unavailable("; ".join(reasons))
    ailment = health.ailment()
    return Response(f"ok, but {ailment}\n" if ailment else "ok\n", media_type="text/plain")


@router.get("/version", operation_id="getVersion")
async def get_version(request: Request) -> models.Version:
    """Tell what runs here."""
    return models.Version(version=request.app.version)

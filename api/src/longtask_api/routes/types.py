"""Endpoints of types."""

from fastapi import APIRouter

from longtask_api import openapi
from longtask_api.dependencies import BackendDep
from longtask_client import models

router = APIRouter(prefix="/types", tags=["types"])


@router.get("", operation_id="listTypes")
async def list_types(backend: BackendDep) -> models.TypeList:
    """List all types of tasks."""
    return backend.tasks.types()


@router.get("/{name}", operation_id="getType", responses=openapi.problems(404))
async def get_type(backend: BackendDep, name: str) -> models.TypeView:
    """Look at one type: what its tasks do, and what input they take."""
    return await backend.tasks.type(name)

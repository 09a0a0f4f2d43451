"""Endpoints of types."""

from fastapi import APIRouter

from longtask_api.dependencies import CallerDep, TypesDep
from longtask_api.http import openapi
from longtask_client import models

router = APIRouter(prefix="/types", tags=["types"])


@router.get("", operation_id="listTypes")
async def list_types(caller: CallerDep, types: TypesDep) -> models.TypeList:
    """List all types of tasks."""
    return types.all(caller)


@router.get("/{name}", operation_id="getType", responses=openapi.problems(404))
async def get_type(caller: CallerDep, types: TypesDep, name: str) -> models.TypeView:
    """Look at one type: what its tasks do, and what input they take."""
    return await types.get(caller, name)

"""Endpoints of the caller's own things."""

from fastapi import APIRouter

from longtask_api.dependencies import CallerDep, KeysDep
from longtask_api.http import openapi
from longtask_client import models

router = APIRouter(prefix="/me", tags=["me"])


@router.get("/callback-key", operation_id="getCallbackKey")
async def get_callback_key(caller: CallerDep, keys: KeysDep) -> models.CallbackKey:
    """Get the key that signs one's callbacks; it is made on first use."""
    return await keys.current(caller)


@router.post(
    "/callback-key:rotate",
    operation_id="rotateCallbackKey",
    responses=openapi.problems(409, 429),
)
async def rotate_callback_key(caller: CallerDep, keys: KeysDep) -> models.CallbackKey:
    """Get a new key. For a day the one before signs as well: a callback has both signatures."""
    return await keys.rotate(caller)

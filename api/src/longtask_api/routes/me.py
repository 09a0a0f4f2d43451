"""Endpoints of the caller's own things."""

from fastapi import APIRouter

from longtask_api.dependencies import CallerDep, KeysDep
from longtask_client import models

router = APIRouter(prefix="/me", tags=["me"])


@router.get("/callback-key", operation_id="getCallbackKey")
async def get_callback_key(caller: CallerDep, keys: KeysDep) -> models.CallbackKey:
    """Get the key that signs one's callbacks; it is made on first use."""
    return models.CallbackKey(key=await keys.current(caller))

"""Endpoints of the caller's own things."""

from fastapi import APIRouter

from longtask_api.dependencies import BackendDep
from longtask_client import models
from longtask_crds import signing_keys

router = APIRouter(prefix="/me", tags=["me"])


@router.get("/callback-key", operation_id="getCallbackKey")
async def get_callback_key(backend: BackendDep) -> models.CallbackKey:
    """Get the key that signs one's callbacks; it is made on first use."""
    return models.CallbackKey(key=await backend.keys.current(signing_keys.DEFAULT_OWNER))

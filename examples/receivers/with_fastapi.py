"""Receive callbacks of LongTask with FastAPI.

pip install longtask-client fastapi uvicorn
WEBHOOK_KEY=whsec_… uvicorn with_fastapi:app --port 9000
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from longtask_client import webhooks

app = FastAPI()
seen: set[str] = set()  # a real receiver keeps the ids in its database


async def genuine(request: Request) -> webhooks.Event:
    """Return what the callback says; refuse whatever is not signed with the key."""
    body = await request.body()  # the bytes: JSON that is written anew has other ones
    try:
        return webhooks.receive(body, request.headers, key=os.environ["WEBHOOK_KEY"])
    except webhooks.NotGenuine as error:
        raise HTTPException(401, str(error)) from error


@app.post("/hook", status_code=204)
async def hook(event: Annotated[webhooks.Event, Depends(genuine)]) -> None:
    if event.id in seen:  # it may come more than once
        return
    seen.add(event.id)
    if event.data is not None:
        print(event.data.id, event.data.phase, event.data.result)

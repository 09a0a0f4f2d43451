"""The examples of receivers, as a sender meets them."""

import importlib.util
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import standardwebhooks

from longtask_crds import events, signing_keys

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/receivers"
KEY = signing_keys.new_key()


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signed(body: bytes) -> dict[str, str]:
    now = datetime.fromtimestamp(int(time.time()), UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(KEY).sign("msg_1", now, body.decode()),
    }


async def with_fastapi(app: Any, body: bytes, headers: dict[str, str]) -> int:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.post("/hook", content=body, headers=headers)).status_code


async def with_flask(app: Any, body: bytes, headers: dict[str, str]) -> int:
    return int(app.test_client().post("/hook", data=body, headers=headers).status_code)


@pytest.mark.parametrize("post", [with_fastapi, with_flask])
async def test_a_receiver_takes_what_is_genuine_once_and_nothing_else(
    post: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_KEY", KEY)
    module = loaded(post.__name__)
    body = events.trial_body(datetime.now(UTC))
    assert await post(module.app, body, signed(body) | {"webhook-id": "msg_2"}) == 401
    assert module.seen == set()
    assert await post(module.app, body, signed(body)) == 204
    assert await post(module.app, body, signed(body)) == 204
    assert module.seen == {"msg_1"}

"""What the tests of the sender of webhooks say in one line."""

from collections.abc import Mapping, Sequence

from longtask_adapters import webhooks
from longtask_crds import delivery, signing_keys

KEY = signing_keys.new_key()
BODY = '{"type":"longtask.succeeded","data":{"result":"é"}}'.encode()


async def post(
    sender: webhooks.Sender,
    url: str,
    *,
    owner: str = "somebody",
    body: bytes = BODY,
    keys: Sequence[str] = (KEY,),
    headers: Mapping[str, str] | None = None,
    webhook_id: str = "msg_1",
) -> delivery.Try:
    """Send one webhook once."""

    async def write() -> webhooks.Letter:
        return webhooks.Letter(body, keys)

    return await sender.send(
        url, owner=owner, webhook_id=webhook_id, headers=dict(headers or {}), write=write
    )

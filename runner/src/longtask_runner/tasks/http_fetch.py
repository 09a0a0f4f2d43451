"""Fetch a URL, for users who may not be trusted with the cluster's network."""

from __future__ import annotations

import base64
import http.client
import os

from longtask_crds import address_guard
from longtask_runner import errors, task
from longtask_runner.tasks import guarded_http

#: What fits into the type's memory several times: as bytes, as text and on its way out.
BODY_LIMIT = 8 * 1024 * 1024
#: Lists of the administrator's, separated by commas, from the type's `container.env`.
ALLOW_ENV = "HTTP_FETCH_ALLOW"
DENY_ENV = "HTTP_FETCH_DENY"
_HEADERS = {"User-Agent": "longtask-http-fetch", "Accept-Encoding": "identity"}


@task(name="http-fetch")
def http_fetch(url: str) -> dict[str, object]:
    """GET a URL and return status, content type and body; a redirect is the result itself."""
    guard = address_guard.Guard.from_lists(allow=_entries(ALLOW_ENV), deny=_entries(DENY_ENV))
    return fetch(url, guard=guard)


def fetch(url: str, *, guard: address_guard.Guard) -> dict[str, object]:
    """Do so with the given rules."""
    try:
        answer = guarded_http.get(url, guard=guard, limit=BODY_LIMIT, headers=_HEADERS)
    except address_guard.Refused as refused:
        raise errors.AddressRefused(f"url: {refused} ({refused.reason})") from refused
    except (OSError, http.client.HTTPException) as error:
        raise errors.TryAgain(f"url: {type(error).__name__}: {error}") from error
    if not answer.whole:
        raise errors.ResultTooLarge(
            f"the body has more than {BODY_LIMIT} bytes, which is the limit"
        )
    result: dict[str, object] = {"status": answer.status, "contentType": answer.content_type}
    return result | body_field(answer.body)


def body_field(body: bytes) -> dict[str, object]:
    """Return the body as text where it is UTF-8 text, else in base64."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"bodyBase64": base64.b64encode(body).decode()} if "\0" in text else {"body": text}


def _entries(variable: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(",") if entry.strip()]

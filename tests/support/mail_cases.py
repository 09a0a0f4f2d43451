"""Mails as somebody gets them: of one event, of many, and of what a stranger has written."""

from datetime import timedelta
from typing import Final

from longtask_api.mail import message
from longtask_api.mail.writer import Writer
from longtask_crds.testing import NOW
from mail_support import ADA, SENDER, link_key
from page_support import HOSTILE


def _said(event: str, name: str, seconds: int, **parts: object) -> message.Said:
    at = NOW + timedelta(seconds=seconds)
    return message.Said.model_validate(
        {"event": event, "name": name, "uid": f"uid-of-{name}", "at": at} | parts
    )


_HOSTILE: Final = " ".join(text for name, text in HOSTILE.items() if name != "long")
CASES: Final = {
    "one": [
        _said(
            "failed",
            "nightly-report-0412",
            0,
            reason="ProgramFailed",
            message="exit code 2: no such font: Helvetica Neue",
            attempt=3,
        )
    ],
    "digest": [
        _said("started", "nightly-report-0412", 0),
        _said("progress", "render-video-7f3k2q", 20, percent=40),
        _said("retrying", "crawl-shop-us-b20", 31, reason="OOMKilled", message="more than 64Mi"),
        _said("progress", "nightly-report-0412", 62, step="draw", percent=60),
        _said("succeeded", "import-ledger-9ab", 75, message="1,800 lines"),
        _said("failed", "a-name-as-long-as-a-name-may-be-" + 31 * "x", 90, reason="JobLost"),
    ],
    "hostile": [
        _said(event, text, 0, reason=text, message=text, step=text, type=text)
        for event in ("failed", "progress")
        for text in (_HOSTILE, HOSTILE["long"])
    ],
}


async def page(case: str) -> str:
    """Return what a mail program shows of it."""
    writer = Writer(message.Templates(), SENDER, link_key, clock=lambda: NOW)
    mail = await writer.mail(ADA, [(f"msg_{n}", n, one) for n, one in enumerate(CASES[case])])
    part = mail.get_body(("html",))
    assert part is not None
    text: str = part.get_content()
    return text

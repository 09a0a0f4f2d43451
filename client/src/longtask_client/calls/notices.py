"""Mails: what was told, what one wishes to be told, and whose an address is."""

from collections.abc import Sequence

from longtask_client import exchange, models
from longtask_client.calls import pages, words
from longtask_crds import v1alpha1


def notices(
    task: str | None = None, *, state: models.NoticeState | None = None, page_size: int = 100
) -> exchange.Stream[models.NoticeView]:
    """Iterate over what was told by mail, or is about to be, the newest first.

    Args:
        task: Of the task of this name alone.
        state: Only what stands so.
        page_size: How many are asked for at once.
    """
    parameters = {"task": task, "state": state}
    return pages.each(
        words.path("notices"), models.NoticePage, parameters=parameters, size=page_size
    )


def notice_wish() -> exchange.Call[models.NoticeWishView]:
    """Return of what one is mailed, and where.

    Raises:
        Unauthorized: One is no user of LongTask's own.
    """
    return exchange.call("GET", words.path("me", "notices"), models.NoticeWishView)


def set_notice_wish(events: Sequence[v1alpha1.TaskEvent]) -> exchange.Call[models.NoticeWishView]:
    """Say of which events of one's tasks one wants mails; of none at all when empty.

    Raises:
        Unauthorized: One is no user of LongTask's own.
    """
    body = models.NoticeWish(events=list(events)).to_json()
    return exchange.call("PUT", words.path("me", "notices"), models.NoticeWishView, body=body)


def verify_email(email: str | None = None) -> exchange.Call[models.NoticeWishView]:
    """Have a code sent to an address that one says is one's own; by default the account's.

    Raises:
        Unauthorized: One is not logged in.
        InvalidRequest: No mail can be sent there.
        TooManyRequests: It was asked for too often.
    """
    body = models.EmailOrder(email=email).to_json()
    path = words.path("me", "email", then=":verify")
    return exchange.call("POST", path, models.NoticeWishView, body=body)


def confirm_email(code: str) -> exchange.Call[models.NoticeWishView]:
    """Show, by the code of a mail, that its address is one's own.

    Raises:
        Unauthorized: One is not logged in.
        InvalidRequest: The code is none of one's own, or too old.
    """
    path = words.path("me", "email", then=":confirm")
    return exchange.call("POST", path, models.NoticeWishView, body={"code": code})

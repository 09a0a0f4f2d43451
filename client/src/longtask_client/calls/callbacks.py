"""Callbacks: what was sent to receivers, and the keys that sign it."""

from datetime import datetime

from longtask_client import exchange, models
from longtask_client.calls import words
from longtask_crds import v1alpha1

#: A receiver has fifteen seconds, and its name some more.
_TRIAL_TIMEOUT = 60.0


def callbacks(task_id: str) -> exchange.Call[models.CallbackLog]:
    """Return how a task's last event is delivered, and each try.

    Raises:
        NotFound: There is no such task.
    """
    return exchange.call("GET", words.task(task_id, "/callbacks"), models.CallbackLog)


def redeliver(task_id: str) -> exchange.Call[models.CallbackLog]:
    """Have a task's last callback delivered again: the same id and body.

    Raises:
        NotFound: There is no such task.
        Conflict: There was no callback of it yet.
    """
    return exchange.call("POST", words.task(task_id, "/callbacks:redeliver"), models.CallbackLog)


def redeliver_all(
    since: datetime | str,
    until: datetime | str,
    *,
    state: v1alpha1.CallbackState | None = None,
) -> exchange.Stream[str]:
    """Have callbacks delivered again that report what happened in a range of time.

    Yield the ids of their tasks, page by page.

    Args:
        since: From this time on, as RFC 3339 writes it or with its zone,
        until: to before this one.
        state: Only those that stand like this; Delivered and Exhausted when absent.
    """
    order = {
        "from": words.given_time(since),
        "to": words.given_time(until),
        "state": state,
        "cursor": None,
    }
    while True:
        body = {key: value for key, value in order.items() if value is not None}
        path = words.path("callbacks", then=":redeliver")
        done = yield from exchange.call("POST", path, models.Redelivery, body=body).flow()
        for task_id in done.items:
            yield exchange.Give(task_id)
        if done.next_cursor is None:
            return
        order["cursor"] = done.next_cursor


def test_callback(url: str) -> exchange.Call[models.CallbackTrial]:
    """Have a signed `longtask.test` sent to a receiver; return what became of it.

    Raises:
        InvalidRequest: The URL may not be called.
    """
    return exchange.call(
        "POST",
        words.path("callbacks", then=":test"),
        models.CallbackTrial,
        body={"url": url},
        patience=0,  # once is what was asked for
        timeout=_TRIAL_TIMEOUT,
    )


def callback_key() -> exchange.Call[str]:
    """Return the key that signs one's callbacks."""
    request = exchange.Request("GET", words.path("me", "callback-key"))
    return exchange.Call(request, lambda answer: exchange.parsed(answer, models.CallbackKey).key)


def rotate_callback_key() -> exchange.Call[models.CallbackKey]:
    """Make a new key that signs one's callbacks; for a day the one before signs as well.

    Raises:
        Conflict: As many keys sign already as may.
    """
    # Never again: each makes one more.
    path = words.path("me", "callback-key", then=":rotate")
    return exchange.call("POST", path, models.CallbackKey, patience=0)

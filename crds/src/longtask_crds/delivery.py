"""When a callback is sent again, and when it is given up."""

import dataclasses
import enum
from collections.abc import Sequence
from datetime import datetime, timedelta

from longtask_crds import names, v1alpha1
from longtask_crds.v1alpha1 import Reason

#: Answers whose Retry-After is heeded.
_PATIENT = {429, 502, 503, 504}
_LONGEST_RETRY_AFTER = timedelta(hours=1)
#: How many tries are kept on record.
_LOGGED = 20
#: Of a request to deliver again: enough to tell one from the other.
_REQUEST_MAX = 128


class Problem(enum.StrEnum):
    """Why no answer came, or why nothing was sent. Part of the API: never renamed.

    It stands in `status.callback.lastError`, and holds no address and no text of the receiver's.
    """

    TIMEOUT = "Timeout"
    CONNECTION_FAILED = "ConnectionFailed"
    TLS_FAILED = "TlsFailed"
    NAME_NOT_RESOLVED = "NameNotResolved"
    #: Final: the URL itself may not be called, whatever its host leads to.
    ADDRESS_REFUSED = "AddressRefused"
    #: The name led to an address that may not be called. It may lead elsewhere at the next try.
    RESOLVED_ADDRESS_REFUSED = "ResolvedAddressRefused"
    SECRET_UNUSABLE = "SecretUnusable"


@dataclasses.dataclass(frozen=True)
class Try:
    """What became of one try: an answer's status code, or a problem."""

    at: datetime  #: when that was known
    code: int | None = None
    problem: Problem | None = None
    retry_after: timedelta | None = None
    seconds: float = 0.0  #: how long it took
    jitter: float = 0.0  #: -1 to 1: where in the spread of the next pause this one lies

    @property
    def is_delivered(self) -> bool:
        """Tell whether the receiver has taken it."""
        return self.code is not None and 200 <= self.code < 300


def after(
    entry: v1alpha1.CallbackStatus, made: Try, *, schedule: Sequence[int]
) -> tuple[v1alpha1.CallbackStatus, Reason]:
    """Return the outbox entry after a try, and why it stands as it does.

    Args:
        entry: The entry before; its state is Pending.
        made: What became of the try.
        schedule: The pause before each try in seconds; its length is the number of tries.
    """
    tries = entry.tries + 1
    told = entry.model_copy(
        update={
            "tries": tries,
            "last_code": made.code,
            "last_error": made.problem,
            "next_try_at": None,
            "deliveries": [*(entry.deliveries or ()), _logged(entry.event, made)][-_LOGGED:],
        }
    )
    if made.is_delivered:
        done = {"state": v1alpha1.CallbackState.DELIVERED, "delivered_at": made.at}
        return told.model_copy(update=done), Reason.DELIVERED
    final = _final(made)
    if final is None and tries < len(schedule):
        pause = timedelta(seconds=schedule[tries] * (1 + 0.2 * made.jitter))
        if made.code in _PATIENT and made.retry_after is not None:
            pause = max(pause, min(made.retry_after, _LONGEST_RETRY_AFTER))
        # Times in a status are whole seconds; cut, the pause would be too short.
        due = made.at + pause + timedelta(microseconds=999_999)
        return told.model_copy(update={"next_try_at": due.replace(microsecond=0)}), (
            Reason.DELIVERING
        )
    exhausted = {"state": v1alpha1.CallbackState.EXHAUSTED}
    return told.model_copy(update=exhausted), final or Reason.EXHAUSTED


def _final(made: Try) -> Reason | None:
    if made.code == 410:
        return Reason.GONE
    if made.problem is Problem.ADDRESS_REFUSED:
        return Reason.ADDRESS_REFUSED
    return None


def _logged(event: v1alpha1.TaskEvent, made: Try) -> v1alpha1.Delivery:
    return v1alpha1.Delivery(
        at=made.at - timedelta(seconds=made.seconds),
        event=event,
        code=made.code,
        seconds=round(made.seconds, 3),
        error=made.problem,
    )


def is_open(task: v1alpha1.LongTask) -> bool:
    """Tell whether something is to be delivered, or was asked to be delivered again."""
    entry = task.status.callback
    pending = entry is not None and entry.state is v1alpha1.CallbackState.PENDING
    return pending or asked_again(task) is not None


def request_of(task: v1alpha1.LongTask) -> str | None:
    """Return what the annotation says that asks for another delivery, or None."""
    return task.metadata.annotations.get(names.REDELIVER_ANNOTATION, "")[:_REQUEST_MAX] or None


def asked_again(task: v1alpha1.LongTask) -> str | None:
    """Return the request to deliver again that nobody has acted upon yet, or None."""
    entry, request = task.status.callback, request_of(task)
    return request if entry is not None and request != entry.redelivery else None


def reopened(
    entry: v1alpha1.CallbackStatus, request: str, *, now: datetime
) -> v1alpha1.CallbackStatus:
    """Return the entry as it is delivered once more from the start: what it says stays the same."""
    return entry.model_copy(
        update={
            "state": v1alpha1.CallbackState.PENDING,
            "tries": 0,
            "next_try_at": now,
            "delivered_at": None,
            "redelivery": request,
        }
    )

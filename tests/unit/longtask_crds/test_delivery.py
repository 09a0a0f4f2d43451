"""When a callback is sent again, and when it is given up."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtask_crds import delivery, names, v1alpha1
from longtask_crds.testing import NOW, a_task, with_meta, with_status
from longtask_crds.v1alpha1 import Reason

SCHEDULE = (0, 5, 300, 1800)
FIRST = v1alpha1.CallbackStatus(
    id="msg_1",
    event=v1alpha1.TaskEvent.SUCCEEDED,
    state=v1alpha1.CallbackState.PENDING,
    next_try_at=NOW,
)
PENDING = v1alpha1.CallbackState.PENDING
DELIVERED = v1alpha1.CallbackState.DELIVERED
EXHAUSTED = v1alpha1.CallbackState.EXHAUSTED


def entry(tries: int) -> v1alpha1.CallbackStatus:
    return FIRST.model_copy(update={"tries": tries})


def answer(code: int, *, retry_after: float | None = None, jitter: float = 0) -> delivery.Try:
    pause = None if retry_after is None else timedelta(seconds=retry_after)
    return delivery.Try(at=NOW, code=code, retry_after=pause, jitter=jitter)


def problem(what: delivery.Problem) -> delivery.Try:
    return delivery.Try(at=NOW, problem=what)


@pytest.mark.parametrize(
    ("made", "state", "reason"),
    [
        pytest.param(answer(200), DELIVERED, Reason.DELIVERED, id="200-is-delivered"),
        pytest.param(answer(299), DELIVERED, Reason.DELIVERED, id="so-is-all-of-2xx"),
        pytest.param(answer(302), PENDING, Reason.DELIVERING, id="a-redirect-is-a-failure"),
        pytest.param(answer(199), PENDING, Reason.DELIVERING, id="1xx-is-a-failure"),
        pytest.param(answer(404), PENDING, Reason.DELIVERING, id="404-may-mend"),
        pytest.param(answer(500), PENDING, Reason.DELIVERING, id="500-may-mend"),
        pytest.param(answer(410), EXHAUSTED, Reason.GONE, id="410-is-final"),
        pytest.param(
            problem(delivery.Problem.ADDRESS_REFUSED),
            EXHAUSTED,
            Reason.ADDRESS_REFUSED,
            id="a-refused-url-is-final",
        ),
        pytest.param(
            problem(delivery.Problem.RESOLVED_ADDRESS_REFUSED),
            PENDING,
            Reason.DELIVERING,
            id="a-name-may-lead-elsewhere-next-time",
        ),
        pytest.param(
            problem(delivery.Problem.TIMEOUT), PENDING, Reason.DELIVERING, id="silence-may-mend"
        ),
        pytest.param(
            problem(delivery.Problem.SECRET_UNUSABLE),
            PENDING,
            Reason.DELIVERING,
            id="a-secret-may-be-mended",
        ),
    ],
)
def test_a_first_try(made: delivery.Try, state: v1alpha1.CallbackState, reason: Reason) -> None:
    after, why = delivery.after(FIRST, made, schedule=SCHEDULE)
    assert (after.state, why, after.tries) == (state, reason, 1)
    assert (after.last_code, after.last_error) == (made.code, made.problem)
    assert (after.next_try_at is not None) == (state is PENDING)
    assert after.delivered_at == (NOW if state is DELIVERED else None)
    assert (after.id, after.event) == (FIRST.id, FIRST.event)


@pytest.mark.parametrize(
    ("tries", "made", "pause"),
    [
        pytest.param(0, answer(500), 5, id="the-second-try-is-soon"),
        pytest.param(1, answer(500), 300, id="the-third-is-later"),
        pytest.param(2, answer(500), 1800, id="the-fourth-is-later-still"),
        pytest.param(1, answer(500, jitter=-1), 240, id="a-fifth-less-at-most"),
        pytest.param(1, answer(500, jitter=1), 360, id="a-fifth-more-at-most"),
        pytest.param(0, answer(500, jitter=0.5), 6, id="a-part-of-a-second-is-rounded-up"),
        pytest.param(0, answer(429, retry_after=60), 60, id="429-may-ask-for-more-time"),
        pytest.param(0, answer(503, retry_after=1e9), 3600, id="but-for-an-hour-at-most"),
        pytest.param(
            2, answer(503, retry_after=1), 1800, id="and-never-for-less-than-the-schedule"
        ),
        pytest.param(0, answer(500, retry_after=60), 5, id="500-may-not-ask"),
    ],
)
def test_the_next_try(tries: int, made: delivery.Try, pause: int) -> None:
    after, _ = delivery.after(entry(tries), made, schedule=SCHEDULE)
    assert after.next_try_at == NOW + timedelta(seconds=pause)


def test_after_the_last_try_it_is_given_up() -> None:
    after, why = delivery.after(entry(3), answer(500), schedule=SCHEDULE)
    assert (after.state, why, after.next_try_at) == (EXHAUSTED, Reason.EXHAUSTED, None)
    assert after.tries == len(SCHEDULE)


def test_the_last_try_may_still_succeed() -> None:
    after, why = delivery.after(entry(3), answer(204), schedule=SCHEDULE)
    assert (after.state, why) == (DELIVERED, Reason.DELIVERED)


@given(
    tries=st.integers(0, 3),
    code=st.integers(100, 599),
    jitter=st.floats(-1, 1),
    wish=st.none() | st.floats(0, 1e9),
    micro=st.integers(0, 999_999),
)
def test_a_pause_is_never_shorter_than_it_should_be(
    tries: int, code: int, jitter: float, wish: float | None, micro: int
) -> None:
    at = NOW.replace(microsecond=micro)
    pause = None if wish is None else timedelta(seconds=wish)
    made = delivery.Try(at=at, code=code, retry_after=pause, jitter=jitter)
    after, _ = delivery.after(entry(tries), made, schedule=SCHEDULE)
    if after.next_try_at is None:
        assert after.state is not PENDING
    else:
        asked = SCHEDULE[tries + 1]
        assert after.next_try_at.microsecond == 0
        assert asked * 0.8 <= (after.next_try_at - at).total_seconds()
        assert (after.next_try_at - at).total_seconds() <= max(asked * 1.2, 3600) + 1


# --- the log, and another delivery ---


def test_each_try_is_logged_and_the_last_twenty_are_kept() -> None:
    logged = FIRST
    for code in range(400, 425):
        made = delivery.Try(at=NOW, code=code, seconds=1.23456)
        logged, _ = delivery.after(logged.model_copy(update={"tries": 0}), made, schedule=SCHEDULE)
    assert logged.deliveries is not None
    assert [one.code for one in logged.deliveries] == list(range(405, 425))
    assert logged.deliveries[-1] == v1alpha1.Delivery(
        at=NOW - timedelta(seconds=1.23456), event=FIRST.event, code=424, seconds=1.235
    )


def test_a_try_without_an_answer_is_logged_with_its_problem() -> None:
    after, _ = delivery.after(FIRST, problem(delivery.Problem.TIMEOUT), schedule=SCHEDULE)
    assert after.deliveries is not None
    assert (after.deliveries[0].code, after.deliveries[0].error) == (None, "Timeout")


def a_task_with(entry: v1alpha1.CallbackStatus | None, asked: str | None) -> v1alpha1.LongTask:
    annotations = {} if asked is None else {names.REDELIVER_ANNOTATION: asked}
    return with_meta(with_status(a_task(), callback=entry), annotations=annotations)


DONE, _ = delivery.after(FIRST, answer(204), schedule=SCHEDULE)
ASKED_BEFORE = DONE.model_copy(update={"redelivery": "once"})


@pytest.mark.parametrize(
    ("entry", "asked", "request_"),
    [
        pytest.param(DONE, None, None, id="nobody-asks"),
        pytest.param(DONE, "once", "once", id="somebody-asks"),
        pytest.param(ASKED_BEFORE, "once", None, id="it-was-done"),
        pytest.param(ASKED_BEFORE, "twice", "twice", id="they-ask-again"),
        pytest.param(ASKED_BEFORE, None, None, id="the-request-is-taken-away"),
        pytest.param(DONE, "", None, id="an-empty-request-is-none"),
        pytest.param(None, "once", None, id="there-is-nothing-to-deliver"),
        pytest.param(DONE, "x" * 5000, "x" * 128, id="a-request-without-end"),
    ],
)
def test_who_asks_for_another_delivery(
    entry: v1alpha1.CallbackStatus | None, asked: str | None, request_: str | None
) -> None:
    task = a_task_with(entry, asked)
    assert delivery.asked_again(task) == request_
    assert delivery.is_open(task) == (request_ is not None)


def test_another_delivery_begins_from_the_start_with_the_same_id_and_its_log() -> None:
    given_up, _ = delivery.after(entry(3), answer(500), schedule=SCHEDULE)
    again = delivery.reopened(given_up, "once", now=NOW)
    assert (again.state, again.tries, again.next_try_at) == (PENDING, 0, NOW)
    assert (again.id, again.event) == (FIRST.id, FIRST.event)
    assert again.deliveries == given_up.deliveries
    assert delivery.asked_again(a_task_with(again, "once")) is None
    assert delivery.is_open(a_task_with(again, None))


def test_what_was_delivered_and_is_sent_again_is_not_delivered_yet() -> None:
    done, _ = delivery.after(entry(1), answer(200), schedule=SCHEDULE)
    assert done.delivered_at is not None
    again = delivery.reopened(done, "once", now=NOW)
    assert (again.delivered_at, again.next_try_at, again.tries) == (None, NOW, 0)

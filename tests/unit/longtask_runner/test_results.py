"""A result that does not fit into the output file goes to the API, over a real connection."""

import json

import pytest

from clock_support import Seconds
from longtask_runner import cancellation, errors, results, wire

VALUE = {"primes": list(range(2, 20_000))}
DATA = json.dumps(VALUE, separators=(",", ":")).encode()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def deliver(api, pod, clock: Seconds):
    """Return what delivers a value to the API, or to another address."""

    def send(value: object = VALUE, *, cancel=None, url: str = api.url) -> int:
        return results.deliver(
            wire.pieces(value),
            url=url,
            token_file=str(pod.token),
            cancel=cancel or cancellation.Cancellation(),
            clock=clock,
            sleep=clock.sleep,
        )

    return send


def test_it_arrives_whole_with_the_token(api, deliver) -> None:
    assert deliver() == len(DATA)
    path, headers, body = api.requests.get(timeout=60)
    assert (path, body) == ("/runner/v1/result", DATA)
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(500, id="an-error-of-the-api"),
        pytest.param(503, id="its-database-is-away"),
        pytest.param(429, id="a-crowd"),
        pytest.param(408, id="a-slow-line"),
        pytest.param(409, id="a-pod-that-is-not-recorded-yet"),
    ],
)
def test_what_may_pass_is_tried_again_with_a_new_token(
    api, pod, deliver, clock: Seconds, status: int, capsys
) -> None:
    api.answers.put((status, b'{"detail": "Not now."}'))
    clock_sleep = clock.sleep

    def rotate(seconds: float) -> None:
        clock_sleep(seconds)
        pod.token.write_text("another-token")

    clock.sleep = rotate
    deliver()
    tries = [api.requests.get(timeout=60) for _ in range(2)]
    assert [body for _, _, body in tries] == [DATA, DATA]
    tokens = [headers["Authorization"] for _, headers, _ in tries]
    assert tokens == ["Bearer a-token", "Bearer another-token"]
    assert f"was not taken yet: HTTP status {status}: Not now." in capsys.readouterr().err


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(401, id="a-refused-token"),
        pytest.param(404, id="an-api-that-keeps-no-results"),
        pytest.param(302, id="a-redirect"),
    ],
)
def test_what_does_not_pass_is_not_tried_again(api, deliver, clock: Seconds, status: int) -> None:
    api.answers.put((status, b""))
    with pytest.raises(errors.ResultNotDelivered, match=f"not taken: HTTP status {status}$"):
        deliver()
    assert clock.pauses == []


def test_one_that_is_too_large_is_refused_for_good_although_its_rest_never_came(
    deliver, clock: Seconds
) -> None:
    with pytest.raises(errors.ResultTooLarge) as caught:
        deliver("a" * 20_000_000)
    words = "the result has 20000002 bytes: HTTP status 413: A result may have less."
    assert (str(caught.value), clock.pauses) == (words, [])


def test_an_api_that_is_away_is_tried_for_ten_minutes_and_not_in_a_hot_loop(
    deliver, clock: Seconds
) -> None:
    with pytest.raises(errors.ResultNotDelivered, match="not taken: ConnectionRefusedError"):
        deliver(url="http://127.0.0.1:1")
    assert results.PATIENCE_SECONDS - 6 < clock.now <= results.PATIENCE_SECONDS
    assert 0.25 <= clock.pauses[0] <= 0.5
    assert max(clock.pauses) <= 5.0
    assert len(clock.pauses) < 260


def test_once_the_task_shall_end_there_is_one_more_try(deliver, clock: Seconds) -> None:
    cancel = cancellation.Cancellation()
    clock_sleep = clock.sleep

    def told_meanwhile(seconds: float) -> None:
        clock_sleep(seconds)
        cancel.note()

    clock.sleep = told_meanwhile
    with pytest.raises(errors.ResultNotDelivered):
        deliver(url="http://127.0.0.1:1", cancel=cancel)
    assert len(clock.pauses) == 1


def test_without_an_api_the_size_is_told(deliver) -> None:
    with pytest.raises(errors.ResultTooLarge, match="5002 bytes of JSON; without an API"):
        deliver("a" * 5000, url="")


def test_a_base_path_and_a_slash_at_its_end_are_kept(api, deliver) -> None:
    deliver(url=f"{api.url}/base/")
    assert api.requests.get(timeout=60)[0] == "/base/runner/v1/result"

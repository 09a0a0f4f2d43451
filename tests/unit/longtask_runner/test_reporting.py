"""Reports go out in the background, the latest one, and never harm the task."""

import contextlib
import threading

import pytest

from longtask_crds import runner_contract
from longtask_runner import cancellation, reporting, runner_port

HOURS = 10_000.0


class Port:
    """Keeps reports; each waits for a permit, and fails as often as told."""

    def __init__(self, *, permits: int = 1000, failures: list[bool] | None = None) -> None:
        self.permits = threading.Semaphore(permits)
        self.arrived = threading.Semaphore(0)
        self.failures = failures or []
        self.bodies: list[dict] = []
        self.cancel = False

    def report(self, fields) -> bool:
        self.arrived.release()
        assert self.permits.acquire(timeout=60)
        self.bodies.append(dict(fields))
        if self.failures:
            raise runner_port.NotTaken("away", again=self.failures.pop(0))
        return self.cancel

    def wait(self) -> None:
        assert self.arrived.acquire(timeout=60)


def reporter_to(port: Port, *, interval: float, cancel=None) -> reporting.ThreadReporter:
    return reporting.ThreadReporter(
        lambda: port, cancel=cancel or cancellation.Cancellation(), interval=interval
    )


def test_the_first_goes_at_once_the_rest_coalesce_and_the_last_goes_at_the_end() -> None:
    port = Port()
    reporter = reporter_to(port, interval=HOURS)
    reporter.progress(1, "first")
    port.wait()
    for percent in range(2, 100):
        reporter.progress(percent, None)
    reporter.close(20)
    assert port.bodies == [{"percent": 1, "message": "first"}, {"percent": 99}]


def test_a_task_is_not_kept_waiting_by_a_slow_api() -> None:
    port = Port(permits=0)
    reporter = reporter_to(port, interval=0)
    reporter.progress(1, None)
    port.wait()
    reporter.progress(2, None)  # while the first is still under way
    reporter.progress(3, None)
    port.permits.release(10)
    reporter.close(20)
    assert port.bodies == [{"percent": 1}, {"percent": 3}]


def test_closing_gives_up_after_its_time() -> None:
    port = Port(permits=0)
    reporter = reporter_to(port, interval=0)
    reporter.progress(1, None)
    port.wait()
    reporter.close(0)
    assert port.bodies == []
    port.permits.release(10)
    reporter.close(20)


def test_nothing_new_is_not_sent_again_but_the_same_again_is_a_heartbeat() -> None:
    port = Port()
    reporter = reporter_to(port, interval=0)
    reporter.progress(5, None)
    port.wait()
    reporter.progress(5, None)
    reporter.close(20)
    reporter.close(20)
    assert port.bodies == [{"percent": 5}, {"percent": 5}]


@pytest.mark.parametrize(
    "failures",
    [pytest.param([], id="taken"), pytest.param([False, True], id="tried-again-when-it-failed")],
)
def test_a_program_that_has_reported_gives_signs_of_life(monkeypatch, failures: list[bool]) -> None:
    monkeypatch.setattr(runner_contract, "HEARTBEAT_SECONDS", 0.01)
    port = Port(failures=failures)
    reporter = reporter_to(port, interval=0)
    reporter.progress(5, "busy")
    for _ in range(4):
        port.wait()
    reporter.close(20)
    assert port.bodies[:4] == [{"percent": 5, "message": "busy"}] * 4


def test_a_failed_sign_of_life_is_not_put_off_to_the_next_one(monkeypatch) -> None:
    monkeypatch.setattr(runner_contract, "HEARTBEAT_SECONDS", 0.01)
    port = Port(permits=0, failures=[True, True])
    reporter = reporter_to(port, interval=0)
    port.wait()
    reporter._silence = HOURS
    port.permits.release(10)
    for _ in range(2):
        port.wait()
    reporter.close(20)
    assert port.bodies == [{}] * 3


def test_of_a_task_that_must_speak_itself_nobody_gives_signs_of_life(monkeypatch) -> None:
    monkeypatch.setattr(runner_contract, "HEARTBEAT_SECONDS", 0.01)
    waits: list[float | None] = []
    port = Port()
    reporter = reporting.ThreadReporter(
        lambda: port, cancel=cancellation.Cancellation(), interval=0, heartbeat=30
    )
    nudged_within = reporter._nudged_within

    def noting(seconds: float | None) -> bool:
        waits.append(seconds)
        return nudged_within(seconds)

    reporter._nudged_within = noting
    reporter.progress(5, None)
    port.wait()
    reporter.progress(6, None)
    port.wait()
    reporter.close(20)
    assert set(waits) <= {None}
    assert port.bodies == [{"percent": 5}, {"percent": 6}]


@pytest.mark.parametrize(
    ("heartbeat", "longest"),
    [
        pytest.param(None, 30, id="half-a-minute"),
        pytest.param(600, 30, id="however-long-its-silence-may-be"),
        pytest.param(15, 5, id="a-third-of-a-short-one"),
    ],
)
def test_an_api_that_is_back_hears_of_the_task_in_time(heartbeat, longest: float) -> None:
    reporter = reporting.ThreadReporter(
        Port, cancel=cancellation.Cancellation(), heartbeat=heartbeat
    )
    reporter.close(20)
    assert reporter._longest_pause == longest


@pytest.mark.parametrize(
    "news",
    [
        pytest.param([{"percent": 9, "final": True}], id="with-what-is-unsent"),
        pytest.param([{"percent": 9}, {"percent": 9, "final": True}], id="or-with-nothing-new"),
    ],
)
def test_the_final_report_says_so(news: list[dict]) -> None:
    port = Port()
    reporter = reporter_to(port, interval=HOURS)
    reporter.progress(1, None)
    port.wait()
    if len(news) > 1:
        reporter = reporter_to(port, interval=0)
    reporter.progress(9, None)
    if len(news) > 1:
        port.wait()
    reporter.close(20, final=True)
    assert port.bodies[1:] == news


def test_a_checkpoint_goes_once_progress_is_repeated() -> None:
    port = Port()
    reporter = reporter_to(port, interval=0)
    reporter.checkpoint(b'{"next":1}')
    port.wait()
    reporter.progress(5, None)
    port.wait()
    reporter.close(20)
    assert port.bodies == [{"checkpoint": {"next": 1}}, {"percent": 5}]


def test_a_null_checkpoint_is_one() -> None:
    port = Port()
    reporter = reporter_to(port, interval=0)
    reporter.checkpoint(b"null")
    reporter.close(20)
    assert port.bodies == [{"checkpoint": None}]


def test_an_api_that_is_away_gets_the_latest_when_it_is_back(capsys) -> None:
    port = Port(failures=[True, True])
    reporter = reporter_to(port, interval=0)
    reporter.checkpoint(b"1")
    for _ in range(3):
        port.wait()
    reporter.close(20)
    assert port.bodies == [{"checkpoint": 1}] * 3
    assert capsys.readouterr().err.count("progress was not reported: away") == 1


def test_a_refused_report_is_not_repeated() -> None:
    port = Port(failures=[False])
    reporter = reporter_to(port, interval=0)
    reporter.progress(1, None)
    port.wait()
    reporter.progress(2, None)
    port.wait()
    reporter.close(20)
    assert port.bodies == [{"percent": 1}, {"percent": 2}]


def test_the_answer_may_ask_the_task_to_end() -> None:
    cancel = cancellation.Cancellation()
    port = Port()
    port.cancel = True
    reporter = reporter_to(port, interval=0, cancel=cancel)
    reporter.progress(1, None)
    assert cancel.wait(20)
    reporter.close(20)


def test_reports_reach_a_real_server(api, pod) -> None:
    cancel = cancellation.Cancellation()
    reporter = reporting.connect(url=api.url, token_file=str(pod.token), cancel=cancel)
    api.answers.put((200, b'{"cancelRequested": true}'))
    reporter.progress(40, "\u00fcber")
    path, headers, body = api.requests.get(timeout=60)
    assert cancel.wait(20)
    reporter.close(20)
    assert path == "/runner/v1/progress"
    assert headers["Authorization"] == "Bearer a-token"
    assert body == {"percent": 40, "message": "\u00fcber"}


def test_the_token_is_read_again_for_each_report(api, pod) -> None:
    port = runner_port.RunnerPort(url=api.url + "/", token_file=str(pod.token))
    port.report({})
    pod.token.write_text("another-token")
    port.report({})
    tokens = [api.requests.get(timeout=60)[1]["Authorization"] for _ in range(2)]
    assert tokens == ["Bearer a-token", "Bearer another-token"]


@pytest.mark.parametrize(
    ("status", "again"),
    [
        pytest.param(500, True, id="an-error-of-the-api-passes"),
        pytest.param(503, True, id="so-does-its-absence"),
        pytest.param(429, True, id="so-does-a-crowd"),
        pytest.param(401, False, id="a-refused-token-does-not"),
        pytest.param(409, True, id="a-pod-that-is-not-recorded-yet-will-be"),
        pytest.param(302, False, id="a-redirect-is-not-followed"),
    ],
)
def test_a_status_says_whether_to_repeat(api, pod, status: int, again: bool) -> None:
    api.answers.put((status, b""))
    with pytest.raises(runner_port.NotTaken) as caught:
        runner_port.RunnerPort(url=api.url, token_file=str(pod.token)).report({})
    assert caught.value.again is again


@pytest.mark.parametrize(
    ("before", "seconds", "again"),
    [
        pytest.param([409], 9.9, True, id="a-new-pod-may-not-be-recorded-for-some-seconds"),
        pytest.param([409], 10.0, False, id="but-not-for-longer"),
        pytest.param([409, 200], 1.0, False, id="who-was-heard-once-is-not-new"),
    ],
)
def test_a_conflict_passes_while_the_pod_is_new(
    api, pod, before: list[int], seconds: float, again: bool
) -> None:
    now = 0.0
    port = runner_port.RunnerPort(url=api.url, token_file=str(pod.token), clock=lambda: now)
    for status in before:
        api.answers.put((status, b""))
        with contextlib.suppress(runner_port.NotTaken):
            port.report({})
    now = seconds
    api.answers.put((409, b""))
    with pytest.raises(runner_port.NotTaken) as caught:
        port.report({})
    assert caught.value.again is again


def test_the_end_waits_for_no_pod_to_be_recorded(api, pod) -> None:
    port = runner_port.RunnerPort(url=api.url, token_file=str(pod.token))
    for _ in range(2):
        api.answers.put((409, b""))
    reporter = reporting.ThreadReporter(
        lambda: port, cancel=cancellation.Cancellation(), interval=HOURS
    )
    reporter.progress(1, None)
    assert api.next_body() == {"percent": 1}
    reporter.progress(2, None)
    reporter.close(20)
    assert api.next_body() == {"percent": 2}
    assert api.requests.empty()


def test_who_reports_once_before_it_is_recorded_is_heard_later(api, pod) -> None:
    port = runner_port.RunnerPort(url=api.url, token_file=str(pod.token))
    for _ in range(2):
        api.answers.put((409, b""))
    reporter = reporting.ThreadReporter(
        lambda: port, cancel=cancellation.Cancellation(), interval=0
    )
    reporter.progress(40, None)
    assert [api.next_body() for _ in range(3)] == [{"percent": 40}] * 3
    reporter.close(20)
    assert api.requests.empty()


@pytest.mark.parametrize("answer", [b"", b"no json", b"[]", b'{"cancelRequested": "yes"}', b"\xff"])
def test_a_strange_answer_cancels_nothing(api, pod, answer: bytes) -> None:
    api.answers.put((200, answer))
    assert runner_port.RunnerPort(url=api.url, token_file=str(pod.token)).report({}) is False


def test_no_token_and_no_server_are_failures_to_repeat(api, pod) -> None:
    with pytest.raises(runner_port.NotTaken, match="FileNotFoundError"):
        runner_port.RunnerPort(url=api.url, token_file="/nowhere").report({})
    with pytest.raises(runner_port.NotTaken, match="ConnectionRefusedError") as caught:
        runner_port.RunnerPort(url="http://127.0.0.1:1", token_file=str(pod.token)).report({})
    assert caught.value.again

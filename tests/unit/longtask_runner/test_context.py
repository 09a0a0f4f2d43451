"""What a task tells, and what it is told."""

import pathlib
import threading

import pytest

from longtask_runner import Context, cancellation, context, testing


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [
        pytest.param(0, 10, 0, id="nothing"),
        pytest.param(1, 3, 33, id="rounded-down"),
        pytest.param(999, 1000, 99, id="not-yet-all"),
        pytest.param(10, 10, 100, id="all"),
        pytest.param(11, 10, 100, id="never-above-100"),
        pytest.param(-1, 10, 0, id="never-below-0"),
        pytest.param(0, 0, 100, id="nothing-to-do-is-done"),
        pytest.param(42, None, 42, id="without-a-total-it-is-a-percentage"),
        pytest.param(42.9, None, 42, id="rounded-down-as-well"),
        pytest.param(float("inf"), None, 100, id="infinity"),
        pytest.param(float("nan"), 10, None, id="not-a-number"),
        pytest.param(2**100, 2**101, 50, id="large-integers"),
    ],
)
def test_percent(done: float, total: float | None, percent: int | None) -> None:
    assert context.to_percent(done, total) == percent


def test_progress_and_checkpoints_reach_the_reporter() -> None:
    reporter = testing.MemoryReporter()
    ctx = Context(connect=lambda: reporter)
    ctx.progress(1, 4, "one of four")
    ctx.checkpoint({"next": 2})
    ctx.progress(2, 4)
    assert reporter.percents == [25, 50]
    assert reporter.messages == ["one of four", None]
    assert reporter.checkpoints == [{"next": 2}]


def test_a_plain_context_reports_to_nobody() -> None:
    ctx = Context()
    ctx.progress(1, 2)
    ctx.checkpoint([1])
    ctx.close(0)
    assert (ctx.saved_checkpoint, ctx.cancel_requested) == (None, False)


def test_nobody_is_connected_to_before_there_is_something_to_tell() -> None:
    def connect() -> testing.MemoryReporter:
        pytest.fail("connected")

    Context(connect=connect).close(0)


def test_many_threads_that_report_first_share_one_reporter() -> None:
    reporters: list[testing.MemoryReporter] = []
    coming = threading.Semaphore(0)
    all_have_come = threading.Event()

    def connect() -> testing.MemoryReporter:
        # Whoever is first stays here until all the others are on their way in.
        assert all_have_come.wait(20)
        reporters.append(testing.MemoryReporter())
        return reporters[-1]

    ctx = Context(connect=connect)

    def report(percent: int) -> None:
        coming.release()
        ctx.progress(percent)

    threads = [threading.Thread(target=report, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert coming.acquire(timeout=60)
    all_have_come.set()
    for thread in threads:
        thread.join(60)
    (reporter,) = reporters
    assert sorted(reporter.percents) == list(range(50))


def test_a_long_message_is_cut() -> None:
    reporter = testing.MemoryReporter()
    Context(connect=lambda: reporter).progress(1, message="a" * 5000)
    assert reporter.messages == ["a" * 1024]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", None, id="an-empty-file-is-none"),
        pytest.param("\n", None, id="so-is-an-empty-line"),
        pytest.param('{"next": 2}', {"next": 2}, id="json"),
    ],
)
def test_the_saved_checkpoint_is_read(tmp_path: pathlib.Path, text: str, value: object) -> None:
    file = tmp_path / "checkpoint.json"
    file.write_text(text)
    assert Context(checkpoint_file=str(file)).saved_checkpoint == value


def test_waiting_ends_when_the_task_shall_end() -> None:
    cancel = cancellation.Cancellation()
    ctx = Context(cancel=cancel)
    assert not ctx.wait(0)
    cancel.request()
    assert ctx.wait(3600)
    assert ctx.cancel_requested


def test_a_noted_wish_ends_the_next_wait() -> None:
    cancel = cancellation.Cancellation()
    cancel.note()
    assert cancel.wait(3600)

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from longtask_adapters import logs


@pytest.fixture(autouse=True)
def _root_logger_is_left_as_it_was() -> Iterator[None]:
    root, quiet = logging.getLogger(), logging.getLogger("chatty")
    handlers, level, of_quiet = root.handlers[:], root.level, quiet.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    quiet.setLevel(of_quiet)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    logging.getLogger().handlers[0].flush()
    told = capsys.readouterr()
    assert told.err == ""
    return [json.loads(line) for line in told.out.splitlines()]


def test_a_record_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    logging.getLogger("a.b").warning("Made %s\nJobs", 3, extra={"task": "t", "kind": logs})
    (line,) = lines(capsys)
    timestamp = line.pop("timestamp")
    assert timestamp.endswith("Z")
    assert line == {
        "message": "Made 3\nJobs",
        "level": "warning",
        "logger": "a.b",
        "task": "t",
        "kind": str(logs),
    }


def test_an_exception_is_told_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    try:
        raise KeyError("a mistake")
    except KeyError:
        logging.getLogger("a").exception("Failed")
    (line,) = lines(capsys)
    assert line["message"] == "Failed"
    assert "Traceback" in line["exception"]
    assert "a mistake" in line["exception"]


def test_a_part_adds_what_only_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["request_id"] = "r"
        return event

    logs.configure("INFO", add)
    logging.getLogger("a").info("Served")
    (line,) = lines(capsys)
    assert (line["message"], line["request_id"]) == ("Served", "r")


@pytest.mark.parametrize(
    ("logger", "level", "told"),
    [
        pytest.param("a", logging.INFO, True, id="as-severe-as-was-asked-for"),
        pytest.param("a", logging.DEBUG, False, id="less-severe"),
        pytest.param("chatty.part", logging.INFO, False, id="of-a-library-that-talks-much"),
        pytest.param("chatty.part", logging.WARNING, True, id="which-may-warn"),
    ],
)
def test_what_is_logged(
    capsys: pytest.CaptureFixture[str], logger: str, level: int, told: bool
) -> None:
    logs.configure("INFO", quiet=["chatty"])
    logging.getLogger(logger).log(level, "x")
    assert bool(lines(capsys)) is told


def test_lines_say_what_all_of_them_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    logger = logging.getLogger("a")
    logs.add(lost="x")  # nothing is going on
    with logs.about(task="t", uid="u"):
        logger.info("First")
        with logs.about(uid="v"):
            logs.add(step="s")
            logger.info("Second", extra={"uid": "own"})
        logger.info("Third")
    logger.info("Fourth")
    said = [{k: line.get(k) for k in ("task", "uid", "step", "lost")} for line in lines(capsys)]
    assert said == [
        {"task": "t", "uid": "u", "step": None, "lost": None},
        {"task": "t", "uid": "own", "step": "s", "lost": None},
        {"task": "t", "uid": "u", "step": None, "lost": None},
        {"task": None, "uid": None, "step": None, "lost": None},
    ]


async def test_what_is_started_meanwhile_says_so_to_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("INFO")
    go = asyncio.Event()

    async def errand() -> None:
        await go.wait()
        logging.getLogger("a").info("Late")

    with logs.about(uid="u"):
        started = asyncio.create_task(errand())
    go.set()
    await started
    assert lines(capsys)[0]["uid"] == "u"


class Stream(io.StringIO):
    """Counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.was_flushed = threading.Event()

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def flush(self) -> None:
        self.was_flushed.set()


def record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("a", level, "", 0, message, None, None)


def test_lines_that_come_together_are_written_at_once_and_in_order() -> None:
    stream = Stream()
    handler = logs.Lines(stream)
    for number in range(100):
        handler.handle(record(str(number)))
    assert stream.was_flushed.wait(10)
    handler.flush()
    assert stream.getvalue().splitlines() == [str(number) for number in range(100)]
    assert stream.writes < 50


def test_who_logs_in_the_midst_of_a_line_is_heard() -> None:
    """As a finalizer may, which the collector runs whenever it likes."""

    class Nested(Stream):
        def write(self, text: str) -> int:
            if "outer" in text:
                handler.handle(record("inner", logging.ERROR))
            return super().write(text)

    stream = Nested()
    handler = logs.Lines(stream)
    running = threading.Thread(
        target=handler.handle, args=(record("outer", logging.ERROR),), daemon=True
    )
    running.start()
    running.join(60)
    assert not running.is_alive()
    assert sorted(stream.getvalue().split()) == ["inner", "outer"]


def test_a_warning_is_written_at_once_after_all_that_came_before_it() -> None:
    stream = Stream()
    handler = logs.Lines(stream)
    handler.handle(record("first"))
    handler.handle(record("second", logging.WARNING))
    assert stream.getvalue() == "first\nsecond\n"


def test_what_was_logged_last_is_written_when_the_process_ends() -> None:
    program = "from longtask_adapters import logs; logs.configure('INFO')\n"
    program += "import logging; logging.getLogger('a').info('Goodbye')"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(told.stdout)["message"] == "Goodbye"

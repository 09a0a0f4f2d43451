"""Inputs against the JSON Schemas of their types, whatever these are: no schema stops who asks.

Schemas are written by whoever may write types, and a few lines of one can keep any validator busy
for ever. What validates is compiled and cannot be interrupted, so it has a process of its own
(`schema_judge`), which begins at the first question and ends with ours or with a question that
takes too long. The answer is a function of schema and value all the same.
"""

import atexit
import dataclasses
import hashlib
import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longtask_crds import names
from longtask_crds.acceptance.rules import MAX_FINDINGS

#: Of processor time: more than a hundred times what the largest input takes of a sensible schema.
SECONDS = 0.5
#: By the clock, in case the process neither runs nor ends.
WALL_SECONDS = 10.0
#: What a schema has that took too long a moment ago. Others' inputs need less, and pass.
HASTY_SECONDS = 0.02
#: So often it may, and is not asked for the rest of the minute: what asks stands still meanwhile.
MOST_OVERRUNS = 5
FORGIVEN_AFTER_SECONDS = 60.0
#: So many values that fit are known by their sums. A task is judged in each pass until it runs, and
#: a question is a turn of another process, which waits for a core as long as all others do.
MOST_KNOWN = 4096

_PROGRAM = Path(__file__).with_name("schema_judge.py")


class Unusable(ValueError):
    """A schema that nothing can be held against; its words are for people."""


class Overrun(Unusable):
    """An input takes too much to hold against the schema, or too many have lately."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing in which a value does not fit."""

    path: list[str | int]
    message: str


def findings(schema: dict[str, Any], value: Any) -> list[Finding]:
    """Return in what a value does not fit a schema, in the order of its places.

    Raises:
        Unusable: Nothing can be held against the schema, or not in a bounded time.
    """
    try:
        # Of strangers where no property is known the library names none, and of others each.
        of_schema, of_value = json.dumps({"properties": {}, **schema}), json.dumps(value)
    except RecursionError:
        raise Unusable("it, or an input, is nested too deeply") from None
    answer = _JUDGE.answer(of_schema, of_value)
    if "unusable" in answer:
        raise Unusable(answer["unusable"])
    return [Finding(path, message) for path, message in answer["findings"]]


class Judge:
    """The process that validates, and how far each schema is trusted with it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        #: How often a schema took too long, and since when that counts.
        self._overruns: dict[str, tuple[int, float]] = {}
        self._fit: dict[bytes, None] = {}  #: sums of a schema and a value, the oldest first

    def answer(self, schema: str, value: str) -> dict[str, Any]:
        """Return what the process says; a schema that ends it is unusable.

        Raises:
            Overrun: It ended over it.
        """
        question = hashlib.blake2b(f"{schema}\n{value}".encode(), digest_size=16).digest()
        with self._lock:
            if question in self._fit:
                return {"findings": []}
            before = self._overruns_of(schema)
            if before < MOST_OVERRUNS:
                seconds = HASTY_SECONDS if before else SECONDS
                said = self._ask(json.dumps([schema, value, seconds]).encode() + b"\n")
                if said is not None:
                    answer: dict[str, Any] = json.loads(said)
                    if answer == {"findings": []}:
                        self._note_fit(question)
                    return answer
                self._note_overrun(schema, before)
        raise Overrun("an input takes too much time or memory to hold against it")

    def _ask(self, line: bytes) -> bytes | None:
        """Return a line for a line, or None if the process ended over it."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            given = (sys.getrecursionlimit(), MAX_FINDINGS, names.MESSAGE_MAX)
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM), *map(str, given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Of what ends it we tell ourselves; to find its own words, Rust may wait for ever.
                stderr=subprocess.DEVNULL,
                # Nothing of ours: it looks at what strangers wrote.
                env={"RUST_BACKTRACE": "0"},
                # What a terminal sends is for us, and we ask it until our end.
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            answers = select.poll()
            answers.register(self._process.stdout, select.POLLIN)
            if answers.poll(WALL_SECONDS * 1000) and (said := self._process.stdout.readline()):
                return said
        except BrokenPipeError:
            pass
        except BaseException:
            # What it would still say is no answer to the next question.
            self.close()
            raise
        self.close()
        return None

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _overruns_of(self, schema: str) -> int:
        overruns, since = self._overruns.get(schema, (0, 0.0))
        if self._clock() - since < FORGIVEN_AFTER_SECONDS:
            return overruns
        self._overruns.pop(schema, None)
        return 0

    def _note_fit(self, question: bytes) -> None:
        self._fit[question] = None
        if len(self._fit) > MOST_KNOWN:
            del self._fit[next(iter(self._fit))]

    def _note_overrun(self, schema: str, before: int) -> None:
        since = self._overruns[schema][1] if before else self._clock()
        self._overruns[schema] = (before + 1, since)
        if len(self._overruns) > 256:
            del self._overruns[next(iter(self._overruns))]


_JUDGE = Judge()
atexit.register(_JUDGE.close)

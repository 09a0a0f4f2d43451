"""What somebody new does, one thing after the other, on a real terminal and with the real API."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import terminal_support
from api_support import TOKEN
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import settings
from longtask_crds import names, v1alpha1
from longtask_crds.testing import FINISHED, a_condition
from longtask_crds.v1alpha1 import Phase
from terminal_support import CTRL_C, Terminal
from transcript_support import Installation, Meanwhile

PASSWORD = "correct horse battery"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "token").write_text(TOKEN)
    kubernetes = MemoryKubernetes()
    kubernetes.put(names.LONGTASKQUEUES, "default", spec={"maxRunning": 2})
    kubernetes.put(names.LONGTASKTYPES, "fibonacci", spec={"inputSchema": {"type": "object"}})
    configured = settings.Settings(
        token_file=tmp_path / "token", data_directory=tmp_path, registration="open"
    )
    with Installation(kubernetes, configured) as running:
        yield running


class Person:
    """Somebody with a shell, and a configuration of their own."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._installation = installation
        self._environment = {
            "HOME": str(folder),
            "KUBECONFIG": "",
            "LONGTASK_CONFIG": str(folder / "config.yaml"),
            "LONGTASK_CONTEXT": "",
            "LONGTASK_TOKEN": "",
            "LONGTASK_URL": "",
        }

    def runs(self, *words: str) -> contextlib.AbstractContextManager[Terminal]:
        """Let them run a command."""
        return terminal_support.terminal(*words, **self._environment)

    def does(self, *words: str) -> str:
        """Let them run one that asks nothing and ends well; return what it shows."""
        with self.runs(*words) as terminal:
            assert terminal.end() == 0, terminal.shown
            return terminal.shown

    def sees(self, name: str, **status: Any) -> None:
        """Let something become of a task meanwhile."""
        self._installation.happen(Meanwhile("", name, status))

    def sees_progress(self, name: str, percent: int) -> None:
        """Let a task run, and have come so far."""
        begun = {"startedAt": "2026-01-02T03:04:07Z"}
        attempts = [{"number": 1, "jobName": f"{name}-1"} | begun]
        progress = {"percent": percent, "message": f"at {percent} of 100"}
        status = begun | {"attempt": 1, "attempts": attempts, "progress": progress}
        self.sees(name, phase="Running", **status)

    def sees_end(self, name: str, phase: Phase, message: str) -> None:
        """Let a task end."""
        is_well = phase is Phase.SUCCEEDED
        succeeded = a_condition(
            v1alpha1.ConditionType.SUCCEEDED,
            v1alpha1.ConditionStatus.TRUE if is_well else v1alpha1.ConditionStatus.FALSE,
            reason=v1alpha1.Reason.COMPLETED if is_well else v1alpha1.Reason.PROGRAM_FAILED,
            message=message,
        )
        conditions = [FINISHED.to_json(), succeeded.to_json()]
        at = "2026-01-02T03:04:35Z"
        self.sees(name, phase=phase, finishedAt=at, conditions=conditions)


@pytest.fixture
def person(installation: Installation, tmp_path: Path) -> Person:
    return Person(installation, tmp_path)


@pytest.fixture
def ann(installation: Installation, person: Person) -> Person:
    """Ann has registered and logged in, with her password typed."""
    url = str(installation.at)
    with person.runs("--url", url, "register", "-u", "ann", "--email", "ann@a.test") as terminal:
        terminal.until("Password: $")
        terminal.type(f"{PASSWORD}\n")
        terminal.until("Password, again: $")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0, terminal.shown
        assert PASSWORD not in terminal.raw
    with person.runs("login", url, "-u", "ann") as terminal:
        terminal.until("Password: $")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0, terminal.shown
        assert "Logged in as ann" in terminal.shown
        assert PASSWORD not in terminal.raw
    return person


def test_a_password_is_typed_unseen_and_taken_as_it_is_typed(
    installation: Installation, ann: Person
) -> None:
    with ann.runs("password") as terminal:
        terminal.until("Password")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    with ann.runs("login", str(installation.at), "-u", "ann") as terminal:
        terminal.until("Password: $")
        terminal.type("another one\n")
        assert terminal.end() == 7
    with ann.runs("login", str(installation.at), "-u", "ann") as terminal:
        terminal.until("Password: $")
        terminal.type("\n")
        assert terminal.end() == 2
        assert "the password is empty" in terminal.shown


def test_tasks_are_handed_over_watched_and_tried_again(ann: Person) -> None:
    with ann.runs("submit", "fibonacci", "n=30", "--name", "first", "--watch") as terminal:
        terminal.until("first .*Pending, place 1")
        ann.sees_progress("first", 40)
        terminal.until("first .*━.* 40% .*Running, at 40 of 100")
        ann.sees_end("first", Phase.SUCCEEDED, "done")
        assert terminal.end() == 0, terminal.shown
        assert terminal.shown.endswith("first succeeded after 30s\nfirst\n")

    for name in ("one", "other"):
        ann.does("submit", "fibonacci", "n=30", "--name", name)
    with ann.runs("wait", "one", "other") as terminal:
        # Both at once, one below the other.
        terminal.until("one .*Pending, place 1 *\n.*other .*Pending, place 2")
        ann.sees_progress("one", 20)
        ann.sees_progress("other", 70)
        terminal.until("one .*━.* 20% .*\n.*other .*━.* 70% ")
        ann.sees_end("other", Phase.FAILED, "no such font")
        terminal.until("one .* 20% .*\n.*✗ other .*Failed")
        ann.sees_end("one", Phase.SUCCEEDED, "done")
        assert terminal.end() == 1, terminal.shown
        assert "other failed after 30s: ProgramFailed: no such font" in terminal.shown

    shown = ann.does("retry", "other", "--name", "again")
    assert shown.endswith("again is Pending (queue default, place 1)\nagain\n")


def test_top_is_drawn_again_and_leaves_the_terminal_as_it_was(ann: Person) -> None:
    ann.does("submit", "fibonacci", "n=30", "--name", "one")
    ann.sees_progress("one", 20)
    with ann.runs("top", "--interval", "0.5") as terminal:
        terminal.until("1 at work, 0 waiting")
        terminal.until("one .*██░░░░░░░░ 20%")
        ann.sees_progress("one", 70)
        terminal.until("one .*███████░░░ 70%")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        # Of the two pages of a terminal the other one is shown again, with its cursor.
        steered = [terminal.raw.rfind(word) for word in ("\x1b[?1049h", "\x1b[?1049l")]
        assert -1 < steered[0] < steered[1]
        assert terminal.raw.rfind("\x1b[?25l") < terminal.raw.rfind("\x1b[?25h")
        assert "Traceback" not in terminal.shown

"""Names that are made fit where Kubernetes wants them; the same facts give the same Job's name."""

import re

import pytest

from longtask_crds import names


def test_a_key_reads_as_people_write_it() -> None:
    key = names.ObjectKey("tasks", "report")
    assert str(key) == "tasks/report"
    assert key == ("tasks", "report")


@pytest.mark.parametrize("name", ["a", "a" * names.TASK_NAME_MAX, "a" * 200])
def test_a_jobs_name_fits_into_a_label(name: str) -> None:
    found = names.job_name(name, "uid-1", attempt=2**31)
    assert len(found) <= 63
    assert re.fullmatch(names.DNS_LABEL_PATTERN, found)


def test_a_jobs_name_never_changes() -> None:
    # Jobs of an older version are found by it.
    assert names.job_name("report", "uid-1", attempt=1) == "report-hgrusigz5h"


def test_bytes_become_letters_without_padding() -> None:
    assert names.letters(b"ab") == "mfra"
    assert names.letters(b"\0" * 5) == "aaaaaaaa"


def test_each_attempt_step_and_task_has_a_job_name_of_its_own() -> None:
    found = {
        names.job_name("report", uid, attempt=attempt, step=step)
        for uid in ("a", "b")
        for attempt in (1, 2, 11)
        for step in ("", "one")
    }
    assert len(found) == 12


@pytest.mark.parametrize(
    ("stem", "begins"),
    [
        pytest.param("fibonacci", "fibonacci-", id="the-stem-comes-first"),
        pytest.param("a" * 63, "a" * 43 + "-", id="a-long-stem-is-cut"),
        pytest.param("a" * 42 + "-b", "a" * 42 + "-", id="a-cut-at-a-dash-leaves-one-dash"),
    ],
)
def test_a_made_up_name_is_a_tasks_name(stem: str, begins: str) -> None:
    name = names.made_up(stem)
    assert re.fullmatch(re.escape(begins) + "[a-z2-7]{8}", name)
    assert len(name) <= names.TASK_NAME_MAX
    assert name != names.made_up(stem)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        pytest.param("nightly", "nightly", id="a-given-name-gets-an-ending"),
        pytest.param("sleep-abcdef23", "sleep", id="a-made-up-ending-gives-way"),
        pytest.param("sleep-abcdef19", "sleep-abcdef19", id="what-no-letters-are-stays"),
        pytest.param("a" * 52, "a" * 43, id="a-long-name-is-cut"),
    ],
)
def test_a_name_after_another(name: str, stem: str) -> None:
    after = names.made_up_after(name)
    assert after[:-9] == stem
    assert after != name
    assert len(after) <= names.TASK_NAME_MAX

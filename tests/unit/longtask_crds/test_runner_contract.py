"""The contract of a task's container."""

import subprocess
import sys

import pytest

from longtask_crds import runner_contract, v1alpha1
from longtask_crds.runner_contract import EXIT_CODES, ExitMeaning


@pytest.mark.parametrize(
    ("codes", "meaning"),
    [
        pytest.param([0], ExitMeaning.SUCCESS, id="zero-is-success"),
        pytest.param([75], ExitMeaning.RETRY, id="75-asks-for-another-try"),
        pytest.param([64, 65, 70, 74, 76, 78], ExitMeaning.PERMANENT, id="64-to-78-is-permanent"),
        pytest.param([1, 2, 63, 79, 126, 137, 143, 255, -1], ExitMeaning.RETRY, id="others-retry"),
    ],
)
def test_an_exit_code_has_one_meaning(codes: list[int], meaning: ExitMeaning) -> None:
    assert all(runner_contract.classify_exit(code) is meaning for code in codes)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param("ResultTooLarge: 5000 bytes", "ResultTooLarge", id="a-reason-of-the-runner"),
        pytest.param("InvalidInput:", "InvalidInput", id="without-more-words"),
        pytest.param("InvalidInput: a: b", "InvalidInput", id="with-a-colon-in-its-words"),
        pytest.param("ValueError: no", None, id="an-exception-of-the-task"),
        pytest.param("ResultTooLarge", None, id="no-colon"),
        pytest.param("Result: ResultTooLarge: x", None, id="not-at-the-beginning"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_message_may_begin_with_a_reason(message: str, reason: str | None) -> None:
    assert runner_contract.reason_from_message(message) == reason


def test_all_reasons_have_an_exit_code_and_are_conditions_reasons() -> None:
    names = {value for key, value in vars(runner_contract.RunnerReason).items() if key.isupper()}
    assert names == set(EXIT_CODES)
    assert names <= set(v1alpha1.Reason)


def test_reasons_are_retried_as_they_should() -> None:
    retried = {
        reason
        for reason, code in EXIT_CODES.items()
        if runner_contract.classify_exit(code) is ExitMeaning.RETRY
    }
    assert retried == {"TryAgain", "ResultNotDelivered", "Cancelled", "NoTask"}


def test_a_message_of_the_kubelets_limit_is_a_cut_one() -> None:
    assert not runner_contract.is_cut("9" * runner_contract.INLINE_RESULT_LIMIT)
    assert runner_contract.is_cut("9" * runner_contract.TERMINATION_MESSAGE_LIMIT)
    assert runner_contract.is_cut("\u00fc" * 2048)


@pytest.mark.parametrize("module", ["runner_contract", "json_values"])
def test_what_the_runner_loads_imports_nothing(module: str) -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        f"import longtask_crds.{module}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    extra = set(done.stdout.split()) - {"__future__"}
    assert extra == {"longtask_crds", f"longtask_crds.{module}"}

"""How an attempt ends: exit code and output."""

import json

import pytest

from longtask_crds import runner_contract
from longtask_runner import TaskCancelled, ending, errors


class Custom(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "code", "output"),
    [
        pytest.param(ValueError("text"), 1, b"ValueError: text", id="an-exception-is-retried"),
        pytest.param(Custom(), 1, b"Custom: ", id="without-words"),
        pytest.param(MemoryError(), 1, b"MemoryError: ", id="out-of-memory"),
        pytest.param(errors.Permanent("x"), 70, b"PermanentFailure: x", id="permanent"),
        pytest.param(errors.TryAgain("x"), 75, b"TryAgain: x", id="try-again"),
        pytest.param(
            errors.ResultNotDelivered("x"), 75, b"ResultNotDelivered: x", id="not-delivered"
        ),
        pytest.param(errors.InvalidInput("n: x"), 65, b"InvalidInput: n: x", id="invalid-input"),
        pytest.param(errors.ResultTooLarge("x"), 73, b"ResultTooLarge: x", id="too-large"),
        pytest.param(errors.InvalidResult("x"), 76, b"InvalidResult: x", id="invalid-result"),
        pytest.param(errors.AddressRefused("x"), 77, b"AddressRefused: x", id="address-refused"),
        pytest.param(errors.TaskNotFound("x"), 78, b"TaskNotFound: x", id="task-not-found"),
        pytest.param(errors.TaskNotLoadable("x"), 78, b"TaskNotLoadable: x", id="not-loadable"),
        pytest.param(TaskCancelled("x"), 143, b"Cancelled: x", id="cancelled"),
        pytest.param(KeyboardInterrupt(), 130, b"KeyboardInterrupt: ", id="control-c"),
        pytest.param(SystemExit(None), 0, b"null", id="exit-without-status-is-success"),
        pytest.param(SystemExit(0), 0, b"null", id="exit-0-is-success"),
        pytest.param(SystemExit(3), 3, b"", id="exit-3-leaves-the-log-as-message"),
        pytest.param(SystemExit(75), 75, b"", id="exit-75-is-honoured"),
        pytest.param(SystemExit(256), 1, b"", id="exit-256-does-not-become-success"),
        pytest.param(SystemExit("words"), 1, b"words", id="exit-with-words"),
        pytest.param(ValueError("a" * 2000), 1, b"ValueError: " + b"a" * 1012, id="long-words"),
    ],
)
def test_what_a_task_raises_decides(error: BaseException, code: int, output: bytes) -> None:
    end = ending.of_exception(error)
    assert (end.exit_code, end.output) == (code, output)


def test_a_value_is_success() -> None:
    end = ending.of_result({"a": 1}, lambda _: pytest.fail("delivered"))
    assert (end.exit_code, end.output, end.cancelled) == (0, b'{"a":1}', False)
    assert end.result_size == 7


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a" * 4094, id="a-byte-too-many"),
        pytest.param([{"n": n} for n in range(5000)], id="many-pieces"),
    ],
)
def test_what_does_not_fit_in_line_is_delivered_and_the_output_is_empty(value: object) -> None:
    delivered: list[bytes] = []

    def deliver(pieces) -> int:
        delivered.extend(pieces)
        return 12_345

    end = ending.of_result(value, deliver)
    assert (end.exit_code, end.output, end.result_size) == (0, b"", 12_345)
    assert json.loads(b"".join(delivered)) == value


def test_a_result_that_is_not_delivered_is_no_success() -> None:
    def deliver(_) -> int:
        raise errors.ResultNotDelivered("away")

    with pytest.raises(errors.ResultNotDelivered):
        ending.of_result("a" * 5000, deliver)


def test_each_error_class_has_the_contracts_exit_code() -> None:
    bases = [errors.TryAgain, errors.Permanent]
    classes = bases + [one for base in bases for one in base.__subclasses__()]
    reasons = {one.reason for one in classes}
    assert reasons | {"Cancelled"} == set(runner_contract.EXIT_CODES)
    for one in classes:
        message = ending.of_exception(one("x")).output.decode()
        assert runner_contract.reason_from_message(message) == one.reason

"""What can be a task."""

import functools

import pytest

from longtask_runner import decorator, task


def test_the_function_stays_what_it_is() -> None:
    def plain(n: int) -> int:
        return n + 1

    assert task(plain) is plain
    assert task(name="other")(plain) is plain
    assert plain(1) == 2


def test_a_task_knows_the_name_it_was_given() -> None:
    assert decorator.mark_of(task(lambda: None)) == ""
    assert decorator.mark_of(task(name="a-name")(lambda: None)) == "a-name"
    assert decorator.mark_of(lambda: None) is None


def variadic(*numbers: int) -> None: ...
def keywords(**numbers: int) -> None: ...
def positional(n: int, /) -> None: ...
def generator():
    yield 1


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param(variadic, id="variadic"),
        pytest.param(keywords, id="keywords"),
        pytest.param(positional, id="positional-only"),
        pytest.param(generator, id="generator"),
        pytest.param(coroutine, id="coroutine"),
        pytest.param(functools.partial(int), id="partial"),
        pytest.param(int, id="class"),
    ],
)
def test_what_has_no_named_parameters_or_no_plain_end_is_no_task(unfit) -> None:
    with pytest.raises(TypeError, match="plain function"):
        task(unfit)

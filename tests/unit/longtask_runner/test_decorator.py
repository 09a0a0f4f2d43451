"""What can be a task."""

import functools
import re

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


async def async_generator():
    yield 1


class Callable:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("unfit", "words"),
    [
        pytest.param(variadic, r"\*args or \*\*kwargs", id="variadic"),
        pytest.param(keywords, r"\*args or \*\*kwargs", id="keywords"),
        pytest.param(positional, "positional-only", id="positional-only"),
        pytest.param(generator, "is a generator", id="generator"),
        pytest.param(async_generator, "is a generator", id="async-generator"),
        pytest.param(functools.partial(int), "of the type partial", id="partial"),
        pytest.param(Callable(), "of the type Callable", id="an-object"),
    ],
)
def test_what_cannot_be_a_task_is_marked_and_says_why(unfit, words: str) -> None:
    assert decorator.mark_of(task(unfit)) == ""
    assert re.search(words, decorator.flaw_of(unfit))


@pytest.mark.parametrize("fit", [coroutine, lambda: None])
def test_a_function_has_no_flaw(fit) -> None:
    assert decorator.flaw_of(task(fit)) is None


def test_what_cannot_be_marked_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="stands on a function, not on a type"):
        task(int)

import asyncio

import pytest

from clock_support import Seconds
from longtask_api import errors
from longtask_api.remembered import Answers, Remembered


def test_a_fact_is_known_for_a_while() -> None:
    clock = Seconds()
    facts: Remembered[str, int] = Remembered(clock, 10)
    facts.keep("a", 1)
    clock.now = 9.9
    assert (facts.get("a"), facts.get("b")) == (1, None)
    clock.now = 10
    assert facts.get("a") is None


def test_only_the_last_facts_are_kept() -> None:
    facts: Remembered[int, int] = Remembered(lambda: 0.0, most=3)
    for number in (1, 2, 3, 1, 4):
        facts.keep(number, number)
    assert [facts.get(number) for number in (1, 2, 3, 4)] == [1, None, 3, 4]
    assert len(facts) == 3


class Question:
    """Is answered when it may be, by how often it was asked; or by an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times = self.at_once = self.most_at_once = 0
        self.error = error
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_end.wait()
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return self.times


def answers(clock: Seconds, *, most_kept: int = 100) -> Answers[int, int]:
    return Answers(clock, 10, at_once=3, most_waiting=8, most_kept=most_kept)


async def test_what_is_asked_at_once_is_asked_once_and_then_known() -> None:
    clock = Seconds()
    known, question = answers(clock), Question()
    waiting = [asyncio.create_task(known.get(1, question)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever began it may leave
    question.may_end.set()
    first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert others == [1] * 19
    clock.now = 9.9
    assert await known.get(1, question) == 1
    clock.now = 10
    assert await known.get(1, question) == 2


async def test_all_who_ask_at_once_get_the_error_and_the_next_one_asks_anew() -> None:
    known, question = answers(Seconds()), Question(ValueError("no"))
    question.may_end.set()
    ends = await asyncio.gather(*(known.get(1, question) for _ in range(3)), return_exceptions=True)
    assert [str(end) for end in ends] == ["no"] * 3
    question.error = None
    assert await known.get(1, question) == 2


async def test_an_error_that_nobody_waits_for_is_no_news() -> None:
    known, question = answers(Seconds()), Question(ValueError("no"))
    waiting = asyncio.create_task(known.get(1, question))
    while not question.times:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    question.may_end.set()
    while question.at_once:  # noqa: ASYNC110 - nobody is left to be told
        await asyncio.sleep(0)


async def test_few_are_asked_at_once_and_not_many_wait() -> None:
    known, question = answers(Seconds()), Question()
    waiting = [asyncio.create_task(known.get(number, question)) for number in range(10)]
    while question.at_once < 3:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    question.may_end.set()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert question.most_at_once == 3
    assert [type(end) for end in ends].count(errors.TooManyRequests) == 2


async def test_not_all_answers_are_kept() -> None:
    known, question = answers(Seconds(), most_kept=5), Question()
    question.may_end.set()
    for number in range(50):
        await known.get(number, question)
    assert len(known) == 5

import asyncio

import pytest

from longtask_api.remembered import Asked, Remembered


def test_a_fact_is_known_for_a_while() -> None:
    now = 0.0
    facts: Remembered[str, int] = Remembered(lambda: now, 10)
    facts.keep("a", 1)
    now = 9.9
    assert (facts.get("a"), facts.get("b")) == (1, None)
    now = 10
    assert facts.get("a") is None


def test_only_the_last_facts_are_kept() -> None:
    facts: Remembered[int, int] = Remembered(lambda: 0.0, most=3)
    for number in (1, 2, 3, 1, 4):
        facts.keep(number, number)
    assert [facts.get(number) for number in (1, 2, 3, 4)] == [1, None, 3, 4]
    assert len(facts) == 3


class Question:
    def __init__(self) -> None:
        self.times = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        await self.may_end.wait()
        if self.times == 2:
            raise ValueError("the second time")
        return self.times


async def test_what_is_asked_at_once_is_asked_once() -> None:
    asked: Asked[str, int] = Asked()
    question = Question()
    waiting = [asyncio.create_task(asked.answer("a", question)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever began it may leave
    question.may_end.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [1, 1, 1, 1]
    assert (question.times, len(asked)) == (1, 0)


async def test_all_who_ask_at_once_get_the_error() -> None:
    asked: Asked[str, int] = Asked()
    question = Question()
    question.times = 1
    question.may_end.set()
    answers = await asyncio.gather(
        *(asked.answer("a", question) for _ in range(3)), return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["the second time"] * 3
    assert await asked.answer("a", question) == 3


async def test_an_error_that_nobody_waits_for_is_no_news() -> None:
    asked: Asked[str, int] = Asked()
    question = Question()
    question.times = 1
    waiting = asyncio.create_task(asked.answer("a", question))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    question.may_end.set()
    while len(asked):  # noqa: ASYNC110 - nobody is left to tell
        await asyncio.sleep(0)

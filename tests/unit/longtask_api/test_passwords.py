"""What is kept of passwords, and how they are compared."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from longtask_api import errors
from longtask_api.auth import passwords
from longtask_api.auth.passwords import Passwords

WORD = "correct horse battery"


@pytest.fixture
def kept() -> Iterator[Passwords]:
    with contextlib.closing(Passwords()) as made:
        yield made


async def test_a_password_is_known_again_and_no_other(kept: Passwords) -> None:
    one, other = await kept.hash(WORD), await kept.hash(WORD)
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other
    assert await kept.check(WORD, one) == (True, None)
    assert await kept.check(WORD + " ", one) == (False, None)


async def test_what_looks_the_same_is_the_same(kept: Passwords) -> None:
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait", "cafe\u0301 au lait"
    assert await kept.check(decomposed, await kept.hash(composed)) == (True, None)


async def test_what_was_kept_by_an_older_version_is_kept_anew(kept: Passwords) -> None:
    with contextlib.closing(Passwords(memory_kib=8 * 1024)) as older:
        before = await older.hash(WORD)
    is_right, now = await kept.check(WORD, before)
    assert is_right
    assert now is not None
    assert "m=19456" in now
    assert await kept.check(WORD, now) == (True, None)
    assert await kept.check("wrong", before) == (False, None)


async def test_nobodys_password_is_as_much_work_as_anybodys(kept: Passwords) -> None:
    worked: list[str] = []
    verify = kept._hash.verify_and_update

    def noted(password: str, against: str) -> tuple[bool, str | None]:
        worked.append(against.rpartition("$")[0].rpartition("$")[0])
        return verify(password, against)

    kept._hash.verify_and_update = noted  # type: ignore[method-assign,assignment]
    assert await kept.check(WORD, None) == (False, None)
    assert await kept.check("wrong", await kept.hash(WORD)) == (False, None)
    # The same memory and passes, over a salt and a sum of the same length.
    assert worked == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2
    assert len(kept._nobodys) == len(await kept.hash(WORD))


async def test_few_are_looked_at_at_once_and_few_wait(
    kept: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_MOST_UNDER_WAY", 6)
    begun, go_on = threading.Semaphore(0), threading.Event()
    at_work: list[int] = []

    def slow(_: str) -> str:
        at_work.append(threading.get_ident())
        begun.release()
        go_on.wait(120)
        return ""

    kept._hash.hash = slow  # type: ignore[method-assign,assignment]
    asked = [asyncio.create_task(kept.hash(WORD)) for _ in range(6)]
    for _ in range(4):
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    assert len(set(at_work)) == len(at_work) == 4
    assert threading.get_ident() not in at_work
    with pytest.raises(errors.TooManyRequests):
        await kept.hash(WORD)
    go_on.set()
    assert await asyncio.gather(*asked) == [""] * 6
    assert await kept.hash(WORD) == ""

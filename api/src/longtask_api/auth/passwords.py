"""Passwords: kept as argon2id makes them, and compared beside the event loop.

One takes some hundredths of a second of a processor and 19 MiB, on purpose. So few are looked at at
once, in threads of their own, and few wait for that.
"""

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import pwdlib
from pwdlib.hashers.argon2 import Argon2Hasher

from longtask_api import errors

T = TypeVar("T")

#: What OWASP asks for at least: 19 MiB, twice.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
_AT_ONCE: Final = 4
#: More than these wait for seconds: they may as well come again.
_MOST_UNDER_WAY: Final = 40


class Passwords:
    """Makes hashes of passwords, and tells whether a password is the one."""

    def __init__(self, *, memory_kib: int = _MEMORY_KIB) -> None:
        self._hash = pwdlib.PasswordHash(
            [Argon2Hasher(time_cost=_PASSES, memory_cost=memory_kib, parallelism=1)]
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._under_way = 0
        # Of no password at all, and as much work as any other.
        salt, sum_ = (
            base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32)
        )
        self._nobodys: Final = f"$argon2id$v=19$m={memory_kib},t={_PASSES},p=1${salt}${sum_}"

    async def hash(self, password: str) -> str:
        """Return what is kept of a password.

        Raises:
            TooManyRequests: Enough others are being looked at.
        """
        return await self._beside(lambda: self._hash.hash(_plain(password)))

    async def check(self, password: str, kept: str | None) -> tuple[bool, str | None]:
        """Tell whether a password is the one that is kept.

        Args:
            password: What somebody says.
            kept: What is kept of the right one; None if there is none, which takes as long.

        Returns:
            Whether it is, and what is to be kept from now on if that is something else.

        Raises:
            TooManyRequests: Enough others are being looked at.
        """
        against = self._nobodys if kept is None else kept
        return await self._beside(lambda: self._hash.verify_and_update(_plain(password), against))

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _beside(self, work: Callable[[], T]) -> T:
        if self._under_way >= _MOST_UNDER_WAY:
            raise errors.TooManyRequests("Too many passwords are being looked at.")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def _plain(password: str) -> str:
    """Return the same text for what looks the same, whichever keyboard it comes from."""
    return unicodedata.normalize("NFKC", password)

"""All primes up to a number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from longtask_runner import Context, errors, task

LARGEST_N = 10_000_000
SEGMENT = 1 << 18


@task(name="prime-numbers")
def prime_numbers(n: int, ctx: Context) -> dict[str, object]:
    """Return all primes up to n, with progress after each segment of the sieve."""
    if not 0 <= n <= LARGEST_N:
        raise errors.InvalidInput(f"n: must be between 0 and {LARGEST_N}")
    primes: list[int] = []
    for sieved, found in segments(n):
        primes.extend(found)
        if sieved < n:  # the end speaks for itself, and a report would only delay it
            ctx.progress(sieved, n, f"{len(primes)} primes up to {sieved}")
    return {"n": n, "count": len(primes), "primes": primes}


def segments(n: int, *, size: int = SEGMENT) -> Iterator[tuple[int, Iterator[int]]]:
    """Yield the primes up to n by a segmented sieve, each time with the last number sieved."""
    divisors = sieve(math.isqrt(n)) if n > 3 else []
    for low in range(2, n + 1, size):
        high = min(low + size, n + 1)
        candidates = bytearray(b"\x01") * (high - low)
        for divisor in divisors:
            if divisor * divisor >= high:
                break
            first = max(divisor * divisor, -(-low // divisor) * divisor)
            candidates[first - low :: divisor] = bytes(len(range(first, high, divisor)))
        yield high - 1, itertools.compress(range(low, high), candidates)


def sieve(n: int) -> list[int]:
    """Return the primes up to n, for n small enough to be sieved at once."""
    candidates = bytearray(b"\x01") * (n + 1)
    candidates[:2] = b"\x00" * min(2, n + 1)
    for divisor in range(2, math.isqrt(n) + 1):
        if candidates[divisor]:
            square = divisor * divisor
            candidates[square::divisor] = bytes(len(range(square, n + 1, divisor)))
    return list(itertools.compress(range(n + 1), candidates))

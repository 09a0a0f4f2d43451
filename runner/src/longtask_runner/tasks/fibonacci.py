"""Fibonacci numbers of any size."""

from __future__ import annotations

import sys

from longtask_runner import errors, task

LARGEST_N = 100_000


@task(name="fibonacci")
def fibonacci(n: int) -> dict[str, object]:
    """Return the n-th Fibonacci number as its decimal digits."""
    if not 0 <= n <= LARGEST_N:
        raise errors.InvalidInput(f"n: must be between 0 and {LARGEST_N}")
    return {"n": n, "value": digits(number(n))}


def number(n: int) -> int:
    """Return the n-th Fibonacci number by fast doubling: one step per bit of n."""
    a, b = 0, 1  # F(k), F(k + 1) for the bits of n read so far, k = 0
    for bit in f"{n:b}":
        a, b = a * (2 * b - a), a * a + b * b  # F(2k), F(2k + 1)
        if bit == "1":
            a, b = b, a + b
    return a


def digits(value: int) -> str:
    """Return the decimal digits, however many; Python refuses more than 4300 by default."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return str(value)
    finally:
        sys.set_int_max_str_digits(limit)

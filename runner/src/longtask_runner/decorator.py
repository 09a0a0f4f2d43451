"""The decorator that makes a plain function a task."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__longtask_name__"
# From `inspect`, which is slow to import: *args, **kwargs, generators and coroutines.
_UNFIT_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200


if TYPE_CHECKING:

    @overload
    def task(function: F, /) -> F: ...
    @overload
    def task(*, name: str | None = None) -> Callable[[F], F]: ...


def task(function: Any = None, /, *, name: str | None = None) -> Any:
    """Mark a plain function as a task; the function itself stays as it is.

    Its parameters are the members of the input, checked by their annotations; a parameter annotated
    `Context` gets the context instead. What it returns is the result, as JSON.

    Args:
        function: The function, where the decorator stands without parentheses.
        name: The name of its entry point, if the two shall be checked against each other.

    Raises:
        TypeError: It is no plain function with named parameters.
    """
    if function is None:
        return lambda decorated: _mark(decorated, name or "")
    return _mark(function, name or "")


def mark_of(function: object) -> str | None:
    """Return the name given to the decorator, empty for none; None if it is no task."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, str) else None


def _mark(function: F, name: str) -> F:
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _UNFIT_FLAGS or code.co_posonlyargcount:
        raise TypeError(f"@task needs a plain function with named parameters, not {function!r}")
    setattr(function, _MARK, name)
    return function

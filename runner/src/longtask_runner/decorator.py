"""The decorator that makes a function a task."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__longtask_name__"
# The flags of a function's code, from `inspect`, which is slow to import.
_VARARGS, _VARKEYWORDS, _GENERATOR, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x200


if TYPE_CHECKING:

    @overload
    def task(function: F, /) -> F: ...
    @overload
    def task(*, name: str | None = None) -> Callable[[F], F]: ...


def task(function: Any = None, /, *, name: str | None = None) -> Any:
    """Mark a function, `def` or `async def`, as a task; the function itself stays as it is.

    Its parameters are the members of the input, checked by their annotations; a parameter annotated
    `Context` gets the context instead. What it returns is the result, as JSON.

    A function that cannot be a task is told of when it is asked for (`flaw_of`), and not here: the
    other tasks of its module are none the worse for it.

    Args:
        function: The function, where the decorator stands without parentheses.
        name: The name of its entry point, if the two shall be checked against each other.

    Raises:
        TypeError: It is nothing that can be marked.
    """
    if function is None:
        return lambda decorated: _mark(decorated, name or "")
    return _mark(function, name or "")


def mark_of(function: object) -> str | None:
    """Return the name given to the decorator, empty for none; None if it is no task."""
    mark = getattr(function, _MARK, None)
    return mark if isinstance(mark, str) else None


def flaw_of(function: object) -> str | None:
    """Return why a marked function cannot be run as a task; None if it can."""
    code = getattr(function, "__code__", None)
    if code is None:
        return f"is no function, but of the type {type(function).__name__}"
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        return "is a generator: a task returns its result once; what it yields on its way is lost"
    if code.co_flags & (_VARARGS | _VARKEYWORDS):
        return "takes *args or **kwargs: each member of the input needs a parameter of its name"
    if code.co_posonlyargcount:
        return "has positional-only parameters: the members of the input are given by name"
    return None


def _mark(function: F, name: str) -> F:
    try:
        setattr(function, _MARK, name)
    except (AttributeError, TypeError):
        what = type(function).__name__
        raise TypeError(f"@task stands on a function, not on a {what}") from None
    return function

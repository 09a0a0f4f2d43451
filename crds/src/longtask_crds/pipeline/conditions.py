"""The conditions of steps, in CEL as Kubernetes itself has them. Pure.

Needs the extra `rules` (cel-expr-python, the Python side of Google's own evaluator): it checks an
expression before anything runs, and bounds how long an evaluation may take.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel

_VARIABLES = ("input", "steps", "outcome")
#: What goes through a list. One, in an expression of 1024 characters, makes no value that is large:
#: each further one would multiply it, and the evaluator counts turns, not bytes.
_WALK = re.compile(r"\b(all|exists|exists_one|map|filter)\s*\(")
#: Names of steps as an expression has them: `steps.a`, `steps['a-b']`.
_STEP = re.compile(r"""\bsteps\s*(?:\.\s*([a-z0-9_]+)|\[\s*['"]([a-z0-9-]+)['"]\s*\])""")


class Unusable(ValueError):
    """An expression that is none, or that gives no answer; its words are for people."""


def check(expression: str) -> None:
    """See whether an expression can be a condition.

    Raises:
        Unusable: It cannot.
    """
    if _compiled(expression).return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise Unusable("a condition is true or false, and this is neither")


def steps_in(expression: str) -> frozenset[str]:
    """Return the names of the steps that an expression speaks of, as far as they stand in it."""
    return frozenset(a or b for a, b in _STEP.findall(expression))


def holds(expression: str, known: Mapping[str, Any]) -> bool:
    """Tell whether a condition is true.

    Args:
        expression: The condition.
        known: What it sees: `input`, `steps` by name, and `outcome`.

    Raises:
        Unusable: It gives no answer with that.
    """
    compiled = _compiled(expression)
    try:
        answer = compiled.eval(data={name: known.get(name) for name in _VARIABLES})
    except RuntimeError as error:  # it takes too long
        raise Unusable(_first_line(str(error))) from None
    value = answer.value()
    if answer.type() == cel.Type.ERROR:
        raise Unusable(_first_line(str(value)))
    if not isinstance(value, bool):
        raise Unusable("a condition is true or false, and this is neither")
    return value


@functools.lru_cache(maxsize=256)
def _compiled(expression: str) -> cel.Expression:
    if len(_WALK.findall(expression)) > 1:
        raise Unusable("of all, exists, exists_one, map and filter one may be used, once")
    try:
        return _environment().compile(expression)
    except RuntimeError as error:
        raise Unusable(_first_line(str(error))) from None


@functools.cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(_VARIABLES, cel.Type.DYN))


def _first_line(text: str) -> str:
    """Return what an evaluator says, without its own name for the sort of trouble."""
    line = text.strip().splitlines()[0] if text.strip() else "no answer"
    return re.sub(r"^[A-Z_]+: (ERROR: <input>:)?", "", line)[:200]

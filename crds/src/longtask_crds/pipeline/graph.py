"""Who comes before whom: the steps of a pipeline as a directed graph without circles. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from longtask_crds import v1alpha1

Needs = Mapping[str, tuple[str, ...]]


def needs(steps: Sequence[v1alpha1.Step]) -> dict[str, tuple[str, ...]]:
    """Return what each step needs directly: what it says, else the step of its sort above it.

    Steps marked `finally` are a sort of their own: they come after all others anyway.
    """
    above: dict[bool, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        sort = bool(step.finally_)
        inherited = (above[sort],) if sort in above else ()
        found[step.name] = inherited if step.needs is None else tuple(dict.fromkeys(step.needs))
        above[sort] = step.name
    return found


def before(name: str, of: Needs) -> frozenset[str]:
    """Return the steps that are over when this one begins, as its needs say; itself if in a circle.

    Args:
        name: The step.
        of: What each step needs directly; names of no step lead nowhere.
    """
    found: set[str] = set()
    ahead = list(of.get(name, ()))
    while ahead:
        step = ahead.pop()
        if step not in found and step in of:
            found.add(step)
            ahead += of[step]
    return frozenset(found)


def circle(of: Needs) -> tuple[str, ...]:
    """Return the steps of a circle, each of which needs the next and the last the first; or none.

    That is depth-first search with three colours (Cormen et al., Introduction to Algorithms).
    """
    done: set[str] = set()
    for start in of:
        path: list[str] = []
        ahead: list[tuple[str, Iterable[str]]] = []
        step: str | None = start
        while step is not None or ahead:
            if step is not None and step in path:
                return tuple(path[path.index(step) :])
            if step is not None and step not in done and step in of:
                path.append(step)
                ahead.append((step, iter(of[step])))
            if not ahead:
                break
            step = next(iter(ahead[-1][1]), None)
            if step is None:
                done.add(ahead.pop()[0])
                path.pop()
    return ()

"""A pipeline's steps as a picture: who comes after whom, from left to right. Pure.

Each step stands one column behind the last of those that it needs, and in its column near the
middle of them, so that few lines cross (Sugiyama, Tagawa and Toda, 1981: the two steps of it that
fifty nodes need).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from longtask_api.ui import groups
from longtask_api.ui.groups import Group
from longtask_crds import v1alpha1
from longtask_crds.pipeline import graph

WIDTH: Final = 136
HEIGHT: Final = 32
_GAP_X: Final = 36
_GAP_Y: Final = 14
_EDGE: Final = 8
#: How often each column is put in order by the one before it, and then by the one behind it.
_SWEEPS: Final = 4


@dataclasses.dataclass(frozen=True)
class Node:
    """A step in the picture."""

    name: str
    short: str  #: as much of the name as there is room for
    x: int
    y: int
    group: Group
    note: str  #: of one that is done for several items: how many
    is_last: bool  #: it runs when the others are over


@dataclasses.dataclass(frozen=True)
class Edge:
    """A line from a step to one that needs it."""

    path: str
    is_done: bool  #: the first one is over, so what it brings has come


@dataclasses.dataclass(frozen=True)
class Picture:
    """All of it, in pixels."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int


def of(steps: Sequence[v1alpha1.Step], statuses: Sequence[v1alpha1.StepStatus]) -> Picture:
    """Return the picture of a pipeline's steps, and of where each stands."""
    needs = _with_finals(steps, graph.needs(steps))
    columns = _columns(needs)
    places = _places(columns, needs)
    known = {status.name: status for status in statuses}
    nodes = tuple(_node(step, known.get(step.name), *places[step.name]) for step in steps)
    by_name = {node.name: node for node in nodes}
    edges = tuple(
        _edge(by_name[before], by_name[after]) for after in needs for before in needs[after]
    )
    return Picture(
        nodes,
        edges,
        width=2 * _EDGE + len(columns) * (WIDTH + _GAP_X) - _GAP_X,
        height=2 * _EDGE + max(map(len, columns)) * (HEIGHT + _GAP_Y) - _GAP_Y,
    )


def _with_finals(
    steps: Sequence[v1alpha1.Step], needs: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Let the steps that run at the end come after those that nothing else comes after."""
    finals = {step.name for step in steps if step.finally_}
    needed = {name for name, before in needs.items() if name not in finals for name in before}
    ends = tuple(s.name for s in steps if s.name not in finals and s.name not in needed)
    return {name: before or (ends if name in finals else ()) for name, before in needs.items()}


def _columns(needs: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    depth: dict[str, int] = {}
    # What is stored has no circles, so each round finds at least one.
    while len(depth) < len(needs):
        for name, before in needs.items():
            if name not in depth and all(one in depth for one in before):
                depth[name] = max((depth[one] + 1 for one in before), default=0)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for name in needs:
        columns[depth[name]].append(name)
    return columns


def _places(
    columns: list[list[str]], needs: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[int, int]]:
    """Put each column in order, and return where each step stands."""
    needed_by: dict[str, list[str]] = {name: [] for name in needs}
    for name, before in needs.items():
        for one in before:
            needed_by[one].append(name)
    tallest = max(map(len, columns))
    row = {
        name: _row(column, index, tallest)
        for column in columns
        for index, name in enumerate(column)
    }
    for _ in range(_SWEEPS):
        for ordered, neighbours in ((columns, needs), (columns[::-1], needed_by)):
            for column in ordered:
                column.sort(key=lambda name: _middle(name, neighbours[name], row))
                row |= {name: _row(column, i, tallest) for i, name in enumerate(column)}
    return {
        name: (
            _EDGE + index * (WIDTH + _GAP_X),
            _EDGE + round(row[name] * (HEIGHT + _GAP_Y)),
        )
        for index, column in enumerate(columns)
        for name in column
    }


def _row(column: Sequence[str], index: int, tallest: int) -> float:
    """Return the row of a step: a short column stands in the middle."""
    return index + (tallest - len(column)) / 2


def _middle(name: str, neighbours: Sequence[str], row: Mapping[str, float]) -> float:
    return sum(row[one] for one in neighbours) / len(neighbours) if neighbours else row[name]


def _node(step: v1alpha1.Step, status: v1alpha1.StepStatus | None, x: int, y: int) -> Node:
    note = ""
    if status is not None and status.items is not None:
        note = f"{status.succeeded or 0}/{status.items}"
    elif step.for_each is not None:
        note = "each"
    room = 11 if note else 15
    return Node(
        name=step.name,
        short=step.name if len(step.name) <= room else f"{step.name[: room - 1]}…",
        x=x,
        y=y,
        group=groups.of_step(status.phase if status else None),
        note=note,
        is_last=bool(step.finally_),
    )


def _edge(before: Node, after: Node) -> Edge:
    left, right = before.x + WIDTH, after.x
    y1, y2 = before.y + HEIGHT // 2, after.y + HEIGHT // 2
    bend = (right - left) // 2
    path = f"M{left} {y1}C{left + bend} {y1} {right - bend} {y2} {right} {y2}"
    return Edge(path, is_done=before.group is Group.SUCCEEDED)

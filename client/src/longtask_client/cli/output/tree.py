"""A task and its steps on a terminal: a tree with bars. Rich is slow to import: load it late."""

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from longtask_client import models, spans
from longtask_client.cli.output import phrases, steps, terminal
from longtask_crds.v1alpha1 import StepPhase

#: From this width on there is room for a longer bar.
_WIDE = 100
_LONG_BAR, _SHORT_BAR, _FIGURES, _GAP = 24, 12, 4, 2
_LEAST_TEXT = 8
_COLOURS = {
    StepPhase.STARTING: "cyan",
    StepPhase.RUNNING: "cyan",
    StepPhase.SUCCEEDED: "green",
    StepPhase.FAILED: "red",
    StepPhase.CANCELLED: "yellow",
    StepPhase.RETRYING: "yellow",
}
#: What stands still; what is at work has a spinner. The second one is for ASCII.
_MARKS = {
    StepPhase.SUCCEEDED: ("✓", "+"),
    StepPhase.FAILED: ("✗", "x"),
    StepPhase.CANCELLED: ("■", "x"),
    StepPhase.RETRYING: ("↻", "~"),
    StepPhase.SKIPPED: ("—", "-"),
    StepPhase.PENDING: ("·", "."),
    None: ("⋮", ":"),
}
_GUIDES = (("├─ ", "└─ ", "│  "), ("|- ", "`- ", "|  "))
_SPINNERS = (Spinner("dots"), Spinner("line"))


class Tree:
    """A task on a terminal: one line for itself, and one for each step below it.

    Args:
        task: The task; another look at it may take its place while the tree is shown.
        is_live: No line is broken, and there are no more of them than the terminal has.
        least: The first column is at least so wide, as that of others above and below.
    """

    def __init__(self, task: models.TaskView, *, is_live: bool, least: int = 0) -> None:
        self.task = task
        self._is_live = is_live
        self._least = least

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Draw it as it stands now."""
        found = steps.rows(self.task, phrases.now())
        if self._is_live:
            # One line is the task's own, and in one stands the cursor.
            found = steps.folded(found, console.size.height - 2)
        plain = options.ascii_only
        lines = [
            (before, _mark(row, plain, console.get_time()), row)
            for before, row in zip(_guides(found, plain), (_whole(self.task), *found), strict=True)
        ]
        labels = (cell_len(f"{before}{mark} {row.label}") for before, mark, row in lines)
        longest = max(self._least, *labels)
        bar = _LONG_BAR if options.max_width >= _WIDE else _SHORT_BAR
        fixed = (min(longest, options.max_width * 2 // 5), bar, _FIGURES, _FIGURES)
        rest = options.max_width - sum(fixed) - _GAP * len(fixed)
        cut: Literal["crop", "ellipsis"] = "crop" if plain else "ellipsis"
        grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for width in fixed:
            is_figure = width == _FIGURES
            side: Literal["left", "right"] = "right" if is_figure else "left"
            grid.add_column(width=width, no_wrap=True, justify=side, overflow=cut)
        grid.add_column(
            width=max(_LEAST_TEXT, rest),
            no_wrap=self._is_live,
            overflow=cut if self._is_live else "fold",
        )
        for before, mark, row in lines:
            grid.add_row(*_cells(before, mark, row, bar))
        yield grid


def draw(console: Console, task: models.TaskView) -> None:
    """Draw a task once, with all its steps."""
    console.print(Tree(task, is_live=False))


def _whole(task: models.TaskView) -> steps.Row:
    """Return the task itself as a row."""
    known = {str(phase): phase for phase in _COLOURS}
    place = None if task.queue_position is None else f"place {task.queue_position}"
    told = (str(task.phase), place, task.step if task.steps else task.message)
    return steps.Row(
        task.id,
        known.get(str(task.phase), StepPhase.RUNNING),
        percent=task.percent,
        seconds=((task.finished_at or phrases.now()) - task.created_at).total_seconds(),
        text=terminal.plain(", ".join(filter(None, told))),
    )


def _guides(found: Sequence[steps.Row], plain: bool) -> Iterator[str]:
    """Yield what leads to each row's mark: nothing to the task's own."""
    between, last, through = _GUIDES[plain]
    last_step = max((index for index, row in enumerate(found) if not row.is_item), default=0)
    yield ""
    for index, row in enumerate(found):
        if not row.is_item:
            yield last if index == last_step else between
            continue
        is_last = index + 1 == len(found) or not found[index + 1].is_item
        yield (" " * len(through) if index > last_step else through) + (
            last if is_last else between
        )


def _mark(row: steps.Row, plain: bool, at: float) -> str:
    return _MARKS[row.phase][plain] if row.phase in _MARKS else str(_SPINNERS[plain].render(at))


def _cells(before: str, mark: str, row: steps.Row, bar: int) -> Iterator[RenderableType]:
    colour = _COLOURS.get(row.phase, "dim") if row.phase is not None else "dim"
    is_dim = colour == "dim"
    yield Text.assemble((before, "dim"), (f"{mark} ", colour), (row.label, "dim" if is_dim else ""))
    yield "" if is_dim else _bar(row, bar, colour)
    yield "" if is_dim or row.percent is None else phrases.percent(row.percent)
    yield Text("" if row.seconds is None else spans.span(row.seconds), "dim")
    attempt = f"attempt {row.attempt}" if row.attempt > 1 else ""
    calm = "" if colour in ("cyan", "green") else colour
    yield Text(", ".join(filter(None, (attempt, row.text))), calm)


def _bar(row: steps.Row, width: int, colour: str) -> RenderableType:
    is_over = row.phase is not None and row.phase.is_terminal
    if row.percent is None and is_over:
        return ""
    # Without a total the bar moves to and fro: nobody knows how far it is.
    return ProgressBar(
        total=None if row.percent is None else 100,
        completed=row.percent or 0,
        width=width,
        complete_style=colour,
        finished_style=colour,
        pulse_style=colour,
    )

"""How far long work is: a bar with the time left on a terminal, a line now and then elsewhere, dumb terminals too."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from freshd.wording import duration

_LINE_EVERY_S = 5.0
_NAME_CELLS, _BAR_CELLS = 22, 16


class ProgressTalk:
    """Shows progress while it is a context; nothing at all for work that is over at once."""

    def __init__(self, console: Console, unit: str = "documents") -> None:
        """Talk on a console, or say nothing on it that a quick run would not want.

        Args:
            console: Where it is shown.
            unit: What is counted.

        """
        self._console = console
        self._can_draw = console.is_terminal and not console.is_dumb_terminal
        self._unit = unit
        self._bars = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=_NAME_CELLS),
            ),
            BarColumn(_BAR_CELLS),
            MofNCompleteColumn(),
            TextColumn(f"{unit}, left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self._can_draw,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._said_s: dict[str, float] = {}

    def __enter__(self) -> "ProgressTalk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Hear how far the work called `name` is."""
        now_s = time.monotonic()
        began_s, began_with = self._began.setdefault(name, (now_s, done))
        if self._can_draw:
            if name not in self._tasks and total:
                self._bars.start()  # no sooner: drawn ten times a second, they wipe out a question that stands there
                self._tasks[name] = self._bars.add_task(name, total=total, completed=done)
            if name in self._tasks:
                self._bars.update(self._tasks[name], completed=done, total=total)
        elif now_s - self._said_s.setdefault(name, now_s) >= _LINE_EVERY_S:
            self._said_s[name] = now_s
            pace_s = (now_s - began_s) / (done - began_with) if done > began_with else None
            left = f", about {duration(pace_s * (total - done))} left" if pace_s else ""
            self._console.print(f"{name}: {done:,} of {total:,} {self._unit}{left}", markup=False, soft_wrap=True)

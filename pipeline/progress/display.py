"""Where progress is shown: on a terminal, as lines in a log, or nowhere."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pipeline.progress.tally import Tally

_FIRST, _LONGEST = 10.0, 120.0  # seconds between two lines of a log: more and more, so that a log stays short

log = logging.getLogger(__name__)


class Display(Protocol):
    """What shows progress."""

    def show(self, tallies: Sequence[Tally]) -> None:
        """Show how far the work is."""

    def close(self) -> None:
        """Leave the last state and no more."""


class Silent:
    """Shows nothing."""

    def show(self, tallies: Sequence[Tally]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Have nothing to leave."""


class Lines:
    """Lines in a log: when some work has ended, and now and then before.

    Args:
        clock: The time, seconds.
        first: Time before the first line about work that goes on, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, first: float = _FIRST) -> None:
        self._clock, self._pause = clock, first
        self._last = clock()
        self._said: dict[str, tuple[float, int]] = {}
        self._ended: set[str] = set()

    def show(self, tallies: Sequence[Tally]) -> None:
        """Write the lines that are due."""
        due = self._clock() - self._last >= self._pause
        for tally in tallies:
            state = (tally.done + tally.part, tally.failed)
            if tally.ended is None:
                self._ended.discard(tally.name)
            has_news = tally.began is not None and self._said.get(tally.name) != state
            ends = tally.ended is not None and tally.name not in self._ended
            if ends or (due and has_news):
                self._say(tally, state)
        if due:
            self._last, self._pause = self._clock(), min(2 * self._pause, _LONGEST)

    def close(self) -> None:
        """Have nothing to leave: what ended was said."""

    def _say(self, tally: Tally, state: tuple[float, int]) -> None:
        log.info("%s", tally.line)
        self._said[tally.name] = state
        if tally.ended is not None:
            self._ended.add(tally.name)


class Terminal:
    """One line for each kind of work on a terminal, which change in place.

    There is no thread that draws: commands that fork may use this.
    """

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it, and it takes a tenth of a second
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        columns: list[Any] = [
            TextColumn("{task.fields[name]:<10}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[pace]}", style="dim", markup=False),
        ]
        self._progress = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, auto_refresh=False)
        self._tasks: dict[str, Any] = {}
        self._progress.start()

    def show(self, tallies: Sequence[Tally]) -> None:
        """Draw the lines anew."""
        for tally in tallies:
            fields: dict[str, Any] = {"name": tally.name, "count": tally.count, "pace": tally.pace}
            if tally.name not in self._tasks:
                self._tasks[tally.name] = self._progress.add_task("", total=None, **fields)
            total = tally.total or (None if tally.began is not None and tally.ended is None else 1)
            self._progress.update(self._tasks[tally.name], completed=tally.tried, total=total, **fields)
        self._progress.refresh()

    def close(self) -> None:
        """Leave the lines as they are."""
        self._progress.stop()


def chosen(quiet: bool = False) -> Display:
    """Return what fits where standard error goes: lines that change on a terminal, else a log's lines.

    Args:
        quiet: Whether nothing is shown.
    """
    if quiet:
        return Silent()
    return Terminal() if is_terminal() else Lines()


def is_terminal() -> bool:
    """Whether standard error is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

"""The progress of a loop of one process."""

import contextlib
from collections.abc import Iterator

from pipeline.progress.display import Display, chosen
from pipeline.progress.tally import Tally


class Tracker:
    """Counts what a loop has done, and shows it.

    Args:
        tally: The count.
        display: Where it is shown.
    """

    def __init__(self, tally: Tally, display: Display) -> None:
        self._tally, self._display = tally, display

    def advance(self, done: int = 1, failed: int = 0) -> None:
        """Say that more is done, or failed."""
        self._tally.set(self._tally.done + done, self._tally.failed + failed)
        self._display.show([self._tally])


@contextlib.contextmanager
def tracked(name: str, total: int, unit: str = "targets", display: Display | None = None) -> Iterator[Tracker]:
    """Show the progress of a loop while the block runs; nothing is shown of a single thing.

    Args:
        name: Of the work.
        total: How many there are to do.
        unit: What they are, in the plural.
        display: Where to show it; the terminal or the log where not given.
    """
    shown = display or chosen(quiet=total < 2)
    tally = Tally(name, unit, total)
    tally.begin()
    try:
        shown.show([tally])
        yield Tracker(tally, shown)
    finally:
        shown.close()

"""Progress for programs: one JSON object on each line."""

import datetime
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from pipeline.progress.tally import Tally

SCHEMA = "foldline.events/1"
_PAUSE = 2.0  # seconds between two events about work that goes on


class Events:
    """Writes events as they come, and the state of work that goes on now and then.

    Args:
        out: Where to.
        clock: The time, seconds.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._last = clock() - _PAUSE
        self._said: dict[str, tuple[float, int, int]] = {}

    def tell(self, event: Mapping[str, Any]) -> None:
        """Write an event with the time."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self._out.write(json.dumps({"time": now, **event}) + "\n")
        self._out.flush()

    def show(self, tallies: Sequence[Tally]) -> None:
        """Write what has changed, unless something was written just now."""
        if self._clock() - self._last < _PAUSE:
            return
        self._last = self._clock()
        for tally in tallies:
            self._say(tally)

    def finish(self, tallies: Sequence[Tally]) -> None:
        """Write what has changed since the last time."""
        for tally in tallies:
            self._say(tally)

    def close(self) -> None:
        """Have nothing to leave."""

    def _say(self, tally: Tally) -> None:
        state = (tally.done + tally.part, tally.failed, tally.total)
        if tally.began is None or self._said.get(tally.name) == state:
            return
        self._said[tally.name] = state
        counts = {"done": tally.done, "failed": tally.failed, "total": tally.total}
        share = tally.tried / tally.total if tally.total else None
        pace = {
            "share": share,
            "seconds": tally.seconds,
            "per_minute": tally.per_minute,
            "seconds_left": tally.seconds_left,
        }
        rounded = {name: None if value is None else round(value, 3) for name, value in pace.items()}
        self.tell({"event": "progress", "stage": tally.name, **counts, **rounded})

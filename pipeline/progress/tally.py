"""How much of some work is done: a count, its rate and the time that is left."""

import dataclasses
import time
from collections.abc import Callable

_LONG = 3600.0  # seconds from which minutes are enough


@dataclasses.dataclass
class Tally:
    """The count of one kind of work.

    Args:
        name: Of the work, such as the stage.
        unit: What is counted, in the plural.
        total: How many there are; 0 where that is not known.
        clock: The time, seconds; it never goes back.
        done: How many are made.
        failed: How many will not be made.
        part: What is made of those that are not done yet, as a number of whole ones.
        began: When the first began; None before.
        ended: When the last one was made; None before.
    """

    name: str
    unit: str = "targets"
    total: int = 0
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    part: float = 0.0
    began: float | None = None
    ended: float | None = None

    def begin(self) -> None:
        """Start the clock, unless it runs."""
        if self.began is None:
            self.began = self.clock()

    def set(self, done: int, failed: int = 0, total: int | None = None, part: float = 0.0) -> None:
        """Say how far the work is.

        Args:
            done: How many are made.
            failed: How many will not be made.
            total: How many there are, where that is another number now.
            part: What is made of those that are not done yet, as a number of whole ones.
        """
        if total is not None:
            self.total = total
        if done or failed:
            self.begin()
        self.done, self.failed, self.part = done, failed, part
        if self.left or not self.total:
            self.ended = None
        elif self.ended is None:
            self.ended = self.clock()

    @property
    def left(self) -> int:
        """How many are still to be made."""
        return max(0, self.total - self.done - self.failed)

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        if self.began is None:
            return 0.0
        return (self.clock() if self.ended is None else self.ended) - self.began

    @property
    def per_minute(self) -> float | None:
        """How many a minute; None before the first."""
        return 60 * self.tried / self.seconds if self.tried and self.seconds > 0 else None

    @property
    def tried(self) -> float:
        """How many are done or failed, parts included."""
        return self.done + self.failed + self.part

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the rate so far; None where nothing says it."""
        if self.ended is not None:
            return 0.0
        return 60 * (self.left - self.part) / self.per_minute if self.per_minute and self.total else None

    @property
    def count(self) -> str:
        """The count in words, `3 of 5 targets, 1 failed`."""
        whole = f"{self.done} of {self.total}" if self.total else str(self.done)
        return f"{whole} {self.unit}" + (f", {self.failed} failed" if self.failed else "")

    @property
    def pace(self) -> str:
        """Rate and time left in words, `12 a minute, 40 s left`; the time that it took where it has ended."""
        if self.ended is not None:
            return f"in {duration(self.seconds)}"
        parts = [] if self.per_minute is None else [rate(self.per_minute)]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        if not parts and self.began is not None:
            parts.append(f"since {duration(self.seconds)}")
        return ", ".join(parts)

    @property
    def line(self) -> str:
        """All of it on one line."""
        return f"{self.name}: " + ", ".join(filter(None, (self.count, self.pace)))


def duration(seconds: float) -> str:
    """Return a time in words: `5 s`, `12 min`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if seconds < _LONG:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def rate(per_minute: float) -> str:
    """Return a rate in words, by the minute, or by the hour where that is less than one."""
    if per_minute < 1:
        return f"{60 * per_minute:.1f} an hour"
    return f"{per_minute:.0f} a minute" if per_minute >= 10 else f"{per_minute:.1f} a minute"

"""How much a relaxation may still spend, and what stops OpenMM's minimiser when that is spent."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

import openmm

from pipeline.relax.settings import RelaxFailure


@dataclasses.dataclass
class Budget:
    """How much may still be spent.

    Args:
        iterations: Of L-BFGS, over all minimisations.
        deadline: Of `time.monotonic`, seconds.
        used: Iterations done.
        stopped: What ran out; empty while nothing did.
    """

    iterations: int
    deadline: float
    used: int = 0
    stopped: str = ""

    @property
    def left(self) -> int:
        """The iterations that may still be done."""
        return max(self.iterations - self.used, 0)

    def part(self, share: float) -> "Budget":
        """Return a budget of a share of what is left."""
        now = time.monotonic()
        return Budget(max(round(share * self.left), 1), now + share * (self.deadline - now))

    def at_most(self, iterations: int) -> "Budget":
        """Return a budget of so many iterations, or of what is left."""
        return Budget(min(iterations, max(self.left, 1)), self.deadline)

    @property
    def over(self) -> bool:
        """Whether the seconds are spent."""
        return time.monotonic() >= self.deadline

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            RelaxFailure: The seconds are spent.
        """
        if self.over:
            raise RelaxFailure("budget", "its seconds were over before anything could be minimised")

    def spend(self) -> bool:
        """Count one iteration; return whether to stop."""
        self.used += 1
        if self.used >= self.iterations:
            self.stopped = "iterations"
        elif self.over:
            self.stopped = "seconds"
        return bool(self.stopped)


class Reporter(openmm.MinimizationReporter):
    """Stop the minimiser when the budget is spent, or the energy is no number."""

    def __init__(self, spend: Callable[[], bool]) -> None:
        super().__init__()
        self._spend = spend

    def report(self, iteration: int, x: Sequence[float], grad: Sequence[float], args: Mapping[str, float]) -> bool:  # noqa: ARG002
        """Return whether to stop (called by OpenMM after each iteration)."""
        return self._spend() or not math.isfinite(args["system energy"])

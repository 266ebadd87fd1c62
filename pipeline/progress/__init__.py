"""How far long work is: counts, rates and time left, on a terminal, in a log or for programs."""

from pipeline.progress.display import Display, Lines, Silent, chosen
from pipeline.progress.tally import Tally
from pipeline.progress.tracked import Tracker, tracked

__all__ = ["Display", "Lines", "Silent", "Tally", "Tracker", "chosen", "tracked"]

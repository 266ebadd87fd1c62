"""What a job asks a machine or a scheduler for: more than it is expected to need, and more again at each attempt."""

import math

from pipeline.costs import Cost

_SNAKEMAKE_MB = 300  # on a cluster two Snakemakes wait beside the command: 140 and 130 MB
_LEAST_MB, _STEP_MB = 1000, 100
_MEMORY_MARGIN = 1.5
_LEAST_MINUTES, _MOST_MINUTES = 20, 720  # a longer job goes on where it was, at its next attempt
_TIME_MARGIN = 3  # estimates of CPU time are good to a factor of two or three, and processors differ


def memory(cost: Cost, attempt: int = 1, margin: float = _MEMORY_MARGIN) -> int:
    """Return the memory to ask for, MB.

    Args:
        cost: What the job is expected to need.
        attempt: How often it is started by now, from 1.
        margin: Times the expected memory.
    """
    wanted = max(_LEAST_MB, _SNAKEMAKE_MB + margin * cost.memory_mb)
    return math.ceil(wanted / _STEP_MB) * _STEP_MB * attempt


def minutes(cost: Cost, attempt: int = 1, threads: int = 1) -> int:
    """Return the time to ask for, minutes; at most twelve hours times the attempt, since partitions have limits.

    Args:
        cost: What the job is expected to need.
        attempt: How often it is started by now, from 1.
        threads: That share its work.
    """
    wanted = _LEAST_MINUTES + math.ceil(_TIME_MARGIN * cost.cpu_seconds / threads / 60)
    return min(wanted, _MOST_MINUTES) * attempt

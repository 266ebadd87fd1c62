"""Start Snakemake with our plugin: `python -P launch.py ARGUMENTS OF SNAKEMAKE`.

This is run as a file: the folder where a user works may hold a `pipeline` of its own.
"""

import math
import signal
import sys
import time
from pathlib import Path
from types import FrameType

NAME = "foldline"
FLAGS = ("--logger", NAME, "--logger-foldline-descriptor")
_ONE_INTERRUPT = 5.0  # seconds


def heed_interrupts_once() -> None:
    """Leave out each SIGINT that follows another at once.

    Of Ctrl-C the terminal tells this process, and `foldline run` passes it on. A second one would end Snakemake while
    it tidies up; a user who waits and presses again is heeded.
    """
    last = -math.inf

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last > _ONE_INTERRUPT:
            last = time.monotonic()
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # not in the background of a script
        signal.signal(signal.SIGINT, interrupted)


if __name__ == "__main__":
    heed_interrupts_once()
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

    from snakemake.cli import main
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    from pipeline.progress import plugin

    LoggerPluginRegistry().register_plugin(f"snakemake_logger_plugin_{NAME}", plugin)
    main(sys.argv[1:])

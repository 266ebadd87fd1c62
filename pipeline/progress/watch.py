"""Follow Snakemake: its events through a pipe, what it prints in a log file."""

import contextlib
import dataclasses
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.progress.display import Display
from pipeline.progress.jobs import Jobs

_TICK = 0.2  # seconds
_LOOK = 1.0  # seconds between two looks at files, and more where a look takes long
_SHARE = 0.05  # of the time that looking may take: network file systems are slow
_BLOCK = 1 << 16

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Watch:
    """What is done while Snakemake works.

    Args:
        jobs: Take its events.
        display: Shows them.
        log_file: Where to what it prints goes.
        verbose: Whether that is copied to standard error, too.
    """

    jobs: Jobs
    display: Display
    log_file: Path
    verbose: bool = False

    def start(self, command: Sequence[str], flags: Sequence[str], keep_open: Sequence[int]) -> int:
        """Run Snakemake to its end and return its exit code.

        Args:
            command: Program and arguments.
            flags: What is added with the number of a file descriptor for the events.
            keep_open: File descriptors that the command inherits.

        Raises:
            KeyboardInterrupt: The user interrupted; Snakemake has ended.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        with self.log_file.open("wb") as out, contextlib.closing(_Lines(reader)) as lines:
            command = [*command, *flags, str(writer)]
            options: dict[str, Any] = {"stdout": out, "stderr": subprocess.STDOUT, "pass_fds": (*keep_open, writer)}
            with subprocess.Popen(command, **options) as process, told(process) as interrupted, _ended(process, lines):
                os.close(writer)
                self._follow(process, lines, interrupted)
        if interrupted:
            raise KeyboardInterrupt
        return process.returncode

    def _follow(self, process: subprocess.Popen[bytes], lines: "_Lines", interrupted: list[int]) -> None:
        due, copied, told_so = 0.0, 0, False
        while process.poll() is None:
            self._take(lines.wait(_TICK), interrupted)
            if time.monotonic() >= due:
                began = time.monotonic()
                self.jobs.look()
                due = began + max(_LOOK, (time.monotonic() - began) / _SHARE)
            self.display.show(self.jobs.shown)
            copied = self._copy(copied)
            if interrupted and not told_so:
                told_so = True
                log.warning("interrupted: waiting for the jobs that run to end")
        self._take(lines.wait(0.0), interrupted)
        self.jobs.look()
        self.display.show(self.jobs.shown)
        self._copy(copied)

    def _take(self, lines: Iterator[str], interrupted: Sequence[int]) -> None:
        for line in lines:
            self.jobs.stopping = bool(interrupted)
            self.jobs.take(line)

    def _copy(self, start: int) -> int:
        """Copy what Snakemake has printed since then, and return how far that is."""
        if not self.verbose:
            return start
        with self.log_file.open("rb") as file:
            file.seek(start)
            found = file.read()
        sys.stderr.write(found.decode("utf-8", "replace"))
        return start + len(found)


class _Lines:
    """The lines that come through a pipe."""

    def __init__(self, reader: int) -> None:
        self._reader, self._rest, self._open = reader, b"", True

    def wait(self, seconds: float) -> Iterator[str]:
        """Wait for lines and give them; where the other end is closed, just wait."""
        if not self._open:
            time.sleep(seconds)
            return
        while self._open and select.select([self._reader], [], [], seconds)[0]:
            block = os.read(self._reader, _BLOCK)
            self._open = bool(block)
            *whole, self._rest = (self._rest + block).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
            seconds = 0.0

    def close(self) -> None:
        """Close this end, once."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader, self._open = -1, False


@contextlib.contextmanager
def _ended(process: subprocess.Popen[Any], lines: _Lines) -> Iterator[None]:
    """End a process whose events nobody can take any more: it would wait for ever for room in the pipe."""
    try:
        yield
    except BaseException:
        lines.close()
        process.terminate()
        process.wait()
        raise


@contextlib.contextmanager
def told(process: subprocess.Popen[Any]) -> Iterator[list[int]]:
    """Pass a SIGTERM and a SIGINT on to a process, and note the latter.

    Where a terminal tells the process of a SIGINT, too, it comes twice: see `launch.heed_interrupts_once`.

    Yields:
        A list that holds the signals that were noted.
    """
    noted: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        noted.append(number)
        process.send_signal(number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate())}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as it is in the background of a script
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Run the programs that other engines are: `mmseqs`, `jackhmmer`."""

import contextlib
import dataclasses
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import EngineError
from pipeline.search.made import may_write, passing
from pipeline.shared_folder import make_folder

_LAST_LINES = 3


class TimedOutError(Exception):
    """A program was ended because its time was up."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program on the PATH.

    Args:
        name: Its command.
        package: What brings it.
        version_words: Words that make it say its version.
    """

    name: str
    package: str
    version_words: tuple[str, ...]

    @property
    def version(self) -> str:
        """Its version, safe in a file name.

        Raises:
            EngineError: It is not installed.
        """
        return _version(self._found(), self.version_words)

    def run(self, *words: object, seconds: float | None = None) -> None:
        """Run it with these words.

        Args:
            words: The words of its command line.
            seconds: Time after which it is ended; None is none.

        Raises:
            EngineError: It is not installed, or fails.
            TimedOutError: Its time was up.
        """
        done = self._call([str(word) for word in words], seconds)
        if done.returncode:
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-_LAST_LINES:]
            problem = f"{self.name} {words[0]} ended with code {done.returncode}: {' / '.join(said)}"
            raise EngineError(problem, mend="look at the database and at the space left on its disk")

    def _call(self, words: list[str], seconds: float | None) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [self._found(), *words], capture_output=True, text=True, errors="replace", timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"{self.name} {words[0]}") from error

    def _found(self) -> str:
        found = shutil.which(self.name)
        if found is None:
            mend = f"install {self.package}, or name the engine 'jackhmmer', which needs no program"
            raise EngineError(f"this search needs the program {self.name!r}, which is not on the PATH", mend=mend)
        return found


@functools.cache
def _version(program: str, words: tuple[str, ...]) -> str:
    """Ask a program once for all searches of a process, which are kept and found by what it says."""
    said = subprocess.run([program, *words], capture_output=True, text=True, errors="replace", check=False).stdout
    found = re.search(r"\d[\w.-]*", said)
    return found.group() if found else "unknown"


@contextlib.contextmanager
def workspace(folder: Path | None) -> Iterator[Path]:
    """Give a folder of files that are needed no more when the block ends.

    Args:
        folder: Where it lies; where there is none, or this user may not write there, it is among the system's
            temporary files.
    """
    there = folder if folder is not None and may_write(folder) else None
    if there is not None:
        make_folder(there)
    with passing(there, ".search-") as work:
        yield work

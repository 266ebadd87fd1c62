"""Problems that a user can mend. The command prints their text on one line and exits with their code."""

import dataclasses
from typing import ClassVar


@dataclasses.dataclass(eq=False)
class FoldlineError(Exception):
    """Say what was expected and what came, where, and what to do.

    Args:
        problem: What was expected and what came.
        where: `file:line`, a path or a target's name; empty where there is none.
        mend: What the user can do about it; empty where the problem says it.
    """

    exit_code: ClassVar[int] = 2

    problem: str
    where: str = ""
    mend: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{place}{self.problem}{mend}"


class FastaError(FoldlineError):
    """A FASTA file or record cannot be used."""


class NumberingError(FastaError):
    """The residue numbers of a record cannot be read, or do not fit its sequence."""


class AlignmentError(FoldlineError):
    """An alignment file cannot be used."""


class RecordError(FoldlineError):
    """A file between stages is missing, damaged or of another version."""


class StructureError(FoldlineError):
    """A structure file cannot be read."""


class LibraryError(FoldlineError):
    """The template library or a sequence database is missing or damaged."""


class EngineError(FoldlineError):
    """A program that searches is missing, or fails."""


class WeightsError(FoldlineError):
    """A file of network parameters is missing, damaged or does not fit the model."""


class DownloadError(FoldlineError):
    """A file cannot be fetched from where it is offered."""


class ConfigError(FoldlineError):
    """A setting is unknown, of the wrong type or out of range."""


class UsageError(FoldlineError):
    """A command line has a word that the command does not know, or lacks one that it needs."""


class StageError(FoldlineError):
    """A stage ended without all of its results; what could be made was made."""

    exit_code: ClassVar[int] = 1
